"""Scores of predictions, their statistics, and the files that hold them."""
