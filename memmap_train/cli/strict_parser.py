"""An argument parser with errors that say what was expected, and the types of its values.

An abbreviated option is refused: it would have another meaning as soon as a second option began
alike.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import listed, nearest
from .terminal import write_result

_OF_THE_COMMAND_LINE = ("command", "resume_hint", "json")
"""The parsed arguments that aren't the called function's."""


class StrictParser(argparse.ArgumentParser):
    """A parser that refuses empty values and names the nearest option or choice.

    Attributes
    ----------
    one_of : sequence of str
        Destinations of arguments of which at least one has to be given; the error names the first.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)
        self.one_of: Sequence[str] = ()
        self.register("type", None, _text)
        self.register("type", int, _whole_number)
        self.register("type", Path, _path)

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse all arguments; an unknown one is an error that names the nearest option."""
        parsed, unknown = super().parse_known_args(args, namespace)
        if unknown:
            what = "option" if unknown[0].startswith("-") else "argument"
            options = re.findall(r"--[\w-]+", self.format_usage())
            close = nearest(unknown[0].split("=")[0], options)
            self.error(f"unexpected {what} {listed(unknown)}{close}")
        if self.one_of and not any(getattr(parsed, name) for name in self.one_of):
            (first,) = (a.metavar for a in self._actions if a.dest == self.one_of[0])
            self.error(f"the following arguments are required: {first}")
        return parsed, unknown

    def _print_message(self, message: str, file: Any = None) -> None:
        """Write a help or the version like the result of a command: a full disk is an error."""
        if file is not sys.stdout:
            super()._print_message(message, file)
        elif code := write_result(message):
            self.exit(code)

    def _get_values(self, action: argparse.Action, arg_strings: list[str]) -> Any:
        if action.nargs is None and arg_strings == ["--"]:  # --out=-- arrives as a list
            raise argparse.ArgumentError(action, "expected a value, found '--'")
        return super()._get_values(action, arg_strings)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            choices = list(action.choices)
            raise argparse.ArgumentError(
                action,
                f"expected one of {listed(choices, most=len(choices))}, found {value!r}"
                f"{nearest(value, choices)}",
            )


def text_or_empty(text: str) -> str:
    """Return the value of an option for which an empty text has a meaning."""
    return _text(text) if text else text


def _text(text: str) -> str:
    """Return a value that isn't empty; a shell variable that isn't set gives an empty one."""
    if not text.strip():
        raise argparse.ArgumentTypeError("expected a value, found an empty one")
    return text


def _path(text: str) -> Path:
    return Path(_text(text))


def _whole_number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a whole number, found {text!r:.60}") from None


def folds(text: str) -> int | str:
    """Return a number of folds, or "numerai"."""
    if text == "numerai":
        return text
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected a whole number or 'numerai', found {text!r:.60}"
        ) from None


def options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the keyword arguments of the function that a command calls."""
    return {
        name: value for name, value in vars(arguments).items() if name not in _OF_THE_COMMAND_LINE
    }


def add_command(commands: Any, name: str, description: str, example: str) -> StrictParser:
    """Add a command, whose help ends with an example; return its parser."""
    parser: StrictParser = commands.add_parser(
        name,
        help=description,
        description=f"{description[0].upper()}{description[1:]}.",
        epilog=f"example: {example}",
    )
    parser.set_defaults(command=name, resume_hint="run the same command again")
    return parser
