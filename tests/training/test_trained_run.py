"""A run as an object: what `mt.train` and `mt.open_run` return, and its predictions."""

import logging
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas
import pytest

import memmap_train as mt
from memmap_train.cli.commands import main
from memmap_train.errors import ConfigError, DatasetError, RunError
from memmap_train.runs.scores.score_files import ERA_SCORE_COLUMNS, HISTORY_COLUMNS
from memmap_train.runs.scores.summary import summary
from memmap_train.types import FoldsReport, TrainedRun, TrainReport
from tests.support.errors import refused
from tests.support.pictures import pictures
from tests.support.toy_datasets import MakeToy
from tests.support.training_data import (
    ROWS_PER_ERA,
    STEPS_PER_EPOCH,
    Script,
    all_rows,
    small_config,
)

pytest_plugins = ["tests.support.training_fixtures"]


@pytest.fixture(scope="module")
def run(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainedRun:
    """Return a finished run, which tests only read."""
    with pictures(are_drawn=True):
        return mt.train(sample, tmp_path_factory.mktemp("runs") / "run", small_config())


@pytest.fixture(scope="module")
def run_of_folds(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainedRun:
    """Return a finished run of two folds, which tests only read."""
    path = tmp_path_factory.mktemp("runs") / "folds"
    config = small_config(epochs=1, validation_eras=None, embargo_eras=8)
    return mt.train(sample, path, config, folds=2)


@pytest.fixture(params=["trained", "opened"])
def either(request: pytest.FixtureRequest, run: TrainedRun) -> TrainedRun:
    return run if request.param == "trained" else mt.open_run(run.path)


def test_a_training_waits_for_one_in_another_thread(
    run: TrainedRun, sample: Path, tmp_path: Path
) -> None:
    """Keras's global seed belongs to the process: side by side, both would end in other bits."""
    waits, others = threading.Event(), []

    class Waiting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "waits for the end of a training in another thread" in record.getMessage():
                waits.set()

    def train_other() -> None:
        others.append(mt.train(sample, tmp_path / "other", small_config()))

    def begin_other(what: str, done: int, total: int) -> None:
        if not other.ident:
            other.start()
            assert waits.wait(60)

    log, handler = logging.getLogger("memmap_train"), Waiting()
    log.addHandler(handler)
    other = threading.Thread(target=train_other)
    try:
        both = [mt.train(sample, tmp_path / "first", small_config(), progress=begin_other)]
        other.join()
    finally:
        log.removeHandler(handler)
    both += others
    assert len(both) == 2
    for trained in both:
        assert trained.history["loss"].tolist() == run.history["loss"].tolist()
        assert trained.era_scores.tolist() == run.era_scores.tolist()


def test_the_result_summarises_the_best_epochs_era_scores(either: TrainedRun) -> None:
    result = either.result
    assert isinstance(result, TrainReport)
    scores = either.era_scores
    assert result.corr == summary(scores["numerai_corr"])
    assert result.pearson == summary(scores["pearson"])
    best = either.history[result.best_epoch - 1]
    assert result.corr.sharpe == pytest.approx(best["val_corr_sharpe"])


def test_history_and_era_scores_are_tables(either: TrainedRun) -> None:
    history = pandas.DataFrame(either.history)
    assert tuple(history) == HISTORY_COLUMNS
    assert history["epoch"].tolist() == [1, 2]
    assert np.isfinite(history["loss"]).all()
    scores = pandas.DataFrame(either.era_scores)
    assert tuple(scores) == ERA_SCORE_COLUMNS
    eras = either.config.validation_eras
    assert isinstance(eras, tuple)
    assert scores["era"].tolist() == list(eras)
    assert set(scores["target"]) == {"target"}


def test_the_configuration_is_the_resolved_one(either: TrainedRun, sample: Path) -> None:
    assert either.config.features == mt.open_dataset(sample).feature_names
    assert (either.config.epochs, either.config.hidden) == (2, (8,))


def test_the_model_and_the_picture_are_those_of_the_folder(either: TrainedRun) -> None:
    assert either.model().input_shape == (None, len(either.config.features))
    assert either.chart_path == (either.path / "validation.png")
    assert repr(either) == f"<TrainedRun '{either.path}'>"


def test_a_run_with_a_relative_path_stays_the_same_in_another_directory(
    run: TrainedRun, run_of_folds: TrainedRun, sample: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(run.path.parent)
    opened = mt.open_run(run.path.name)
    monkeypatch.chdir(run_of_folds.path.parent)
    folds = mt.open_run(run_of_folds.path.name)
    monkeypatch.chdir(sample)
    assert (opened.path, folds.path) == (run.path, run_of_folds.path)
    assert opened.result.corr == run.result.corr
    assert opened.history.tolist() == run.history.tolist()
    assert opened.chart_path == run.chart_path
    assert opened.model().input_shape == run.model().input_shape
    assert [fold.path for fold in folds.folds] == [fold.path for fold in run_of_folds.folds]
    assert mt.predict(opened, sample).values.tolist() == mt.predict(run, sample).values.tolist()


def test_a_run_that_isnt_finished_says_that_it_has_no_scores_yet(
    run: TrainedRun, tmp_path: Path
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_bytes((run.path / "config.json").read_bytes())
    with refused(RunError, "there are no scores: expected a finished run", "resume=True"):
        mt.open_run(tmp_path / "run").era_scores  # noqa: B018


def test_predictions_are_those_of_the_model_and_are_written_as_by_the_command(
    run: TrainedRun, sample: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = mt.open_dataset(sample)
    raw = mt.predict(run, dataset, raw=True)
    expected = run.model().predict(all_rows(dataset)[0], verbose=0)[:, 0]
    assert raw.values.tobytes() == expected.tobytes()
    ranks = mt.predict([run.path, run], dataset)
    assert len(ranks) == dataset.n_rows
    assert np.argsort(ranks.values[:80]).tolist() == np.argsort(raw.values[:80]).tolist()
    for name, write in (("out.csv", ranks.to_csv), ("out.parquet", ranks.to_parquet)):
        write(tmp_path / name, era=True)
        command = ["predict", str(run.path), str(run.path), str(sample), "--era"]
        assert main([*command, "--out", str(tmp_path / f"other-{name}")]) == 0
        assert (tmp_path / name).read_bytes() == (tmp_path / f"other-{name}").read_bytes()
    table = pandas.read_csv(tmp_path / "out.csv")
    assert table["id"].tolist() == ranks.ids.tolist()
    assert table["era"].tolist() == ranks.eras.astype(int).tolist()
    assert table["prediction"].tolist() == ranks.values.tolist()
    assert repr(ranks) == f"<Predictions of 1,920 rows, 24 eras of '{sample}'>"


def test_no_run_is_trained_in_the_folder_of_another_run(
    run: TrainedRun, run_of_folds: TrainedRun, sample: Path, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(run.path)
    before = {folder: sorted(folder.path.rglob("*")) for folder in (run, run_of_folds)}
    for path in (run.path / "new", run_of_folds.path / "fold-1", tmp_path / "link/a"):
        for folds in (None, 2):
            with refused(RunError, "lies in the folder of the run", "choose another"):
                mt.train(sample, path, small_config(validation_eras=None), folds=folds)
    assert {folder: sorted(folder.path.rglob("*")) for folder in (run, run_of_folds)} == before


def test_a_selection_of_eras_is_predicted_alone(run: TrainedRun, sample: Path) -> None:
    dataset = mt.open_dataset(sample)
    some = mt.predict(run, dataset.select(dataset.eras[5:7]))
    assert sorted(set(some.eras.tolist())) == list(dataset.eras[5:7])
    assert len(some) == 2 * ROWS_PER_ERA


def test_what_numerai_would_not_accept_is_logged(
    run: TrainedRun, sample: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    predictions = mt.predict(run, sample)
    predictions.to_csv(tmp_path / "good.csv")
    assert caplog.messages == []
    replace(predictions, values=np.full(len(predictions), 1.5)).to_csv(tmp_path / "bad.csv")
    outside, equal = caplog.messages
    assert outside.startswith(f"{tmp_path / 'bad.csv'}: 1,920 predictions lie outside 0 to 1")
    assert equal.endswith("all predictions are equal, which Numerai doesn't take")


def test_a_suffix_of_another_format_is_refused(
    run: TrainedRun, sample: Path, tmp_path: Path
) -> None:
    predictions = mt.predict(run, sample)
    with refused(RunError, "out.csv", "expected a name that ends in .parquet"):
        predictions.to_parquet(tmp_path / "out.csv")
    with refused(RunError, "out.txt", "ends in .csv or .parquet"):
        predictions.to_csv(tmp_path / "out.txt")
    assert not list(tmp_path.iterdir())


def test_without_ids_values_are_predicted_but_not_written(
    make_toy: MakeToy, tmp_path: Path
) -> None:
    eras = {f"{number:04}": 40 for number in range(1, 13)}
    dataset = mt.open_dataset(make_toy(eras, ids=False))
    config = small_config(epochs=1, targets=dataset.target_names[:1], embargo_eras=5)
    run = mt.train(dataset, tmp_path / "run", replace(config, allow_overlap=True))
    predictions = mt.predict(run, dataset)
    assert len(predictions) == dataset.n_rows
    with refused(DatasetError, "has no ids"):
        predictions.to_csv(tmp_path / "out.csv")
    with refused(DatasetError, "has no ids"):
        _ = predictions.ids


def test_folds_have_their_own_runs(run_of_folds: TrainedRun, sample: Path) -> None:
    assert isinstance(run_of_folds.result, FoldsReport)
    assert mt.open_run(run_of_folds).result.corr == run_of_folds.result.corr
    first, second = run_of_folds.folds
    assert first.result.corr == run_of_folds.result.folds[0].corr
    assert len(second.history) == 1
    assert len(run_of_folds.era_scores) == len(first.era_scores) + len(second.era_scores)
    with refused(RunError, "2 folds", "run.folds[0].history"):
        _ = run_of_folds.history
    with refused(RunError, "2 folds", "run.folds[0].model"):
        run_of_folds.model()
    predictions = mt.predict(run_of_folds, sample)
    assert predictions.n_folds == 2
    assert set(predictions.left_out).isdisjoint(predictions.eras)


def test_rolling_eras_without_folds_are_refused(sample: Path, tmp_path: Path) -> None:
    with refused(ConfigError, "rolling_eras", "folds=5"):
        mt.train(sample, tmp_path / "run", rolling_eras=5)
    assert not list(tmp_path.iterdir())


def test_an_interrupted_run_is_opened_and_resumed(sample: Path, tmp_path: Path) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        mt.train(sample, tmp_path / "run", small_config(), progress=Script("step 20", stop))
    opened = mt.open_run(tmp_path / "run")
    assert len(opened.history) == 1
    assert opened.chart_path is None
    assert opened.model().count_params() > 0
    with refused(RunError, "isn't finished", "--resume", "resume=True"):
        _ = opened.result
    resumed = mt.train(sample, tmp_path / "run", resume=True)
    assert resumed.history["epoch"].tolist() == [1, 2]
    assert opened.result.corr == resumed.result.corr


def test_before_an_epoch_is_done_there_is_no_model(sample: Path, tmp_path: Path) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        mt.train(sample, tmp_path / "run", small_config(), progress=Script("step 3", stop))
    opened = mt.open_run(tmp_path / "run")
    assert len(opened.history) == 0
    assert opened.history.dtype.names == HISTORY_COLUMNS
    with refused(RunError, "there is no model.keras", "resume=True"):
        opened.model()


def test_progress_counts_the_rows_of_an_epoch(sample: Path, tmp_path: Path) -> None:
    calls: list[tuple[str, int, int]] = []
    mt.train(sample, tmp_path / "run", small_config(), progress=lambda *call: calls.append(call))
    assert {what for what, _, _ in calls} >= {"epoch 1"}
    assert {total for what, _, total in calls if what == "epoch 1"} == {STEPS_PER_EPOCH * 64}


def test_opening_a_run_that_is_none_is_refused(tmp_path: Path) -> None:
    with refused(RunError, "not a run", "no such folder"):
        mt.open_run(tmp_path / "none")


def test_a_finished_run_is_read_without_tensorflow(run: TrainedRun) -> None:
    code = f"""
import sys
import memmap_train as mt
run = mt.open_run({str(run.path)!r})
run.result.corr.sharpe, run.history, run.era_scores, run.config, run.chart_path
assert not {{"tensorflow", "keras", "scipy"}} & sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", code], check=True)
