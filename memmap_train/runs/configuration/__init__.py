"""The configuration of a training: its keys, their types and defaults, and its file."""
