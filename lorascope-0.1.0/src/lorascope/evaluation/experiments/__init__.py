"""Experiments: each takes a library and queries, and returns its Findings."""
