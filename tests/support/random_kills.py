"""Commands killed at random moments, and called again until they end."""

import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path


def undisturbed(command: Callable[[Path], list[str]], folder: Path) -> float:
    """Run a command in a folder, and return the seconds that it took."""
    started = time.monotonic()
    subprocess.run(command(folder), check=True, capture_output=True)
    return time.monotonic() - started


def finished_after_kills(
    command: Callable[[Path], list[str]], parent: Path, *, seconds: float, n_kills: int
) -> Iterator[Path]:
    """Yield folders in which a command has ended, until so many processes of it were killed.

    A process is killed after 0.3 to 1 times `seconds`, if it hasn't ended by then.
    """
    chance, kills, number = random.Random(7), 0, 0
    while True:
        folder = parent / f"run{number}"
        process = subprocess.Popen(
            command(folder), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        patience = chance.uniform(0.3, 1.0) * seconds if kills < n_kills else None
        try:
            _, said = process.communicate(timeout=patience)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            kills += 1
            continue
        assert process.returncode == 0, said
        yield folder
        if kills >= n_kills:
            return
        number += 1
