"""Sweeps without TensorFlow: what they vary, their folder, their table and their picture."""
