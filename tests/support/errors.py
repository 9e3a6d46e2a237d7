"""Expected errors: of our own classes, in one line that says what is wrong."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from memmap_train.errors import MemmapTrainError

# pytest names the folder of a test after the test, so it may contain the expected words.
_FOLDER_OF_TEST = re.compile(r"/\S*?/pytest-\d+/(popen-gw\d+/)?[^/\s]+")


@contextmanager
def refused(
    kind: type[MemmapTrainError], *said: str
) -> Iterator[pytest.ExceptionInfo[MemmapTrainError]]:
    """Expect an error of exactly this class, in one line that contains all of these texts.

    Yields
    ------
    ExceptionInfo
        The error, once the block has ended.

    Examples
    --------
    >>> from memmap_train.errors import ConfigError
    >>> with refused(ConfigError, "'epochs'", "1 or more"):
    ...     raise ConfigError("key 'epochs': expected 1 or more, found 0")
    """
    with pytest.raises(MemmapTrainError) as caught:
        yield caught
    assert type(caught.value) is kind
    text = str(caught.value)
    assert text.strip()
    assert "\n" not in text
    without_folder = _FOLDER_OF_TEST.sub("", text)
    for part in said:
        assert part in (text if "/" in part else without_folder)


def line_of(act: Callable[[], object]) -> str:
    """Return the one line of the error of ours with which `act` ends, "" if it ends with none."""
    try:
        act()
    except MemmapTrainError as error:
        (line,) = str(error).split("\n")
        return line
    return ""
