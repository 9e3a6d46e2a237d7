"""Predictions by trained models, of one run or of several together, and their file."""
