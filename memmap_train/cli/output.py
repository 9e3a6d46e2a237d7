"""What a command shows: its result as text or as JSON, and its progress.

Takes what a function of the package has returned; prints it.
"""

import argparse
import json
import sys
from collections.abc import Callable
from typing import Any

from ..progress import ProgressBars


def bars(unit: str = "rows") -> ProgressBars:
    """Return the progress of a command, which is shown on stderr."""
    return ProgressBars(unit, file=sys.stderr)


def print_found(
    arguments: argparse.Namespace,
    found: Any,
    text: Callable[[Any], str],
    described: Callable[[Any], Any] = lambda found: found,
) -> None:
    """Print the result of a command as text or as JSON."""
    if arguments.json:
        # Every encoding of a terminal can represent ASCII.
        print(json.dumps(described(found), indent=2))
    else:
        print(text(found))
