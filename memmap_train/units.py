"""Sizes as people read them. Imports nothing."""


def in_bytes(n_bytes: float) -> str:
    """Return bytes in the largest fitting decimal unit.

    >>> in_bytes(999), in_bytes(1_050_000), in_bytes(97.6e9)
    ('999 B', '1.1 MB', '97.6 GB')
    """
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n_bytes >= size:
            return f"{n_bytes / size:,.1f} {unit}"
    return f"{n_bytes:,.0f} B"
