"""Tests of a saved model's lineage: all eras that it and its initial models have seen."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from memmap_train.errors import RunError
from memmap_train.runs.folds.fold import Fold
from memmap_train.runs.lineage import Lineage, begun_with, code_of, digest_of_model, lineage_of
from memmap_train.runs.record import fold_record
from memmap_train.runs.run import read_run
from memmap_train.runs.run_folder import begin_run
from tests.support.errors import refused
from tests.support.run_records import run_record

Make = Callable[..., Path]


def labels(first: int, last: int) -> tuple[str, ...]:
    return tuple(f"{number:04}" for number in range(first, last + 1))


ERAS = labels(1, 80)


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Return a function that writes a run's record and a file in place of its model."""

    def run(name: str, train: tuple[str, ...], model: str = "mlp", **config: Any) -> Path:
        values = {
            "model": model,
            "targets": ["target_x_20"],
            "train_eras": list(train),
            "embargoed_eras": [],
            "validation_eras": ["0070"],
            "embargo_eras": 8,
        }
        begun = begin_run(tmp_path / name, run_record(**values | config))
        begun.model_path.write_text(name)
        return begun.model_path

    return run


def recorded(parent: Path) -> dict[str, Any]:
    """Return the record of a run that begins with a model."""
    return {
        "model": str(parent),
        "model_digest": digest_of_model(parent),
        "begun_with": lineage_of(parent).to_json(),
    }


def fold(first: int, last: int, embargo_eras: int = 8) -> Fold:
    return Fold(("0001",), labels(first, last), (), embargo_eras)


def test_a_model_has_seen_the_eras_of_its_initial_models(make: Make) -> None:
    first = make("first", labels(20, 60), "mine:build", embargo_eras=16)
    second = make("second", labels(14, 48), **recorded(first), kept_epoch="last")
    found = lineage_of(second)
    assert found.train_eras == labels(14, 60)
    assert found.choice_eras == ("0070",)  # of the first alone
    assert (found.embargo_eras, found.code, found.is_known) == (16, ("mine:build",), True)
    assert found.seen_of(fold(49, 60), ERAS, walks_forward=False) == list(labels(33, 60))
    first.unlink()
    assert lineage_of(second) == found
    assert Lineage.from_json(found.to_json()) == found


@pytest.mark.parametrize(
    ("target", "embargo", "of_fold", "nearest"),
    [
        ("target_x_20", 8, 8, 35),
        ("target_x_60", 16, 8, 43),
        ("target_x_20", 5, 5, 32),
        ("target_x_60", 0, 8, 40),  # with allow_overlap: 13, which the labels look ahead
        ("target_x_20", 8, 16, 43),
    ],
)
def test_the_largest_embargo_separates_seen_and_scored_eras(
    target: str, embargo: int, of_fold: int, nearest: int, make: Make
) -> None:
    model = make("first", labels(1, 26), targets=[target], embargo_eras=embargo)
    lineage = lineage_of(model)
    for first, expected in ((nearest - 1, ["0026"]), (nearest, [])):
        scored = fold(first, first + 5, of_fold)
        assert lineage.seen_of(scored, ERAS, walks_forward=False) == expected


def test_alias_targets_count_as_the_targets_that_they_equal(make: Make) -> None:
    options = {"targets": ["target"], "named_targets": ["target_x_20"], "embargo_eras": 5}
    assert lineage_of(make("first", labels(1, 26), **options)).embargo_eras == 5
    del options["named_targets"]
    assert lineage_of(make("second", labels(1, 26), **options)).embargo_eras == 13


def test_a_walk_forward_refuses_models_that_have_seen_later_eras(make: Make) -> None:
    lineage = lineage_of(make("first", (*labels(1, 20), *labels(60, 65))))
    scored = fold(30, 40)
    assert lineage.seen_of(scored, ERAS, walks_forward=False) == []
    later = [*labels(60, 65), "0070"]  # the last one chose it
    assert lineage.seen_of(scored, ERAS, walks_forward=True) == later


def test_eras_that_a_dataset_lacks_count_by_number() -> None:
    lineage = Lineage(train_eras=labels(1, 26), embargo_eras=8)
    scored = fold(34, 40)
    assert lineage.seen_of(scored, labels(34, 80), walks_forward=False) == ["0026"]


def test_the_lineage_of_runs_of_earlier_versions_is_read_from_their_model_file(make: Make) -> None:
    first = make("first", labels(20, 60))
    old = recorded(first)
    del old["begun_with"]
    second = make("second", labels(14, 48), **old)
    assert lineage_of(second).train_eras == labels(14, 60)
    first.write_text("trained further")
    assert lineage_of(second) == Lineage(labels(14, 48), ("0070",), 8, is_known=False)
    first.unlink()
    assert not lineage_of(second).is_known


def test_a_model_outside_any_run_has_no_lineage(tmp_path: Path, make: Make) -> None:
    alone = tmp_path / "alone.keras"
    alone.write_text("alone")
    assert lineage_of(alone) == Lineage(is_known=False)
    further = make("further", labels(14, 48), **recorded(alone))
    assert lineage_of(further) == Lineage(labels(14, 48), ("0070",), 8, is_known=False)
    (tmp_path / "config.json").write_text('{"architectures": []}')  # of another program
    assert not lineage_of(alone).is_known


def test_a_run_without_an_initial_model_has_no_lineage(tmp_path: Path) -> None:
    run = begin_run(tmp_path / "run", run_record(model="mine:build"))
    assert begun_with(run) == Lineage()
    assert code_of(run) == ("mine:build",)
    assert code_of(begin_run(tmp_path / "plain", run_record())) == ()


@pytest.mark.parametrize("lineage", [{}, {"train_eras": 5}])
def test_a_damaged_lineage_is_refused_and_makes_a_model_unknown(
    make: Make, lineage: dict[str, Any]
) -> None:
    model = make("run", labels(1, 20), model="first.keras", begun_with=lineage)
    with refused(RunError, "config.json: damaged: 'begun_with' lacks keys", "another --run"):
        begun_with(read_run(model.parent))
    assert lineage_of(model) == Lineage(is_known=False)


def test_a_model_in_the_folder_of_a_run_of_folds_has_no_lineage(make: Make) -> None:
    folds = [fold_record(Fold(("1",), ("5",), (), 8))]
    assert lineage_of(make("run", labels(1, 20), folds=folds)) == Lineage(is_known=False)
