"""Tests of all file operations on systems and file systems that lack something.

The functions that macOS and Windows lack are hidden here, and the operations that some file systems
refuse are refused.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.touring import tour

# What is hidden from the package alone is taken away once others are imported that need it.
OTHERS = """
import multiprocessing, os, signal, subprocess, sys, tempfile, warnings, mmap
import numpy, pyarrow.parquet, scipy.stats, tqdm, xxhash

def hide(module, *beginnings):
    for name in [name for name in dir(module) if name.startswith(beginnings)]:
        delattr(module, name)
"""
TENSORFLOW = "import tensorflow, keras, matplotlib.pyplot\n"

# Source: the "Availability" notes of Python's documentation.
ON_MACOS = """
sys.platform = "darwin"
hide(os, "posix_fadvise", "POSIX_FADV_", "preadv", "pwritev", "RWF_", "O_DIRECT")
hide(os, "sched_getaffinity", "posix_fallocate", "copy_file_range", "sendfile")
hide(mmap, "MADV_HUGEPAGE", "MADV_POPULATE")
"""
ON_WINDOWS = """
hide(os, "posix_fadvise", "POSIX_FADV_", "pread", "pwrite", "RWF_", "O_DIRECT")
hide(os, "sched_getaffinity", "posix_fallocate", "copy_file_range", "sendfile", "O_NOFOLLOW")
hide(os, "O_CLOEXEC", "fork", "geteuid", "getuid", "sysconf", "mkfifo", "killpg", "getpgid")
hide(signal, "SIGHUP", "SIGKILL", "SIGUSR1", "SIGALRM", "SIGPIPE")
hide(mmap, "MADV_", "MAP_", "PROT_")
sys.modules["fcntl"] = sys.modules["resource"] = None
warnings.filterwarnings("ignore", "only soft file lock")  # on Windows itself there is another one
"""

# What `faulty_file_system.c` refuses is refused indeed, to this process and where it is said.
REFUSED = """
import errno, fcntl

def refused(call, number):
    try:
        call()
    except OSError as error:
        assert error.errno == number
        return
    raise AssertionError("not refused")

with open(os.path.join(sys.argv[1], "probe"), "w+b") as file:
    file.write(b"x" * 100)
    file.flush()
    directory = os.open(sys.argv[1], os.O_RDONLY)
    refused(lambda: fcntl.flock(file, fcntl.LOCK_EX), errno.ENOSYS)
    refused(lambda: os.fsync(directory), errno.EINVAL)
    refused(lambda: mmap.mmap(file.fileno(), 100), errno.ENODEV)
    os.close(directory)
"""

TOUR = """
import json
from pathlib import Path
from tests.support.touring import tour, tour_of_training

sys.stdout.write(json.dumps(tour(Path(sys.argv[1]))))
"""
TOUR_OF_TRAINING = """
import memmap_train.runs.reports.report_process as reports
reports.charts_are_installed = lambda: False
tour_of_training(Path(sys.argv[1]))
"""


@pytest.fixture(scope="session")
def expected(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the results of the tour on this system."""
    return str(tour(tmp_path_factory.mktemp("tour")))


@pytest.fixture(scope="session")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a library that refuses the operations that some file systems refuse."""
    if sys.platform != "linux" or shutil.which("gcc") is None:
        pytest.skip("needs Linux and gcc")
    library = tmp_path_factory.mktemp("faulty") / "faulty.so"
    code = Path(__file__).parents[1] / "support" / "faulty_file_system.c"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, code], check=True)
    return library


def run(code: str, folder: Path, **environment: str) -> str:
    """Run code in a process of its own; return the results that it prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning:memmap_train", "-c", code, folder],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **environment},
    )
    assert done.returncode == 0, done.stderr
    return str(json.loads(done.stdout))


@pytest.mark.parametrize("hiding", [ON_MACOS, ON_WINDOWS], ids=["macOS", "Windows"])
def test_functions_that_other_systems_lack_are_not_needed(
    tmp_path: Path, expected: str, hiding: str
) -> None:
    assert run(OTHERS + hiding + TOUR, tmp_path) == expected


@pytest.mark.parametrize("faults", ["flock,fsync,shared-maps,hints", "flock,fsync,all-maps"])
def test_operations_that_file_systems_refuse_are_not_needed(
    tmp_path: Path, expected: str, faulty: Path, faults: str
) -> None:
    found = run(
        OTHERS + REFUSED + TOUR,
        tmp_path,
        LD_PRELOAD=str(faulty),
        FAULTY_FOLDER=str(tmp_path),
        FAULTS=faults,
    )
    assert found == expected


def test_training_needs_neither_missing_functions_nor_refused_operations(
    tmp_path: Path, expected: str, faulty: Path
) -> None:
    found = run(
        TENSORFLOW + OTHERS + REFUSED + ON_WINDOWS + TOUR + TOUR_OF_TRAINING,
        tmp_path,
        LD_PRELOAD=str(faulty),
        FAULTY_FOLDER=str(tmp_path),
        FAULTS="flock,fsync,all-maps",
    )
    assert found == expected
