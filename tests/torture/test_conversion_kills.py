"""Kills and failures at every point of conversions."""

import os
from pathlib import Path

import pytest

from tests.support.conversion_faults import PREPARATIONS, let_fail
from tests.support.conversion_kills import (
    kill_added_benchmarks,
    kill_conversions,
    kill_sequences,
    kill_updates,
    kill_updates_with_benchmarks,
    kill_with_benchmarks,
)
from tests.support.interruptions import write_source
from tests.support.killing import Killer
from tests.support.subset_kills import kill_subset_conversions, kill_subset_updates

pytestmark = pytest.mark.usefixtures("no_power_cut")

CONVERSION_SEQUENCES = int(os.environ.get("TORTURE_SEQUENCES", "300"))


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_conversion_killed_at_any_point_can_be_resumed(
    tmp_path: Path, at_will: Killer, overwrite: bool
) -> None:
    source = write_source(tmp_path)
    found = kill_conversions(at_will, source, overwrite=overwrite, most=None)
    print(f"\nconversion, overwrite={overwrite}: killed at {found.total()} points, found {found}")


def test_a_conversion_to_a_subset_killed_at_any_point_can_be_resumed(
    tmp_path: Path, at_will: Killer
) -> None:
    for kill in (kill_subset_conversions, kill_subset_updates):
        folder = tmp_path / kill.__name__
        folder.mkdir()
        found = kill(at_will, folder, most=None)
        print(f"\n{kill.__name__}: killed at {found.total()} points, found {found}")


def test_an_update_killed_at_any_point_can_be_resumed(tmp_path: Path, at_will: Killer) -> None:
    found = kill_updates(at_will, tmp_path, most=None)
    print(f"\nupdate: killed at {found.total()} points, found {found}")


def test_benchmarks_are_whole_or_absent_after_a_kill_at_any_point(
    tmp_path: Path, at_will: Killer
) -> None:
    for kill in (kill_with_benchmarks, kill_added_benchmarks, kill_updates_with_benchmarks):
        folder = tmp_path / kill.__name__
        folder.mkdir()
        found = kill(at_will, folder, most=None)
        print(f"\n{kill.__name__}: killed at {found.total()} points, found {found}")


def test_a_conversion_that_fails_at_any_point_can_be_resumed(tmp_path: Path) -> None:
    for prepare in PREPARATIONS:
        folder = tmp_path / prepare.__name__
        folder.mkdir()
        found = let_fail(folder, prepare, most=None)
        print(f"\n{prepare.__name__}: failed at {found['refused'] + found['done']} points, {found}")


def test_sequences_of_kills_leave_a_whole_dataset_or_none(tmp_path: Path, at_will: Killer) -> None:
    ends = kill_sequences(at_will, tmp_path, CONVERSION_SEQUENCES, seed=1)
    print(f"\n{CONVERSION_SEQUENCES} sequences of conversions, {ends['killed']} of them killed")
