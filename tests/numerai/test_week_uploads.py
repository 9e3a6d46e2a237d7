"""Tests of model uploads in a week: exported once after each training, and sent once."""

import pickle
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

import memmap_train as mt
from memmap_train.cli.commands import main
from memmap_train.errors import ExportError
from memmap_train.numerai import week
from memmap_train.numerai.week.ready import digest_of
from memmap_train.numerai.week.state import State
from memmap_train.runs.folds.fold import Fold
from memmap_train.runs.record import fold_record
from memmap_train.runs.run_folder import begin_run
from tests.support.numerai_submissions import write_model
from tests.support.numerai_week import CONFIG, NumeraiWeek, make_finished_run
from tests.support.run_records import run_record

pytest_plugins = [
    "tests.support.numerai_fixtures",
    "tests.support.numerai_week_fixtures",
    "tests.support.training_fixtures",
]

UPLOAD = CONFIG + 'upload = "model"\n'
PLACE = "memmap_train.numerai.week.uploads"


class KilledError(BaseException):
    """Stands for the end of the process."""


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Let exports write another model; return the paths that they write."""
    made: list[Path] = []

    def export(runs: object, path: Path, **options: object) -> None:
        assert options["neutralize"] is None
        made.append(write_model(path))

    monkeypatch.setattr(f"{PLACE}.export", export)
    monkeypatch.setattr(f"{PLACE}.start_tensorflow", lambda folder: None)
    return made


def retrain(numerai: NumeraiWeek) -> None:
    """Let the run be another one of the same name."""
    folder = numerai.folder / "runs" / "one"
    shutil.rmtree(folder)
    features = list(mt.open_dataset(numerai.state / "shards").feature_names)
    make_finished_run(folder, features, learning_rate=0.5)


def uploaded(numerai: NumeraiWeek) -> list[str]:
    return [item["filename"] for item in numerai.uploads["first"]]


def test_a_model_is_exported_and_uploaded_without_a_round(numerai: NumeraiWeek) -> None:
    numerai.write_config(UPLOAD)
    numerai.round = None
    report = numerai.run()
    (outcome,) = report.outcomes
    image = f"Python 3.{sys.version_info.minor}"
    assert str(outcome) == f"first: uploaded the model as upload-0 (image {image!r}, data v5.3)"
    (upload,) = numerai.uploads["first"]
    assert upload["dataVersionId"] == "data"
    predict = pickle.loads(numerai.server.uploads[upload["filename"]])
    assert callable(predict)
    assert not numerai.sent()


def test_it_is_uploaded_once(numerai: NumeraiWeek, quick: list[Path]) -> None:
    numerai.write_config(UPLOAD)
    numerai.run()
    report = numerai.run()
    assert report.outcomes[0].text == "already uploaded as upload-0"
    assert len(quick) == len(uploaded(numerai)) == 1
    dry = numerai.run(dry_run=True)
    assert dry.outcomes[0].text == "already uploaded as upload-0"


def test_after_another_training_it_is_uploaded_again(
    numerai: NumeraiWeek, quick: list[Path]
) -> None:
    numerai.write_config(UPLOAD)
    numerai.run()
    mt.convert(numerai.sample / "live.parquet", numerai.state / "shards", progress=False)
    retrain(numerai)
    assert numerai.run(dry_run=True).outcomes[0].text == "would be exported and uploaded"
    numerai.run()
    first, second = uploaded(numerai)
    assert first != second
    assert [path.name for path in (numerai.state / "uploads").iterdir()] == [quick[1].name]
    assert numerai.run().outcomes[0].text == "already uploaded as upload-1"


def test_a_lost_state_is_no_second_upload(numerai: NumeraiWeek, quick: list[Path]) -> None:
    numerai.write_config(UPLOAD)
    numerai.run()
    shutil.rmtree(numerai.state)
    report = numerai.run()
    assert report.outcomes[0].text == "already uploaded, found at Numerai as upload-0"
    assert len(quick) == 1


@pytest.mark.parametrize("step", ["export", "submit", "State.set_upload"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_week_killed_at_any_step_ends_in_one_upload(
    numerai: NumeraiWeek,
    quick: list[Path],
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    when: str,
) -> None:
    numerai.write_config(UPLOAD)
    place = f"memmap_train.numerai.week.state.{step}" if "." in step else f"{PLACE}.{step}"
    originals = {"State.set_upload": State.set_upload}
    module = __import__(PLACE, fromlist=["export"])
    original = originals.get(step) or getattr(module, step)

    def killed(*arguments: Any, **options: Any) -> None:
        if when == "after":
            original(*arguments, **options)
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(place, killed)
        with pytest.raises(KilledError):
            numerai.run()
    assert not numerai.run().failures
    assert not numerai.run().failures
    assert len(uploaded(numerai)) == 1


def words(line: str) -> list[str]:
    """Return the words of a line without numbers, ids, paths and units."""
    found = re.findall(r"[^\s()]+", line)
    return [word for word in found if not re.search(r"\d|/|-0$|^[kMG]?B,?$", word)]


def test_the_readme_shows_what_the_command_prints(
    numerai: NumeraiWeek, quick: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    models = '[[models]]\nname = "second"\nruns = ["runs/one"]\nupload = "model"\n'
    numerai.write_config('dataset = "shards"\n' + CONFIG + models)
    assert main(["week", str(numerai.config)]) == 0
    numerai.start_again()
    capsys.readouterr()
    assert main(["week", str(numerai.config)]) == 0
    printed = capsys.readouterr().out
    text = Path(week.__file__).with_name("README.md").read_text("utf-8")
    _, _, shown = text.partition("```\n\n```\n")
    shown = shown.partition("```")[0].replace("my_model", "first").replace("our_model", "second")
    assert [words(line) for line in printed.splitlines()] == [
        words(line) for line in shown.splitlines()
    ]


def test_an_export_that_fails_does_not_stop_the_predictions(
    numerai: NumeraiWeek, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*arguments: object, **options: object) -> None:
        raise ExportError("the upload can't be made")

    monkeypatch.setattr(f"{PLACE}.export", failing)
    second = '[[models]]\nname = "second"\nruns = ["runs/one"]\n'
    numerai.write_config(UPLOAD + second)
    report = numerai.run()
    assert [failed.what for failed in report.failures] == ["first"]
    assert list(numerai.sent()) == ["second"]


def test_a_python_that_is_not_there_is_one_line(numerai: NumeraiWeek) -> None:
    numerai.write_config(UPLOAD + 'python = "3.99"\n')
    (failed,) = numerai.run().failures
    assert "3.99" in failed.text
    assert not uploaded(numerai)


@pytest.mark.parametrize("has_folds", [False, True])
def test_another_model_of_any_seed_makes_another_upload(tmp_path: Path, has_folds: bool) -> None:
    eras = {"folds": [fold_record(Fold(("1",), ("5",), ("3",), 2))]} if has_folds else {}
    run = begin_run(tmp_path / "run", run_record(seeds=[3, 4], **eras))
    models = []
    for number, path in enumerate(run.part_paths):
        part = begin_run(path, run_record(seed=3 + number, **eras))
        last = begin_run(part.part_paths[0], run_record()) if has_folds else part
        last.model_path.write_text("one")
        models.append(last.model_path)
    before = digest_of([run])
    assert digest_of([run]) == before
    models[1].write_text("another")
    assert digest_of([run]) != before
