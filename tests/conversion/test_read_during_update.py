"""Tests of datasets that are opened, read or verified in the middle of an update: one state."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import memmap_train as mt
from memmap_train.conversion.commit import commit
from memmap_train.conversion.workspace import Workspace
from memmap_train.dataset.manifest import Manifest
from memmap_train.errors import ManifestError, ShardError
from tests.support.errors import refused
from tests.support.updates import FIRST, write_first, write_later


@pytest.fixture
def staged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Manifest]:
    """Return a dataset whose update is staged and not yet committed, and the new manifest."""
    source, out = tmp_path / "validation.parquet", tmp_path / "out"
    write_first(source)
    mt.convert(source, out)
    write_later(source)
    manifests = []

    def stop(workspace: Workspace, manifest: Manifest) -> None:
        manifests.append(manifest)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("memmap_train.conversion.commit.commit", stop)
        with pytest.raises(KeyboardInterrupt):
            mt.convert(source, out)
    return out, manifests[0]


def contents(dataset: mt.Dataset) -> dict[str, bytes]:
    return {era: np.asarray(shard.targets).tobytes() for era, shard in dataset.items()}


@pytest.mark.parametrize("n_looks", [0, 1, 6, 11, 12])
def test_opening_during_a_commit_shows_one_state(
    staged: tuple[Path, Manifest], monkeypatch: pytest.MonkeyPatch, n_looks: int
) -> None:
    """The old manifest with the new files would be neither."""
    out, manifest = staged
    old = mt.open_dataset(out)
    old_contents = contents(old)
    stat, looks = os.stat, 0

    def stat_and_commit(path: Any, **options: Any) -> os.stat_result:
        nonlocal looks
        if str(path).endswith(".npy"):
            if looks == n_looks:
                with monkeypatch.context() as patch:
                    patch.setattr(os, "stat", stat)
                    commit(Workspace(out), manifest)
            looks += 1
        return stat(path, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", stat_and_commit)
        dataset = mt.open_dataset(out)
    if n_looks < 12:  # of 3 eras, 4 arrays each
        assert looks == 12 + 20
        assert dataset.manifest == manifest
        assert contents(dataset) != old_contents
    else:
        assert looks == 12
        assert contents(dataset) == old_contents


def test_a_dataset_that_was_opened_before_an_update_reads_what_stayed_and_refuses_the_rest(
    staged: tuple[Path, Manifest],
) -> None:
    out, manifest = staged
    old = mt.open_dataset(out)
    commit(Workspace(out), manifest)
    for era in FIRST:
        assert len(old[era].features) == FIRST[era]
    assert len(old["0001"].targets) == FIRST["0001"]
    with refused(ShardError, "era-0003/targets.npy", "updated or changed meanwhile", "--resume"):
        _ = old["0003"].targets


def test_a_dataset_in_the_middle_of_an_update_is_refused_as_such(
    staged: tuple[Path, Manifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, manifest = staged
    monkeypatch.setattr("memmap_train.conversion.commit.finish_commit", lambda workspace: None)
    commit(Workspace(out), manifest)
    with refused(ManifestError, str(out), "an update, hasn't finished", "wait for it"):
        mt.open_dataset(out)


def test_a_dataset_that_is_updated_while_it_is_verified_is_not_reported_as_damaged(
    staged: tuple[Path, Manifest],
) -> None:
    out, manifest = staged
    calls: list[int] = []

    def update_once(what: str, done: int, total: int) -> None:
        if not calls:
            commit(Workspace(out), manifest)
        calls.append(done)

    with refused(ManifestError, str(out), "updated while it was verified"):
        mt.verify(out, progress=update_once)
    assert [problem.path for problem in mt.verify(out)] == []
