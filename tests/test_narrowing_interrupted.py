"""Tests of narrowings that are stopped, killed, repeated, or that meet another one at work."""

import json
import shutil
import signal
import threading
from pathlib import Path

import numpy as np
import pytest
from refusal import refused
from test_conversion_interrupted import (
    check_whole,
    held_up,
    killed,
    marks,
    noted,
    stopped_after,
    write_source,
)
from test_update import die_at, write_first, write_later

import memmap_train as mt
from memmap_train.conversion import convert
from memmap_train.dataset import verify
from memmap_train.errors import ConversionError, ManifestError
from memmap_train.journal import WORKPLACE
from memmap_train.shard import ARRAY_NAMES


@pytest.fixture
def parent(tmp_path: Path) -> Path:
    return convert(write_source(tmp_path), tmp_path / "parent").dataset.path


@pytest.fixture
def undisturbed(parent: Path) -> str:
    """Return the digest that every narrowing to all that there is must come to."""
    return mt.open_dataset(parent).manifest.digest


@pytest.mark.parametrize("n_eras", [0, 1, 3])
def test_a_rerun_keeps_the_eras_that_were_finished(
    monkeypatch: pytest.MonkeyPatch, parent: Path, undisturbed: str, n_eras: int
) -> None:
    out = parent.with_name("out")
    stopped_after(monkeypatch, n_eras, lambda: convert(parent, out))
    before = marks(out)
    assert len(before) == len(ARRAY_NAMES) * n_eras
    assert not (out / WORKPLACE / "partial").exists()
    report = convert(parent, out, workers=3)
    assert (report.status, report.n_eras_kept) == ("converted", n_eras)
    assert before.items() <= marks(out).items()
    check_whole(out, undisturbed)


def test_another_parent_or_its_sources_start_anew(
    monkeypatch: pytest.MonkeyPatch, parent: Path, undisturbed: str
) -> None:
    """The parent's digest counts, not only the sources that it says it comes from."""
    out = parent.with_name("out")
    stopped_after(monkeypatch, 3, lambda: convert(parent, out))
    whole = json.loads((parent / "manifest.json").read_text())
    other = json.loads((parent / "manifest.json").read_text())
    other["shards"][0]["files"]["features"]["digest"] = "xxh3_128:0"
    (parent / "manifest.json").write_text(json.dumps(other))
    stopped_after(monkeypatch, 1, lambda: convert(parent, out))
    assert len(marks(out)) == len(ARRAY_NAMES)
    (parent / "manifest.json").write_text(json.dumps(whole))
    stopped_after(monkeypatch, 2, lambda: convert(parent, out))
    report = convert(parent.with_name("toy.parquet"), out)
    assert report.n_eras_kept == 0
    check_whole(out, undisturbed)


def test_ctrl_c_leaves_finished_eras_and_nothing_half_done(parent: Path, undisturbed: str) -> None:
    out = parent.with_name("out")
    pressed: list[int] = []

    def press(what: str, done: int, total: int) -> None:
        if what == "converting" and done and not pressed:
            pressed.append(done)
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        convert(parent, out, progress=press)
    assert pressed
    assert not (out / "manifest.json").exists()
    assert not (out / WORKPLACE / "partial").exists()
    assert not [t for t in threading.enumerate() if t.name.startswith(("convert", "publish"))]
    convert(parent, out)
    check_whole(out, undisturbed)


def test_a_second_narrowing_is_refused_and_disturbs_nothing(parent: Path, undisturbed: str) -> None:
    out = parent.with_name("out")
    with held_up(parent, out) as reports, refused(ConversionError, "another process"):
        convert(parent, out)
    assert reports[0].n_eras_kept == 0
    check_whole(out, undisturbed)


@pytest.fixture(scope="module")
def n_points(tmp_path_factory: pytest.TempPathFactory) -> int:
    """Return at how many points a narrowing can be killed."""
    folder = tmp_path_factory.mktemp("counted")
    parent = convert(write_source(folder), folder / "parent").dataset.path
    return killed(parent, folder / "out", 0)


@pytest.mark.parametrize("sixth", range(7))
def test_a_rerun_carries_on_after_a_kill(
    parent: Path, undisturbed: str, n_points: int, sixth: int
) -> None:
    out = parent.with_name("out")
    assert n_points > 50
    killed(parent, out, 1 + round((n_points - 1) * sixth / 6))
    before = noted(out)
    report = convert(parent, out)
    assert before.items() <= marks(out).items()
    assert report.n_eras_kept >= len(before) // len(ARRAY_NAMES)
    check_whole(out, undisturbed)
    check_whole(parent, undisturbed)


def test_a_kill_during_an_update_leaves_the_old_or_the_new_or_a_line_that_says_what_to_do(
    tmp_path: Path,
) -> None:
    source, parent, out = tmp_path / "v.parquet", tmp_path / "parent", tmp_path / "out"
    write_first(source)
    old = convert(source, parent).dataset.manifest.digest
    convert(parent, tmp_path / "first")
    write_later(source)
    new = convert(source, parent).dataset.manifest.digest

    def begin() -> None:
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(tmp_path / "first", out)

    begin()
    n_events = die_at(parent, out, 10**9)
    assert n_events > 15
    found: set[str] = set()
    for number in np.unique(np.linspace(1, n_events, 9).astype(int)).tolist():
        begin()
        assert die_at(parent, out, number) == 0
        try:
            digest = mt.open_dataset(out).manifest.digest
            assert digest in (old, new)
            found.add("old" if digest == old else "new")
        except ManifestError as error:
            found.add("absent" if "run the same" in str(error) else str(error))
        convert(parent, out)
        assert mt.open_dataset(out).manifest.digest == new
        assert list(verify(out)) == []
        assert not (out / WORKPLACE).exists()
    assert {"old", "absent"} <= found <= {"old", "absent", "new"}
