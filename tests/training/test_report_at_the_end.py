"""The page of scores that a training writes into its run's folder at the end."""

from importlib.util import find_spec
from pathlib import Path

import pytest

import memmap_train as mt
from memmap_train.runs.reports.result_text import result_text
from memmap_train.runs.run import Run
from memmap_train.training import trained_run
from tests.support.training_data import small_config

pytest_plugins = ["tests.support.training_fixtures"]


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Return the paths of the reports that are made, each of them a file of a few letters."""
    paths: list[Path] = []

    def make(run: Run, dataset: Path, **_: object) -> Path:
        assert run.read_result() is not None
        assert (dataset / "manifest.json").exists()
        run.report_path.write_text("a page")
        paths.append(run.report_path)
        return run.report_path

    monkeypatch.setattr(trained_run, "make_report", make)
    return paths


def test_a_training_makes_a_report_that_resuming_makes_again_if_it_is_gone(
    sample: Path, tmp_path: Path, made: list[Path]
) -> None:
    path, ds = tmp_path / "run", mt.open_dataset(sample)
    run = mt.train(ds, path, small_config())
    assert made == [run.report_path] == [path / "report.html"]
    assert f"report      {path / 'report.html'}" in result_text(run.result)
    assert result_text(mt.open_run(path).result).endswith(str(path / "report.html"))
    assert mt.train(sample, path, resume=True).result.report_path == str(path / "report.html")
    assert len(made) == 1  # it is there
    (path / "report.html").unlink()
    assert mt.open_run(path).report_path is None
    assert "report.html" not in result_text(mt.open_run(path).result)
    assert mt.train(sample, path, resume=True).report_path == path / "report.html"
    assert len(made) == 2


def test_more_epochs_make_another_report(sample: Path, tmp_path: Path, made: list[Path]) -> None:
    config = small_config(epochs=1)
    mt.train(sample, tmp_path / "run", config)
    mt.train(sample, tmp_path / "run", small_config(epochs=2), resume=True)
    assert len(made) == 2


def test_a_run_of_folds_makes_one_report(sample: Path, tmp_path: Path, made: list[Path]) -> None:
    config = small_config(epochs=1, validation_eras=None, embargo_eras=8)
    run = mt.train(sample, tmp_path / "run", config, folds=2)
    assert made == [tmp_path / "run" / "report.html"]
    assert run.result.report_path == str(made[0])


@pytest.mark.skipif(find_spec("vl_convert") is None, reason="vl-convert-python isn't installed")
def test_the_report_of_a_training_is_made_by_a_process(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "memmap_train.runs.reports.report_process.charts_are_installed", lambda: True
    )
    run = mt.train(sample, tmp_path / "run", small_config(epochs=1))
    assert run.report_path is not None
    page = run.report_path.read_text("utf-8")
    assert "Cumulative CORR" in page
    assert run.config.targets[0] in page
