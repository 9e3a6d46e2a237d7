"""Numerai's week, unattended: each step is made once, whatever interrupts it."""
