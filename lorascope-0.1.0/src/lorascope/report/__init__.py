"""Answers as sheets of pictures and as words."""
