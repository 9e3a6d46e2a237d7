"""Trainings that consist of several runs: folds, and seeds."""
