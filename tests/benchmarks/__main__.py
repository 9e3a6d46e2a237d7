"""`python -m tests.benchmarks [NAME…] [--dir FOLDER]`."""

import argparse
import tempfile
from importlib import import_module
from pathlib import Path

from .sources import Size

NAMES = ("converting", "updating", "verifying", "reading", "training")


def main() -> None:
    """Run the benchmarks that are named, or all."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks")
    parser.add_argument("names", nargs="*", choices=[*NAMES, []], help=", ".join(NAMES))
    parser.add_argument("--dir", type=Path, help="keep the data sets here for the next time")
    arguments = parser.parse_args()
    size = Size()
    with tempfile.TemporaryDirectory() as temporary:
        directory = arguments.dir or Path(temporary)
        directory.mkdir(parents=True, exist_ok=True)
        for name in arguments.names or NAMES:
            import_module(f".{name}", __package__).run(directory, size)


if __name__ == "__main__":
    main()
