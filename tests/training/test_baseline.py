"""The ridge regression beside a net: fitted, copied, resumed, and shown."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

import memmap_train as mt
from memmap_train.errors import MemmapTrainError
from memmap_train.runs.baseline import wants_baseline
from memmap_train.runs.lock import holding
from memmap_train.runs.reports.plan import plan_text
from memmap_train.runs.reports.recorded_report import recorded_folds_report, recorded_report
from memmap_train.runs.reports.report import TrainReport
from memmap_train.runs.reports.result_text import result_text
from memmap_train.runs.run import Run, read_run
from memmap_train.runs.table import describe_runs
from memmap_train.training import baseline
from memmap_train.training.baseline import add_baseline
from memmap_train.training.parts.fold_loop import train_folds
from memmap_train.training.train import dry_run, train_run
from tests.support.training_data import Script, small_config
from tests.support.training_runs import interrupt, weights

pytest_plugins = ["tests.support.training_fixtures"]


class Fitting(Script):
    """A script that knows what becomes of a baseline."""

    def summing(self, rows_done: int, n_rows: int) -> None:
        self._note("summing")

    def fitting_baseline(self, text: str) -> None:
        self._note("fitting")


def net_config(**changes: Any) -> mt.TrainConfig:
    return small_config(**{"epochs": 1, "baseline": "ridge", **changes})


@pytest.fixture
def net(finished: tuple[Path, TrainReport], tmp_path: Path) -> Run:
    """Return a copy of a finished net, alone in its folder."""
    path = tmp_path / "alone" / "net"
    shutil.copytree(finished[0], path)
    return read_run(path)


@pytest.mark.usefixtures("drawn_pictures")
def test_it_is_the_ridge_regression_of_the_same_eras_on_raw_targets(
    net: Run, sample: Path, tmp_path: Path
) -> None:
    script, result = Fitting(), recorded_report(net)
    with_ridge = add_baseline(net, sample, result, script)
    assert {"fitting", "summing"} <= set(script.calls)
    assert "started" not in script.calls  # its plan isn't the run's
    ridge = train_run(sample, tmp_path / "ridge", small_config(model="ridge"), draws=False)
    assert with_ridge.baseline == ridge.corr
    assert weights(net.baseline_path)[0].tobytes() == weights(tmp_path / "ridge")[0].tobytes()
    own = f"{ridge.corr.mean:.4f}, Sharpe {ridge.corr.sharpe:.2f}: this run's is"
    assert f"numerai_corr of a ridge regression {own}" in result_text(with_ridge)
    assert recorded_report(net).baseline == ridge.corr
    assert not (net.baseline_path / "validation.png").exists()
    # It isn't listed as a run of its own.
    listed = describe_runs([net.path.parent])
    assert [Path(row["run"]).name for row in listed] == ["net"]
    again = Fitting()
    assert add_baseline(net, sample, recorded_report(net), again).already_finished
    assert again.calls == []


def test_it_is_copied_from_a_run_beside(net: Run, sample: Path, tmp_path: Path) -> None:
    add_baseline(net, sample, recorded_report(net), Fitting())
    for name, changes, is_copied in (
        ("other", {"hidden": (4,), "target_transform": "rank"}, True),
        ("further", {"validation_eras": 3}, False),
    ):
        path, script = net.path.parent / name, Fitting()
        result = train_run(sample, path, net_config(**changes))
        found = add_baseline(read_run(path), sample, result, script)
        assert ("summing" in script.calls) == (not is_copied)
        assert (found.baseline == recorded_report(net).baseline) == is_copied
        assert mt.open_run(path / "baseline").config.model == "ridge"
    (other,) = (net.path.parent / "other" / "baseline").glob("state.json")
    shutil.rmtree(net.path)
    assert recorded_report(read_run(other.parents[1])).baseline is not None


def test_an_interrupted_copy_leaves_nothing(
    net: Run, sample: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = net.path.with_name("other")
    shutil.copytree(net.path, other)
    train_run(sample, net.path.with_name("ridge"), small_config(model="ridge"), draws=False)
    with monkeypatch.context() as patched:
        patched.setattr("shutil.copyfile", lambda *_: interrupt())
        with pytest.raises(KeyboardInterrupt):
            add_baseline(read_run(other), sample, recorded_report(net), Fitting())
    assert sorted(path.name for path in other.iterdir()) == sorted(
        path.name for path in net.path.iterdir()
    )
    script = Fitting()
    with holding(other):  # by a process that trains it further, and will add one at its end
        add_baseline(read_run(other), sample, recorded_report(net), script)
    assert "another process is training this run" in script.warnings[0]
    assert not (other / "baseline").exists()
    add_baseline(read_run(other), sample, recorded_report(net), Fitting())
    assert (other / "baseline" / "state.json").exists()


def test_an_interrupted_one_is_resumed_and_the_run_stays_finished(net: Run, sample: Path) -> None:
    result = recorded_report(net)
    with pytest.raises(KeyboardInterrupt):
        add_baseline(net, sample, result, Fitting("summing 1", interrupt))
    assert recorded_report(net).baseline is None
    assert list((net.baseline_path / "checkpoints").iterdir())
    assert add_baseline(net, sample, result, Fitting()).baseline is not None


def test_a_run_that_is_resumed_meanwhile_stays_unfinished(net: Run, sample: Path) -> None:
    # Another process trains it for more epochs.
    script = Fitting("summing 1", net.reopen)
    assert add_baseline(net, sample, recorded_report(net), script).baseline is not None
    assert net.read_result() is None


FAILURES: dict[str, tuple[Exception, str]] = {
    "memory": (MemmapTrainError("no memory is left"), "no memory is left"),
    "disk": (OSError(28, "No space left"), "OSError: [Errno 28] No space left"),
    "GPU": (
        tf.errors.ResourceExhaustedError(None, None, "OOM when allocating\nstack"),
        "ResourceExhaustedError: OOM when allocating",
    ),
}


@pytest.mark.parametrize("case", FAILURES)
def test_a_failure_costs_a_warning(
    case: str, net: Run, sample: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error, said = FAILURES[case]

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(baseline, "train_run", fail)
    script, result = Fitting(), recorded_report(net)
    assert add_baseline(net, sample, result, script) is result
    (warning,) = script.warnings
    assert f"can't be fitted: {said}" in warning
    assert "; the run itself is finished" in warning
    assert "\n" not in warning


def test_one_that_can_not_be_scored_costs_a_line(
    net: Run, sample: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating")

    with monkeypatch.context() as patched:
        patched.setattr("memmap_train.training.ridge.results.keras_model", fail)
        script = Fitting()
        add_baseline(net, sample, recorded_report(net), script)
    assert "fails on the validation eras: ResourceExhaustedError: OOM" in script.warnings[0]
    again = Fitting()
    assert add_baseline(net, sample, recorded_report(net), again).baseline is not None
    assert "summing" not in again.calls  # the fit was saved


def test_each_fold_has_its_own(sample: Path, tmp_path: Path) -> None:
    path, config = tmp_path / "run", net_config(validation_eras=None, embargo_eras=8)
    result = train_folds(sample, path, config, folds=2)
    found = add_baseline(read_run(path), sample, result, Fitting())
    ridge = train_folds(
        sample, tmp_path / "ridge", small_config(model="ridge", validation_eras=None), folds=2
    )
    assert found.baseline == ridge.corr
    assert recorded_folds_report(read_run(path)).baseline == ridge.corr
    for name in ("fold-01", "fold-02"):
        own, expected = weights(path / "baseline" / name), weights(tmp_path / "ridge" / name)
        assert own[0].tobytes() == expected[0].tobytes()
    assert len(describe_runs([path])) == 3  # the run and its folds


def test_training_fits_it_unless_it_is_asked_not_to(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "memmap_train.runs.reports.report_process.charts_are_installed", lambda: False
    )
    run = mt.train(sample, tmp_path / "none", net_config(baseline="none"))
    assert run.result.baseline is None
    assert not (tmp_path / "none" / "baseline").exists()
    # A run that was finished without one gets one that is asked for.
    run = mt.train(sample, tmp_path / "none", net_config(), resume=True)
    assert run.result.baseline is not None
    assert "ridge regression" in result_text(mt.open_run(run).result)


def test_a_run_of_an_earlier_version_is_resumed_without_one(net: Run) -> None:
    values = json.loads((net.path / "config.json").read_text())
    del values["baseline"]
    (net.path / "config.json").write_text(json.dumps(values))
    assert not wants_baseline(read_run(net.path).train_config())


def test_a_dry_run_says_that_it_will_be_fitted(sample: Path, tmp_path: Path) -> None:
    line = "\nbaseline    a ridge regression, fitted afterwards\n"
    assert line in plan_text(dry_run(sample, tmp_path / "run", net_config()))
    for changes in ({"baseline": "none"}, {"model": "linear"}, {"model": "ridge"}):
        assert line not in plan_text(dry_run(sample, tmp_path / "run", net_config(**changes)))


def test_an_evaluation_shows_it_once_as_ridge(net: Run, sample: Path) -> None:
    add_baseline(net, sample, recorded_report(net), Fitting())
    copy = net.path.with_name("copy")
    shutil.copytree(net.path, copy)
    (ridge,) = mt.evaluate(net.path, sample).baseline_scores
    assert (ridge.name, ridge.kind, ridge.is_reference) == ("ridge", "baseline", True)
    found = mt.evaluate([net.path, copy], sample)
    assert [model.name for model in found.models] == ["net", "copy"]
    assert [model.name for model in found.all_models] == ["net", "copy", "ridge"]
    scores = found.model("ridge").by_target["target"].statistics("corr")
    assert scores.mean == pytest.approx(recorded_report(read_run(net.baseline_path)).corr.mean)
    text = str(found)
    assert "\nridge  " in text
    assert text.count("  minus ridge ") >= 2
    assert [model["name"] for model in found.to_dict()["baseline_scores"]] == ["ridge"]
    # Asked for by its own name it is a model as any other, and no baseline beside it.
    assert mt.evaluate([net.path, net.baseline_path], sample).baseline_scores == ()
