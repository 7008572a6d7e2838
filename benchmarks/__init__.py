"""Benchmarks: one script a table of the documentation."""
