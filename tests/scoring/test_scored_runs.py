"""Tests of the evaluation of runs: they are scored on eras that they weren't trained on."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import memmap_train as mt
from memmap_train.cli.commands import main
from memmap_train.dataset.dataset import Dataset
from memmap_train.errors import FoldError, RunError
from memmap_train.progress import ignore
from memmap_train.runs.run import read_run
from memmap_train.scoring.run_predictions import RunEras, predictions_of_run, run_eras
from memmap_train.types import TrainedRun
from tests.support.errors import refused
from tests.support.run_records import RECORD
from tests.support.training_data import small_config

pytest_plugins = ["tests.support.training_fixtures"]


@pytest.fixture(scope="module")
def run(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainedRun:
    return mt.train(sample, tmp_path_factory.mktemp("runs") / "one", small_config(epochs=1))


@pytest.fixture(scope="module")
def run_of_folds(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainedRun:
    config = small_config(epochs=1, validation_eras=None)
    return mt.train(sample, tmp_path_factory.mktemp("runs") / "folds", config, folds=2)


def test_a_run_is_scored_on_its_validation_eras_as_training_scored_it(
    run: TrainedRun, sample: Path
) -> None:
    (model,) = mt.evaluate(run, sample).models
    recorded = run.era_scores
    assert (model.name, model.path, model.kind) == ("one", run.path, "run")
    assert model.eras == tuple(recorded["era"])
    scores = model.by_target["target"]
    np.testing.assert_allclose(scores.corr, recorded["numerai_corr"], atol=1e-9)
    assert model.provenance is not None
    (fold,) = model.provenance.folds
    assert fold.validation == model.eras
    assert set(fold.train).isdisjoint(model.eras)
    assert [len(history) for history in model.provenance.histories] == [1]
    assert not any("unknown" in note for note in model.notes)


def test_folds_are_scored_out_of_fold(run_of_folds: TrainedRun, sample: Path) -> None:
    (model,) = mt.evaluate(run_of_folds, sample).models
    recorded = run_of_folds.era_scores
    assert model.kind == "folds"
    assert model.eras == tuple(recorded["era"])
    corr = model.by_target["target"].corr
    np.testing.assert_allclose(corr, recorded["numerai_corr"], atol=1e-9)
    assert model.provenance is not None
    assert len(model.provenance.histories) == 2


def test_the_file_that_predict_writes_has_the_scores_of_its_run(
    run: TrainedRun, run_of_folds: TrainedRun, sample: Path, tmp_path: Path
) -> None:
    path = tmp_path / "written.csv"
    assert main(["predict", str(run.path), str(sample), "--out", str(path), "--era"]) == 0
    predictions = mt.predict(run, sample)
    validation = run.result.corr.n_eras
    eras = [str(era) for era in run.era_scores["era"]]
    found = mt.evaluate([run, path, predictions, run_of_folds], sample, eras=eras)
    first, second, third, _ = found.models
    assert [model.kind for model in found.models] == ["run", "predictions", "predictions", "folds"]
    assert [model.name for model in found.models] == [
        "one",
        "written",
        "predictions",
        "folds",
    ]
    assert len(first.eras) == validation
    for other in (second, third):
        assert other.eras == first.eras
        np.testing.assert_allclose(
            other.by_target["target"].corr, first.by_target["target"].corr, atol=1e-12
        )
    assert found.difference("written", "one").mean == pytest.approx(0, abs=1e-12)


def test_an_era_without_labels_right_before_a_scored_one_is_predicted_too(
    run: TrainedRun, run_of_folds: TrainedRun, sample: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Turnover needs it; it isn't scored, and isn't left out of the folds in so many words."""
    dataset = mt.open_dataset(sample)
    *others, before, last = dataset.eras
    monkeypatch.setattr(Dataset, "labelled_eras", lambda self, target: (*others, last))
    for trained in (run, run_of_folds):
        chosen = RunEras((others[-1], last), ())
        found = predictions_of_run(read_run(trained.path), dataset, chosen, ignore)
        expected = mt.predict(trained, dataset.select([before]))
        assert list(found.values) == [others[-1], last]
        assert list(found.before) == [before]
        np.testing.assert_allclose(found.before[before], expected.values, atol=1e-7)
        assert found.notes == ()


