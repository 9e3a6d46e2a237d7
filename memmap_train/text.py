"""Counts, sizes and times as people read them. Imports nothing."""


def counted(n: int, singular: str, plural: str | None = None) -> str:
    """Return a count with its noun.

    >>> counted(1, "era"), counted(1232, "era"), counted(2, "batch", "batches")
    ('1 era', '1,232 eras', '2 batches')
    """
    noun = singular if n == 1 else plural or f"{singular}s"
    return f"{n:,} {noun}"


def in_bytes(n_bytes: float) -> str:
    """Return bytes in the largest fitting decimal unit.

    >>> in_bytes(999), in_bytes(1_050_000), in_bytes(97.6e9)
    ('999 B', '1.1 MB', '97.6 GB')
    """
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n_bytes >= size:
            return f"{n_bytes / size:,.1f} {unit}"
    return f"{n_bytes:,.0f} B"


def in_time(seconds: float) -> str:
    """Return a duration in the units that matter.

    >>> in_time(42.4), in_time(754), in_time(3 * 3600 + 300), in_time(200_000)
    ('42 s', '13 min', '3 h 05 min', '2 d 7 h')
    """
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60:02} min"
    return f"{minutes // (24 * 60)} d {minutes // 60 % 24} h"
