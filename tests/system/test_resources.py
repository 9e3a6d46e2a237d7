"""Tests of available memory, disk and cores, with control groups made of plain files."""

import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from memmap_train.system import resources

MEMINFO = "MemTotal: 16000 kB\nMemFree: 100 kB\nMemAvailable: {} kB\n"


class Trees:
    """Fake trees of /proc and of the control groups of either version."""

    def __init__(self, root: Path) -> None:
        self.root, self.groups = root, root / "sys" / "fs" / "cgroup"
        self.proc("meminfo", MEMINFO.format(8_000_000))
        self.proc("self/cgroup", "0::/\n")

    def available_memory(self) -> int:
        return resources.available_memory(root=self.root)

    def n_cores(self) -> int:
        return resources.n_cores(root=self.root)

    def proc(self, name: str, text: str) -> None:
        (self.root / "proc" / name).parent.mkdir(parents=True, exist_ok=True)
        (self.root / "proc" / name).write_text(text)

    def group_v2(
        self,
        path: str,
        most: int | str,
        used: int,
        cache: int,
        shared: int = 0,
        high: int | str = "max",
    ) -> None:
        self._write(self.groups / path, {
            "memory.max": f"{most}\n",
            "memory.high": f"{high}\n",
            "memory.current": f"{used}\n",
            "memory.stat": f"anon 5\nfile {cache}\nshmem {shared}\n"
            f"inactive_file {cache - shared}\nactive_file 0\nslab 1\n",
        })  # fmt: skip

    def group_v1(self, path: str, most: int, used: int, cache: int) -> None:
        self._write(self.groups / "memory" / path, {
            "memory.limit_in_bytes": f"{most}\n",
            "memory.usage_in_bytes": f"{used}\n",
            "memory.stat": f"cache 1\nrss 5\nshmem 0\ntotal_cache {cache}\ntotal_shmem 0\n"
            f"total_inactive_file {cache}\ntotal_active_file 0\n",
        })  # fmt: skip

    def cpu_v2(self, path: str, quota: str) -> None:
        self._write(self.groups / path, {"cpu.max": f"{quota}\n"})

    def cpu_v1(self, path: str, quota: str, period: str = "100000") -> None:
        self._write(self.groups / "cpu" / path, {
            "cpu.cfs_quota_us": f"{quota}\n",
            "cpu.cfs_period_us": f"{period}\n",
        })  # fmt: skip

    def _write(self, folder: Path, files: dict[str, str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / name).write_text(text)


@pytest.fixture
def trees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Trees:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(32)), raising=False)
    return Trees(tmp_path)


def test_free_disk_is_measured_at_the_nearest_existing_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def disk_usage(path: Path) -> tuple[int, int, int]:
        asked.append(path)
        return shutil._ntuple_diskusage(9, 4, 5)

    monkeypatch.setattr(shutil, "disk_usage", disk_usage)
    monkeypatch.chdir(tmp_path)
    for path in (tmp_path, tmp_path / "not" / "there", Path("neither")):
        assert resources.free_disk(path) == 5
    assert asked == [tmp_path, tmp_path, Path(".")]


def test_available_memory_without_cgroups_is_that_of_the_kernel(trees: Trees) -> None:
    assert trees.available_memory() == 8_000_000 * 1024


def test_a_cgroup_leaves_its_limit_minus_its_use_without_cache(trees: Trees) -> None:
    trees.group_v2("", 1_000_000, 700_000, 300_000)
    assert trees.available_memory() == 600_000


def test_a_cgroup_larger_than_the_machine_is_ignored(trees: Trees) -> None:
    trees.group_v2("", 10**18, 5, 1)
    assert trees.available_memory() == 8_000_000 * 1024


def test_a_cgroup_without_a_limit_is_ignored(trees: Trees) -> None:
    trees.group_v2("", "max", 700_000, 300_000)
    assert trees.available_memory() == 8_000_000 * 1024


@pytest.mark.parametrize(("outer", "inner", "expected"), [(900, 500, 500), (400, 500, 400)])
def test_the_tightest_cgroup_among_the_ancestors_counts(
    trees: Trees, outer: int, inner: int, expected: int
) -> None:
    trees.proc("self/cgroup", "0::/user.slice/job-1\n")
    trees.group_v2("", "max", 0, 0)
    trees.group_v2("user.slice", outer, 0, 0)
    trees.group_v2("user.slice/job-1", inner, 0, 0)
    assert trees.available_memory() == expected


def test_a_cgroup_named_from_outside_the_container_is_found_at_its_root(trees: Trees) -> None:
    trees.proc("self/cgroup", "5:cpu,cpuacct:/docker/abc\n9:memory:/docker/abc\n0::/system\n")
    trees.group_v1("", 1_000_000, 400_000, 100_000)
    assert trees.available_memory() == 700_000


def test_cgroup_version_1_uses_the_memory_controller(trees: Trees) -> None:
    trees.proc("self/cgroup", "4:cpu:/a\n9:hugetlb,memory:/a\n")
    trees.group_v1("a", 5_000, 1_000, 500)
    trees.group_v1("", 2**63 - 4096, 10**9, 0)
    assert trees.available_memory() == 4_500


