"""Sweeps: runs of several configurations, one after another."""
