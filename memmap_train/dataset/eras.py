"""Labels of eras: which number or date they hold, how they sort, and the folder of an era.

A label is text, as the source has it. Only integers and text go in and out.
"""

import re
from collections.abc import Iterable
from datetime import datetime, timedelta

ERA_COLUMN = "era"
"""Numerai's name of the column with the eras."""

DAY = 24 * 60 * 60 * 10**9
"""Nanoseconds, the unit of `era_time`."""

_NUMBER = re.compile(r"(?P<prefix>\D*?)(?P<number>[0-9]+)(?:\.0+)?\s*")
_TIME = re.compile(
    r"(?P<prefix>\D*?)(?P<year>[0-9]{4})(?P<mark>[-/._]?)"
    r"(?P<month>[0-9]{2}|(?<=\D)[0-9])(?P=mark)(?P<day>[0-9]{2}|(?<=\D)[0-9])"
    r"(?:[T ](?P<hour>[0-9]{2}):(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2})"
    r"(?:\.(?P<fraction>[0-9]{1,9}))?)?"
    r" ?(?:Z|(?P<sign>[-+])(?P<hours>[0-9]{2}):?(?P<minutes>[0-9]{2}))?)?\s*"
)
_FIRST_YEAR, _END_YEAR = 1800, 2200  # of a date without marks in it
_END_OF_WEEKS = 100_000
_AS_NUMBER, _AS_TIME, _AS_TEXT = range(3)  # how eras are sorted, in this order
_SAFE = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.")


def era_number(label: str) -> int | None:
    """Return the number that an era's label holds; None if it holds none, several, or a date.

    >>> labels = ("0012", "era7", "-3", "7.0", "X", "eraX", "20240105", "2024-01-05")
    >>> [era_number(label) for label in labels]
    [12, 7, -3, 7, None, None, None, None]
    """
    match = _NUMBER.fullmatch(label)
    if match is None or era_time(label) is not None:
        return None
    number = int(match["number"])
    return -number if match["prefix"] == "-" else number


def weekly_era_number(label: str) -> int | None:
    """Return the number in an era's label if eras can be counted by it; see `era_number`.

    Five digits last weekly eras for 1,900 years. Of more, such as a month's 202401, the difference
    isn't in eras.

    >>> [weekly_era_number(label) for label in ("0012", "202401", "2024-01-05")]
    [12, None, None]
    """
    number = era_number(label)
    return number if number is not None and abs(number) < _END_OF_WEEKS else None


def era_time(label: str) -> int | None:
    """Return the date, or date and time, in an era's label: nanoseconds since 1970; or None.

    Dates have the year first: 2024-01-05, 2024/01/05, 20240105. A time follows after a blank or a
    T, and then maybe the distance from UTC.

    >>> [era_time(label) for label in ("1970-01-02", "19700102", "1970-01-02 00:00:00Z")]
    [86400000000000, 86400000000000, 86400000000000]
    >>> [era_time(label) for label in ("0012", "20241399", "05.01.2024", "2024-01")]
    [None, None, None, None]
    """
    match = _TIME.fullmatch(label)
    if match is None:
        return None
    year = int(match["year"])
    if not match["mark"] and not _FIRST_YEAR <= year < _END_YEAR:
        return None  # eight digits may as well be a number
    hour, minute, second = (int(match[name] or 0) for name in ("hour", "minute", "second"))
    try:
        time = datetime(year, int(match["month"]), int(match["day"]), hour, minute, second)
    except ValueError:
        return None
    seconds = (time - datetime(1970, 1, 1)) // timedelta(seconds=1)
    if match["sign"]:
        offset = 3600 * int(match["hours"]) + 60 * int(match["minutes"])
        seconds += offset if match["sign"] == "-" else -offset
    return seconds * 10**9 + int((match["fraction"] or "").ljust(9, "0") or 0)


def era_sort_key(label: str) -> tuple[int, int, str]:
    """Return a key that sorts eras by number, after them dates, then other labels as text.

    >>> sorted(["X", "2024-01-05", "era10", "era2", "20231229", "0001"], key=era_sort_key)
    ['0001', 'era2', 'era10', '20231229', '2024-01-05', 'X']
    """
    number, time = era_number(label), era_time(label)
    if number is not None:
        return (_AS_NUMBER, number, label)
    return (_AS_TEXT, 0, label) if time is None else (_AS_TIME, time, label)


def out_of_order(labels: Iterable[str]) -> list[str]:
    """Return labels whose order as text may not be that of time.

    It is where all of them begin with the year and are of the same length.

    >>> out_of_order(["0001", "2024-01-05", "2023-W05", "2024-W10", "X"])
    []
    >>> out_of_order(["0001", "2024-01-05", "2024-W5", "2024-W10", "X"])
    ['2024-W5', '2024-W10']
    """
    texts = [
        label
        for label in labels
        if era_sort_key(label)[0] == _AS_TEXT and any(map(str.isdigit, label))
    ]
    begin_with_year = all(re.match(r"[0-9]{4}(?![0-9])", label) for label in texts)
    return [] if begin_with_year and len({len(label) for label in texts}) == 1 else texts


def era_identity(label: str) -> tuple[str, int | None]:
    """Return a value that is the same for all spellings of one era's label.

    >>> [era_identity(label) for label in ("0001", "1", "era1", "Era_1", "1.0")]
    [('', 1), ('', 1), ('', 1), ('', 1), ('', 1)]
    >>> era_identity("2024-01-05") == era_identity("20240105") != era_identity("US 20240105")
    True
    """
    number, time = era_number(label), era_time(label)
    match = _NUMBER.fullmatch(label) if time is None else _TIME.fullmatch(label)
    if match is None:  # names of folders that differ in case alone are one name for some systems
        return (re.sub(r"^era(?=.)", "", label.strip().casefold()), None)
    words = re.sub(r"[\W_]", "", match["prefix"]).casefold().removeprefix("era")
    return (words, number) if time is None else (f"{words} at", time)


def era_folder(label: str) -> str:
    """Return the name of an era's folder: `era-` and the label, percent-encoded where needed.

    >>> era_folder("0001"), era_folder("a/b"), era_folder("..")
    ('era-0001', 'era-a%2Fb', 'era-..')
    """
    encoded = "".join(
        chr(byte) if byte in _SAFE else f"%{byte:02X}" for byte in label.encode("utf-8")
    )
    return f"era-{encoded}"