def test_a_cgroup_over_its_limit_leaves_no_memory(trees: Trees) -> None:
    trees.group_v2("", 1_000, 1_500, 100)
    assert trees.available_memory() == 0


def test_files_in_shared_memory_are_not_reclaimable_cache(trees: Trees) -> None:
    """A tmpfs is counted as cache, but the kernel can't drop it."""
    trees.group_v2("", 1_000_000, 700_000, 300_000, shared=200_000)
    assert trees.available_memory() == 400_000


@pytest.mark.parametrize("text", ["", "0::\n", "9:memory:/a:b\n", "::\n", "\nmemory:/\n"])
def test_malformed_lists_of_cgroups_are_ignored(trees: Trees, text: str) -> None:
    trees.proc("self/cgroup", text)
    assert trees.available_memory() == 8_000_000 * 1024


def test_the_limit_of_a_cgroup_counts_where_its_cache_is_unknown(trees: Trees) -> None:
    trees.group_v2("", 1_000, 100, 0)
    (trees.groups / "memory.stat").write_text("one two three\n")
    assert trees.available_memory() == 1_000
    (trees.groups / "memory.stat").unlink()
    assert trees.available_memory() == 1_000


def test_available_memory_is_known_without_proc(trees: Trees) -> None:
    (trees.root / "proc" / "meminfo").unlink()
    (trees.root / "proc" / "self" / "cgroup").unlink()
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert trees.available_memory() == physical // 2


@pytest.mark.parametrize(
    ("most", "high", "expected"),
    [("max", 900_000, 500_000), (1_000_000, 900_000, 500_000), (800_000, 900_000, 400_000)],
)
def test_memory_high_of_a_cgroup_counts_as_its_limit(
    trees: Trees, most: int | str, high: int, expected: int
) -> None:
    trees.proc("self/cgroup", "0::/job\n")
    trees.group_v2("", "max", 0, 0)
    trees.group_v2("job", most, 700_000, 300_000, high=high)
    assert trees.available_memory() == expected


@pytest.mark.parametrize(
    ("quota", "expected"),
    [
        ("200000 100000", 2),
        ("250000 100000", 3),  # a part of a core is worth a thread
        ("50000 100000", 1),
        ("1000 1000000", 1),
        ("6400000 100000", 32),  # more than there are
        ("max 100000", 32),
        ("200000", 32),
        ("0 0", 32),
        ("much more", 32),
    ],
)
def test_the_cpu_quota_of_a_cgroup_is_counted_in_cores(
    trees: Trees, quota: str, expected: int
) -> None:
    trees.proc("self/cgroup", "0::/job\n")
    trees.cpu_v2("job", quota)
    assert trees.n_cores() == expected
    assert resources.n_schedulable_cores() == 32


def test_the_tightest_cpu_quota_among_the_ancestors_counts(trees: Trees) -> None:
    trees.proc("self/cgroup", "0::/pod/job\n")
    trees.cpu_v2("pod", "300000 100000")
    trees.cpu_v2("pod/job", "max 100000")
    assert trees.n_cores() == 3
    trees.cpu_v2("pod/job", "200000 100000")
    assert trees.n_cores() == 2


@pytest.mark.parametrize(
    ("quota", "expected"), [("150000", 2), ("-1", 32), ("0", 32), ("none", 32)]
)
def test_cgroup_version_1_has_cpu_quotas(trees: Trees, quota: str, expected: int) -> None:
    trees.proc("self/cgroup", "5:cpu,cpuacct:/docker/abc\n9:memory:/docker/abc\n0::/system\n")
    trees.cpu_v1("", quota)  # the container's own, at the root of what it sees
    assert trees.n_cores() == expected


def test_the_name_of_a_cgroup_may_be_any_bytes(trees: Trees) -> None:
    (trees.root / "proc" / "self" / "cgroup").write_bytes(b"0::/caf\xe9\n")
    trees.cpu_v2("caf\udce9", "200000 100000")
    assert trees.n_cores() == 2


def test_the_numbers_of_this_machine_are_plausible() -> None:
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert 10**6 < resources.available_memory() < physical
    assert 1 <= resources.n_cores() <= (os.cpu_count() or 1)


@pytest.mark.parametrize(
    ("soft", "hard", "expected"), [(64, 200, 200), (64, 64, 64), (100, 10**5, 65_536)]
)
def test_the_limit_of_open_files_is_raised_to_its_maximum(
    soft: int, hard: int, expected: int
) -> None:
    if hard > resource.getrlimit(resource.RLIMIT_NOFILE)[1] >= 0:
        pytest.skip("this process may not open so many files")
    code = (
        "import resource\n"
        "from memmap_train.system.resources import raise_open_file_limit\n"
        f"resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))\n"
        "print(raise_open_file_limit(), resource.getrlimit(resource.RLIMIT_NOFILE)[0])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"{expected} {expected}\n"


def test_a_file_system_that_reports_no_size_does_not_count_as_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert resources.free_disk(tmp_path) == pytest.approx(shutil.disk_usage(tmp_path).free, rel=0.5)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(0, 0, 0))
    assert resources.free_disk(tmp_path) >= 10**15
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(100, 100, 0))
    assert resources.free_disk(tmp_path) == 0
