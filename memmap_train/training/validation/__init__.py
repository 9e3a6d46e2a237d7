"""Scores of a model on validation eras, while it is trained."""
