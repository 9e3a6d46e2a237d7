"""All READMEs as text, and what is in them: blocks of code, code spans, commands, links."""

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

from memmap_train.cli.parser import make_parser

ROOT = Path(__file__).parents[2]
TOP = "README.md"
DOCUMENTS = {
    path.relative_to(ROOT).as_posix(): path.read_text()
    for path in (
        ROOT / TOP,
        ROOT / "data/README.md",
        *sorted(ROOT.glob("memmap_train/**/README.md")),
        *sorted(ROOT.glob("tests/**/README.md")),
    )
}
ALL = "\n".join(DOCUMENTS.values())
PACKAGE = "memmap_train/README.md"
DATASET = "memmap_train/dataset/README.md"
LOADING = "memmap_train/loading/README.md"
SCORING = "memmap_train/scoring/README.md"
TRAINING = "memmap_train/training/README.md"
LOSSES = "memmap_train/training/losses/README.md"
MODELS = "memmap_train/training/models/README.md"
SWEEPS = "memmap_train/training/sweeps/README.md"
ALL_OF_TRAINING = "\n".join(
    text for name, text in DOCUMENTS.items() if name.startswith("memmap_train/training/")
)


def blocks(language: str, text: str = ALL) -> list[str]:
    """Return the blocks of code in a language."""
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def without_blocks(text: str) -> str:
    """Return a document without its blocks of code."""
    return re.sub(r"```.*?```", "", text, flags=re.DOTALL)


def code_spans(text: str = ALL) -> list[str]:
    """Return the code inside of sentences and tables."""
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", without_blocks(text))]


def commands() -> list[str]:
    """Return all shell lines; in a notebook they begin with an exclamation mark."""
    lines = [line.split("#")[0].strip() for block in blocks("sh") for line in block.splitlines()]
    return [line.removeprefix("!").removeprefix(".venv/bin/") for line in lines if line]


def links(name: str) -> Iterator[tuple[Path, str]]:
    """Yield the file and the anchor that each link of a document leads to."""
    for target in re.findall(r"\]\(([^)\s]+)\)", without_blocks(DOCUMENTS[name])):
        path, _, anchor = target.partition("#")
        file = (ROOT / name).parent / path if path else ROOT / name
        yield file.resolve(), anchor


def anchors(text: str) -> list[str]:
    """Return the anchors of a document's titles, as GitHub makes them.

    >>> anchors("## A run's folder")
    ['a-runs-folder']
    """
    titles = re.findall(r"^#+ (.*)$", without_blocks(text), re.MULTILINE)
    return [re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles]


def subparsers() -> dict[str, argparse.ArgumentParser]:
    """Return the parser of each command."""
    for action in make_parser()._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    raise AssertionError


def flags_of(parser: argparse.ArgumentParser) -> set[str]:
    """Return the flags that a command has."""
    return {flag for action in parser._actions for flag in action.option_strings}


def flags_in(text: str) -> set[str]:
    """Return the flags that a text names."""
    return set(re.findall(r"(?<![\w-])--[a-z][\w-]*", text))
