"""A configuration meets a dataset, also one that has changed since a run began."""

import json
import shutil
from collections.abc import Callable, Collection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import memmap_train as mt
from memmap_train.errors import DatasetError, RunError, ShardError
from memmap_train.runs.reports.plan import TrainPlan, plan_text
from memmap_train.training.plan import plan_of
from memmap_train.training.resolve import prepare
from memmap_train.training.train import train_run
from tests.support.errors import refused
from tests.support.toy import toy_table
from tests.support.training_data import Script, newest_checkpoint, small_config
from tests.support.training_fixtures import growing_in
from tests.support.training_runs import interrupt

pytest_plugins = ["tests.support.training_fixtures"]

Growing = Callable[..., Path]
State = tuple[bytes, dict[str, bytes]]
TARGETS = ("target", "target_alpha_20")  # one is an alias of the other


def begin(dataset: Path, run: Path, **changes: Any) -> None:
    """Begin a run and interrupt it in its first epoch."""
    with pytest.raises(KeyboardInterrupt):
        train_run(dataset, run, small_config(**changes), report=Script("step 7", interrupt))


@pytest.fixture(scope="module")
def twenty_eras(sample_files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a dataset of the sample's first 20 eras, which tests only read."""
    return growing_in(tmp_path_factory.mktemp("twenty"), sample_files)(20)


@pytest.fixture(scope="module")
def whole(twenty_eras: Path, tmp_path_factory: pytest.TempPathFactory) -> State:
    """Return the state of a run on 20 eras that nothing interrupted."""
    run = tmp_path_factory.mktemp("whole") / "run"
    train_run(twenty_eras, run, small_config())
    return state(run)


@pytest.fixture(scope="module")
def interrupted(twenty_eras: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run on 20 eras that was interrupted in its first epoch, which tests only read."""
    run = tmp_path_factory.mktemp("interrupted") / "run"
    begin(twenty_eras, run)
    return run


@pytest.fixture
def begun(interrupted: Path, tmp_path: Path) -> Path:
    """Return a copy of the interrupted run."""
    return Path(shutil.copytree(interrupted, tmp_path / "run"))


def state(run: Path) -> State:
    newest = newest_checkpoint(run)
    assert newest is not None
    arrays = {name: array.tobytes() for name, array in newest.arrays.items()}
    return (run / "era_scores.csv").read_bytes(), arrays


# -- what is out of reach -------------------------------------------------------------------------


def test_an_era_outside_the_fold_cannot_be_reached_from_its_batches(sample: Path) -> None:
    dataset = mt.open_dataset(sample)
    setup = prepare(dataset, None, small_config())
    reachable = setup.batches.dataset
    assert reachable.eras == setup.fold.train == dataset.eras[:12]
    for era in dataset.eras[12:]:
        with refused(DatasetError, f"no era {era!r}"):
            _ = reachable[era]
        with refused(DatasetError, f"no era {era!r}"):
            reachable.select([era])


def test_no_file_outside_the_fold_is_opened_and_no_features_of_validation_before_it_begins(
    sample: Path, tmp_path: Path, opened: list[str]
) -> None:
    before: set[str] = set()

    class Watching(Script):
        def step(self, *numbers: Any) -> None:
            super().step(*numbers)
            if "validation" not in self.calls:
                before.update(opened)

    train_run(sample, tmp_path / "run", small_config(epochs=1), report=Watching())

    def eras_of(files: Collection[str], array: str) -> set[str]:
        return {Path(file).parent.name for file in files if file.endswith(f"{array}.npy")}

    eras = mt.open_dataset(sample).eras
    of_training, of_validation = ({f"era-{era}" for era in some} for some in (eras[:12], eras[-4:]))
    assert eras_of(before, "features") == of_training
    # Else an update that exchanges them would end the run.
    assert eras_of(before, "targets") == of_training | of_validation
    assert eras_of(opened, "") == of_training | of_validation


# -- eras that aren't weeks -----------------------------------------------------------------------


def plan_for(folder: Path, eras: list[str], **changes: Any) -> TrainPlan:
    """Return the plan of a training on a toy dataset with these eras, from a column `day`."""
    table = toy_table({f"{number:04}": 3 for number in range(len(eras))}).drop_columns("era")
    days = pa.array([era for era in eras for _ in range(3)])
    pq.write_table(table.append_column("day", days), folder / "toy.parquet")
    dataset = mt.convert(
        folder / "toy.parquet", folder / "out", era_column="day", overwrite=True
    ).dataset
    setup = prepare(dataset, None, small_config(batch_size=8, **changes))
    return plan_of(setup, SimpleNamespace(count_params=lambda: 1), 0, 0)


def test_the_embargo_of_daily_eras_is_counted_in_days_and_reported(tmp_path: Path) -> None:
    days = [f"{day:%Y-%m-%d}" for day in pd.bdate_range("2024-01-05", periods=100)]
    plan = plan_for(tmp_path, days, targets="target_t1_20")
    assert plan.n_embargo_eras == 40
    (line,) = [line for line in plan_text(plan).splitlines() if line.startswith("embargo")]
    assert line.startswith("embargo     8 weeks for 'target_t1_20' are up to 40 eras: these are")
    plan = plan_for(tmp_path, days, targets="target_t1_20", embargo_eras=30)
    assert (plan.n_embargo_eras, plan.embargo) == (30, None)


def test_numbered_days_count_as_weeks_with_a_warning(tmp_path: Path) -> None:
    plan = plan_for(tmp_path, [str(day) for day in range(40)], targets="target_t1_20")
    assert plan.n_embargo_eras == 8
    assert "eras such as '0' are assumed to be weeks; set embargo_eras" in plan_text(plan)


def test_weekly_eras_and_a_known_horizon_give_no_warning(sample: Path) -> None:
    setup = prepare(mt.open_dataset(sample), None, small_config())
    plan = plan_of(setup, SimpleNamespace(count_params=lambda: 1), 0, 0)
    assert plan.embargo is None
    assert "\nembargo" not in plan_text(plan)


# -- weeks that come while a run waits ------------------------------------------------------------


@pytest.mark.parametrize(
    ("validation_eras", "asks_again"), [(4, False), (0.2, True), ("0017-0020", True)]
)
def test_appended_eras_move_no_fold_and_change_no_bit(
    growing: Growing, whole: State, tmp_path: Path, validation_eras: Any, asks_again: bool
) -> None:
    dataset = growing(20)
    begin(dataset, tmp_path / "run", validation_eras=validation_eras)
    digest = mt.open_dataset(dataset).manifest.digest
    growing(24)
    assert mt.open_dataset(dataset).manifest.digest != digest
    script = Script()
    config = small_config(validation_eras=validation_eras) if asks_again else None
    train_run(dataset, tmp_path / "run", config, resume=True, report=script)
    assert script.warnings == []
    assert script.plan is not None
    assert (script.plan.first_step, script.plan.n_validation_eras) == (7, 4)
    assert state(tmp_path / "run") == whole


def test_late_targets_are_used_with_a_warning_about_exactness(
    growing: Growing, begun: Path
) -> None:
    dataset = growing(21, changed=TARGETS)
    script = Script()
    train_run(dataset, begun, small_config(), resume=True, report=script)
    (warning,) = script.warnings
    assert "targets of the run's eras have changed" in warning
    assert "no longer" in warning


def test_targets_that_changed_outside_the_eras_of_the_run_do_not_matter(
    growing: Growing, begun: Path
) -> None:
    dataset = growing(20, changed=TARGETS, era="0012")  # in the embargo
    script = Script()
    train_run(dataset, begun, None, resume=True, report=script)
    assert script.warnings == []


def test_changed_targets_that_the_run_does_not_use_do_not_matter(
    growing: Growing, begun: Path, whole: State
) -> None:
    dataset = growing(21, changed=("target_beta_20",))
    script = Script()
    train_run(dataset, begun, small_config(), resume=True, report=script)
    assert script.warnings == []
    assert state(begun) == whole


def test_an_alias_that_ended_in_a_later_era_does_not_matter(
    growing: Growing, twenty_eras: Path, begun: Path, whole: State
) -> None:
    assert mt.open_dataset(twenty_eras).manifest.aliases == {"target": "target_alpha_20"}
    dataset = growing(21, changed=("target",), era="0021")
    assert mt.open_dataset(dataset).manifest.aliases == {}
    script = Script()
    train_run(dataset, begun, small_config(), resume=True, report=script)
    assert script.warnings == []
    assert state(begun) == whole


@pytest.fixture(scope="module")
def in_one_window(twenty_eras: Path, tmp_path_factory: pytest.TempPathFactory) -> State:
    """Return the state of a run on 20 eras in one window, which nothing interrupted."""
    run = tmp_path_factory.mktemp("window") / "run"
    train_run(twenty_eras, run, small_config(window_size=20))
    return state(run)


@pytest.mark.parametrize("era", ["0001", "0020"])
@pytest.mark.parametrize("call", ["started 1", "step 3", "validation 1"])
def test_an_update_during_a_training_does_not_change_its_results(
    growing: Growing, in_one_window: State, tmp_path: Path, call: str, era: str
) -> None:
    dataset = growing(20)
    digest = mt.open_dataset(dataset).manifest.digest
    script = Script(call, lambda: growing(21, changed=TARGETS, era=era))
    train_run(dataset, tmp_path / "run", small_config(window_size=20), report=script)
    assert mt.open_dataset(dataset).manifest.digest != digest
    assert script.warnings == []
    assert state(tmp_path / "run") == in_one_window


def test_a_dataset_that_vanishes_during_a_training_ends_it_in_one_line_with_advice(
    growing: Growing, whole: State, tmp_path: Path
) -> None:
    dataset = growing(20)
    script = Script("step 18", lambda: dataset.rename(tmp_path / "moved"))
    with refused(ShardError, "era-0017/features.npy: the file is missing", "20 steps", "--resume"):
        train_run(dataset, tmp_path / "run", small_config(), report=script)
    (tmp_path / "moved").rename(dataset)
    train_run(dataset, tmp_path / "run", small_config(), resume=True)
    assert state(tmp_path / "run") == whole


@pytest.mark.parametrize("era", ["0001", "0020"])
def test_changed_features_of_an_era_of_the_run_are_refused(
    growing: Growing, twenty_eras: Path, begun: Path, era: str
) -> None:
    name = mt.open_dataset(twenty_eras).feature_names[0]
    dataset = growing(20, changed=(name,), era=era)
    with refused(RunError, "dataset has changed", "features of the run's eras", str(dataset)):
        train_run(dataset, begun, None, resume=True)


def test_a_dataset_that_lacks_eras_of_the_run_is_refused(
    growing: Growing, sample: Path, tmp_path: Path
) -> None:
    begin(sample, tmp_path / "run")
    with refused(RunError, "dataset has changed", "eras of the run are gone"):
        train_run(growing(20), tmp_path / "run", None, resume=True)


def test_the_same_eras_may_be_given_in_another_form_and_other_eras_may_not(
    growing: Growing, begun: Path
) -> None:
    dataset = growing(20)
    with refused(RunError, "validation_eras: ", "embargoed_eras: "):
        train_run(dataset, begun, small_config(validation_eras=3), resume=True)
    for n_eras, words in ((20, "0017-0020"), (24, ("0017", "0018", "0019", "0020"))):
        growing(n_eras)
        config, script = small_config(validation_eras=words), Script("step 1", interrupt)
        with pytest.raises(KeyboardInterrupt):
            train_run(dataset, begun, config, resume=True, report=script)


def test_an_untrained_run_begins_again_with_the_current_dataset(sample: Path, begun: Path) -> None:
    for path in (begun / "checkpoints").iterdir():
        path.unlink()  # as if it was killed at its first step
    script = Script()
    train_run(sample, begun, small_config(epochs=1), resume=True, report=script)
    assert script.warnings == []
    config = json.loads((begun / "config.json").read_text())
    assert config["labels_digest"].startswith("xxh3_128:")
    assert config["dataset_digest"] == mt.open_dataset(sample).manifest.digest


def test_the_record_of_the_fold_is_small(interrupted: Path) -> None:
    config = json.loads((interrupted / "config.json").read_text())
    for key in ("dataset_digest", "features_digest", "targets_digest"):
        assert config[key].startswith("sha256:")
    assert config["labels_digest"].startswith("xxh3_128:")
    assert len({config["features_digest"], config["targets_digest"]}) == 2
    assert (config["asked_validation_eras"], config["asked_embargo_eras"]) == (4, "auto")
    assert config["kept_epoch"] == "best"
