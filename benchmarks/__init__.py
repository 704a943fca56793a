"""Measurements of speed and quality; nothing here asserts."""