def test_a_file_of_training_eras_is_scored_as_it_is_and_that_is_said(
    run: TrainedRun, sample: Path, tmp_path: Path
) -> None:
    mt.predict(run, sample).to_csv(tmp_path / "all.csv")
    (model,) = mt.evaluate(tmp_path / "all.csv", sample).models
    assert model.eras == mt.open_dataset(sample).labelled_eras("target")
    assert "it is unknown which eras these predictions' model was trained on" in model.notes[0]


def test_eras_that_were_trained_on_are_scored_only_if_asked_for(
    run: TrainedRun, sample: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["evaluate", str(run.path), str(sample), "--json"]
    assert main([*arguments, "--eras", "0001-0003", "--eras", "0005"]) == 0
    (model,) = json.loads(capsys.readouterr().out)["models"]
    assert (model["first_era"], model["last_era"], model["n_eras"]) == ("0001", "0005", 4)
    assert any("trained on 4 eras of them" in note for note in model["notes"])
    assert main(arguments) == 0
    (model,) = json.loads(capsys.readouterr().out)["models"]
    assert model["n_eras"] == len(run.era_scores)
    assert model["trained_on"]["folds"][0]["validation"] == [model["first_era"], model["last_era"]]


def make_finished(path: Path, **record: object) -> Path:
    """Write the folder of a finished run without a model."""
    path.mkdir()
    config = {"format": "memmap-train run", "format_version": 1, **RECORD, **record}
    (path / "config.json").write_text(json.dumps(config))
    (path / "state.json").write_text(json.dumps({"corr_mean": 0.1}))
    return path


ERAS = [f"{number:04}" for number in range(1, 41)]


@pytest.mark.parametrize(
    ("train", "validation", "expected"),
    [
        (ERAS[:10], ERAS[13:16], [*ERAS[13:16], *ERAS[18:39]]),
        # Training eras on both sides: later ones must be far from these too.
        (
            ERAS[:3] + ERAS[20:30],
            ERAS[10:12],
            [*ERAS[10:12], *ERAS[14:18], *ERAS[32:39]],
        ),
        (ERAS[:10], [*ERAS[13:16], "0099"], ERAS[13:16]),
    ],
)
def test_later_eras_lie_beyond_the_embargo(
    train: list[str],
    validation: list[str],
    expected: list[str],
    make_toy: Callable[..., Path],
    tmp_path: Path,
) -> None:
    dataset = mt.open_dataset(make_toy(dict.fromkeys(ERAS[:39], 2) | {"X": 2}))
    record = {"train_eras": train, "validation_eras": validation, "embargoed_eras": []}
    run = read_run(make_finished(tmp_path / "run", **record, embargo_eras=2))
    found = run_eras(run, dataset, None)
    assert [era for era in found.eras if era != "X"] == expected
    seen = {int(era) for era in (*train, *validation) if era not in found.eras}
    assert all(abs(int(era) - number) > 2 for era in expected for number in seen if era != "X")
    assert any("no labels in this dataset" in note for note in found.notes) == (
        "0099" in validation
    )


def test_a_run_of_other_eras_is_refused(make_toy: Callable[..., Path], tmp_path: Path) -> None:
    dataset = mt.open_dataset(make_toy({"0001": 2, "0002": 2}))
    run = read_run(make_finished(tmp_path / "run", train_eras=["0003"], validation_eras=["0007"]))
    with refused(FoldError, "none of the 1 era that it was validated on is in"):
        run_eras(run, dataset, None)


def test_a_run_that_is_not_finished_is_refused_before_anything_is_predicted(
    run: TrainedRun, sample: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(run.path, copy)
    (copy / "state.json").unlink()
    with refused(RunError, "the run isn't finished", f"--run {copy} --resume"):
        mt.evaluate(copy, sample)


def test_a_dataset_without_the_features_of_a_run_is_refused(
    run: TrainedRun, sample: Path, tmp_path: Path
) -> None:
    mt.convert(sample, tmp_path / "small", feature_set="small")
    with pytest.raises(mt.MemmapTrainError, match="feature"):
        mt.evaluate(run, tmp_path / "small")
