"""Benchmark columns: files of them, joined by era and id with the rows of a dataset."""
