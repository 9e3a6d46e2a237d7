"""Checkpoints of a training under way."""
