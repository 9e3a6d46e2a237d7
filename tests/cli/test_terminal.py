"""Tests of signals, and of streams that are closed or can't show a text."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import memmap_train as mt


def test_a_label_that_the_terminal_cannot_show_is_no_error(tmp_path: Path) -> None:
    table = pa.table({"era": ["é"], "feature_a": pa.array([1], pa.int8())})
    pq.write_table(table, tmp_path / "source.parquet")
    for command in ("plan source.parquet", "convert source.parquet --out d", "inspect d"):
        done = subprocess.run(
            [sys.executable, "-m", "memmap_train", *command.split()],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONIOENCODING": "ascii"},
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert ("\\xe9" in done.stdout) == (not command.startswith("convert"))


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("imported", ["numpy", "memmap_train.cli.commands"])
def test_a_signal_while_modules_are_imported_is_one_line(signal_number: int, imported: str) -> None:
    code = f"""
import os, sys
from memmap_train.__main__ import main

class Stopping:  # while something is imported whose errors are swallowed
    def find_spec(self, name, path=None, target=None):
        if name == {imported!r}:
            try:
                os.kill(os.getpid(), {int(signal_number)})
            except BaseException:
                pass

sys.meta_path.insert(0, Stopping())
main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr.strip() == "stopped"


def test_a_signal_that_the_parent_ignores_is_ignored(tmp_path: Path) -> None:
    """A shell without job control makes its background processes ignore Ctrl-C."""
    code = """
import os, signal, sys
from memmap_train import __main__
from memmap_train.cli import commands

def inspect(arguments):
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(os.getpid(), number)
    print("done")

commands._COMMANDS["inspect"] = inspect
sys.argv = ["memmap-train", "inspect", "d"]
sys.exit(__main__.main())
"""
    (tmp_path / "code.py").write_text(code)
    command = f"trap '' INT TERM HUP; exec \"{sys.executable}\" code.py"
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


def test_a_signal_at_the_very_end_prints_no_traceback(shards: Path) -> None:
    code = f"""
import os, sys
from memmap_train import __main__
from memmap_train.cli import terminal

write_result = terminal.write_result
def stopped(result):
    os.kill(os.getpid(), {int(signal.SIGTERM)})
    return write_result(result)
terminal.write_result = stopped
sys.argv = ["memmap-train", "inspect", {str(shards)!r}]
__main__.run_process()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "\nstopped\n")


@pytest.mark.parametrize("closed", ["pipe", "full"])
def test_a_closed_stderr_does_not_end_the_work(shards: Path, closed: str) -> None:
    """As after a notebook has disconnected, or a terminal was closed under `nohup`."""
    reader, writer = os.pipe()
    os.close(reader)
    if closed == "full":
        os.close(writer)
        writer = os.open("/dev/full", os.O_WRONLY)
    quick = "from memmap_train.loading import rates; rates._COPIED_BYTES = 1_000_000; "
    quick += (
        "rates._DISK_SECONDS = 0.02; from memmap_train.__main__ import run_process; run_process()"
    )
    command = [sys.executable, "-c", quick]
    for arguments, code, said in (
        (["bench", str(shards), "--batch-size", "50"], 0, "rows/s"),
        (["inspect", f"{shards}.not"], 1, ""),
    ):
        done = subprocess.run(
            [*command, *arguments], stdout=subprocess.PIPE, stderr=writer, text=True
        )
        assert done.returncode == code
        assert said in done.stdout
    os.close(writer)


INSPECT = '"{python}" -m memmap_train inspect "{shards}" --json'


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_output_to_a_closed_stream_is_discarded_and_reaches_no_file(
    closed: str, tmp_path: Path
) -> None:
    """A C++ library's output would otherwise go to the file that reuses the number of stderr."""
    code = """
import os, sys
from memmap_train import __main__
from memmap_train.cli import commands as cli

def run():
    with open(sys.argv[1], "w") as file:
        for number in (1, 2):
            os.write(number, b"from a library\\n")
        print("printed")
        print("printed", file=sys.stderr)
        file.write(f"{sys.stdin.read()}written")
    return 0

cli.main = run
sys.exit(__main__.main())
"""
    (tmp_path / "code.py").write_text(code)
    streams = "</dev/null >/dev/null 2>/dev/null"
    command = f'exec "{sys.executable}" code.py out.txt {streams} {closed}'
    subprocess.run(["bash", "-c", command], cwd=tmp_path, check=True)
    assert (tmp_path / "out.txt").read_text() == "written"


@pytest.mark.parametrize(
    ("command", "code", "error"),
    [
        (f"{INSPECT} > /dev/full", 1, "stdout: the result can't be written: No space left"),
        ('"{python}" -m memmap_train train -h > /dev/full', 1, "No space left"),
        ('"{python}" -m memmap_train train --help-config > /dev/full', 1, "No space left"),
        ('"{python}" -m memmap_train --version > /dev/full', 1, "No space left"),
        ('"{python}" -m memmap_train --help >&-', 0, ""),
        ('set -o pipefail; "{python}" -m memmap_train train --help-config | true', 0, ""),
        (f"{INSPECT} >&-", 0, ""),
        (f"{INSPECT} 2>&-", 0, ""),
        (f"set -o pipefail; {INSPECT} | true", 0, ""),
        ('"{python}" -m memmap_train inspect "{shards}.not" >&-', 1, "no such folder"),
    ],
)
def test_a_closed_stdout_prints_no_traceback(
    shards: Path, command: str, code: int, error: str
) -> None:
    command = command.format(python=sys.executable, shards=shards)
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.returncode == code
    assert error in done.stderr
    assert len(done.stderr.splitlines()) == bool(error)


@pytest.mark.parametrize(
    ("signal_number", "impatient"),
    [(signal.SIGINT, True), (signal.SIGTERM, False), (signal.SIGHUP, False)],
)
def test_a_stopped_conversion_says_that_a_rerun_resumes(
    signal_number: int, impatient: bool, tmp_path: Path
) -> None:
    # Wide enough to take a second: the signal comes while eras are being published.
    rows = 40_000
    rng = np.random.default_rng(0)
    table = pa.table(
        {"era": [f"{row // 100:04}" for row in range(rows)]}
        | {f"feature_{i}": rng.integers(0, 5, rows, np.int8) for i in range(300)}
    )
    pq.write_table(table, tmp_path / "source.parquet", row_group_size=1000)
    command = [sys.executable, "-m", "memmap_train", "convert", "source.parquet", "--out", "d"]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while not any(tmp_path.glob("d/.convert/staged/era-*")):
        assert process.poll() is None, process.communicate()
    process.send_signal(signal_number)
    for _ in range(500 if impatient else 0):
        if process.poll() is None:
            process.send_signal(signal_number)
    _, err = process.communicate()
    assert process.returncode == 130
    assert err.strip() == "stopped; run the same command again to resume"
    assert not (tmp_path / "d" / "manifest.json").exists()
    n_finished = len(list(tmp_path.glob("d/.convert/staged/era-*")))
    assert 0 < n_finished < 400
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0
    kept = int(re.search(r"(\d+) eras were kept", done.stdout)[1])  # type: ignore[index]
    assert 0 < kept <= n_finished
    assert len(mt.open_dataset(tmp_path / "d").eras) == 400
