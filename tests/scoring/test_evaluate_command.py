"""Tests of the command `evaluate`: what it prints and writes, and what it refuses in one line."""

import errno
import json
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import memmap_train as mt
from memmap_train.cli.commands import main
from memmap_train.runs.record import FORMAT
from memmap_train.scoring.era_table import ERA_COLUMNS
from memmap_train.scoring.summary_text import summary_text
from tests.support.evaluations import synthetic_evaluation
from tests.support.scoring_data import ERAS, predictions_frame, write_csv, write_parquet
from tests.support.toy_datasets import MakeToy

pytest_plugins = ["tests.support.scoring_fixtures"]


@pytest.fixture
def run_command(
    scored_dataset: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Return a function that runs `evaluate`; it returns the exit code, stdout and stderr."""

    def run(*models: object, dataset: Path = scored_dataset, options: str = "") -> Any:
        code = main(["evaluate", *map(str, models), str(dataset), *options.split()])
        return code, *capsys.readouterr()

    return run


def test_the_text_has_a_table_for_each_score(
    run_command: Callable[..., tuple[int, str, str]], prediction_files: list[Path]
) -> None:
    code, out, err = run_command(*prediction_files)
    assert (code, err) == (0, "")
    for expected in (
        "11 eras (0001 to 0011), target",
        "CORR ",
        "MMC (numerai_meta_model)",
        "BMC (v53_lgbm_ender20)",
        "correlation with          v53_lgbm_ender20 numerai_meta_mod… v53_lgbm_ct_blend",
        "FNC (fncv3_features)",
        "  minus whole",
        "  minus v53_lgbm_ender20",
        "CORR of target, by year",
        "exposure to 6 features (fncv3_features)",
        "all models: it is unknown which eras",
    ):
        assert expected in out
    tables = out.split("\n\n")[:-1]
    assert max(len(line) for table in tables for line in table.splitlines()) <= 100


def test_json_is_the_summary(
    run_command: Callable[..., tuple[int, str, str]],
    prediction_files: list[Path],
    scored_dataset: Path,
) -> None:
    code, out, _ = run_command(*prediction_files, options="--json --target target_other_60")
    assert code == 0
    evaluation = mt.evaluate(prediction_files, scored_dataset, targets="target_other_60")
    summary = json.loads(out, parse_constant=lambda constant: pytest.fail(constant))
    assert summary == json.loads(json.dumps(evaluation.to_dict()))
    first = summary["models"][0]
    assert (first["name"], first["kind"], first["n_eras"]) == ("whole", "predictions", 12)
    corr = first["scores"]["target_other_60"]["corr"]
    assert corr["mean"] == evaluation.models[0].by_target["target_other_60"].statistics("corr").mean
    assert set(corr) >= {"standard_error", "std", "sharpe", "max_drawdown", "positive", "n_eras"}
    assert set(summary["models"][1]["differences"]["target_other_60"]) == {
        "whole",
        "v53_lgbm_ender20",
    }


def test_out_gets_a_table_and_a_summary(
    run_command: Callable[..., tuple[int, str, str]], prediction_files: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "new" / "scores"
    code, printed, _ = run_command(
        *prediction_files, options=f"--out {out} --json --target target --target target_other_60"
    )
    assert code == 0
    assert sorted(path.name for path in out.iterdir()) == ["era_scores.csv", "summary.json"]
    assert json.loads((out / "summary.json").read_text()) == json.loads(printed)
    table = pd.read_csv(out / "era_scores.csv", dtype={"era": str})
    assert tuple(table.columns) == ERA_COLUMNS
    assert len(table) == 2 * 2 * len(ERAS)
    last = table[(table["era"] == "0012") & (table["target"] == "target")]
    assert (last["n_rows"] == 0).all()
    assert last["corr"].isna().all()
    assert last["fnc"].isna().all()
    assert last["max_exposure"].notna().all()
    assert table["turnover"].isna().all()
    text = (out / "era_scores.csv").read_text()
    assert "nan" not in text.lower()
    assert text.splitlines()[1].startswith("whole,0001,target,")
    # A second evaluation replaces the first.
    assert run_command(prediction_files[0], options=f"--out {out}")[0] == 0
    assert len(pd.read_csv(out / "era_scores.csv")) == 11


def test_out_must_be_a_folder_of_ones_own(
    run_command: Callable[..., tuple[int, str, str]],
    prediction_files: list[Path],
    scored_dataset: Path,
    tmp_path: Path,
) -> None:
    run, others, file = tmp_path / "run", tmp_path / "others", tmp_path / "file"
    for folder in (run, others):
        folder.mkdir()
    (run / "config.json").write_text(json.dumps({"format": FORMAT}))
    (others / "era_scores.csv").write_text("era,target,numerai_corr,pearson\n")
    file.write_text("")
    summaries = tmp_path / "summaries"
    summaries.mkdir()
    (summaries / "summary.json").write_text('{"mine": 1}')
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    unfinished = tmp_path / "unfinished"
    (unfinished / ".convert").mkdir(parents=True)
    for out, said in (
        (run, "the folder of a run"),
        (run / "scores", "lies in the folder of the run"),
        (run / "checkpoints" / "scores", "lies in the folder of the run"),
        (others, "isn't of an evaluation"),
        (summaries, "isn't of an evaluation"),
        (file, "it is a file"),
        (file / "scores", "file isn't a folder; name another"),
        (tmp_path / "link", "link isn't a folder; name another"),
        (scored_dataset, "lies in the dataset"),
        (scored_dataset / "era-0001" / "scores", "lies in the dataset"),
        (unfinished, "lies in the dataset"),
    ):
        before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        code, printed, err = run_command(prediction_files[0], options=f"--out {out}")
        assert (code, printed) == (1, "")
        (line,) = err.splitlines()
        assert line.startswith(f"error: {out}")
        assert said in line
        after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        assert after == before


@pytest.mark.parametrize("method", ["write_bytes", "write_text"])
def test_on_a_full_disk_the_old_files_stay_and_a_new_folder_goes(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = tmp_path / "old"
    synthetic_evaluation(n_eras=3).save(old)
    before = {path.name: path.read_bytes() for path in old.iterdir()}

    def fail(*_: object, **__: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, method, fail)
    for folder in (old, tmp_path / "new" / "scores"):
        with pytest.raises(mt.MemmapTrainError, match="the disk is full; make space there, or"):
            synthetic_evaluation(n_eras=5).save(folder)
    assert list(tmp_path.iterdir()) == [old]
    assert {path.name: path.read_bytes() for path in old.iterdir()} == before


def test_what_several_models_lack_is_said_once() -> None:
    first, second, third = synthetic_evaluation(n_eras=3).models
    models = (
        replace(first, notes=("2 eras without labels left out", "its own")),
        replace(second, notes=("2 eras without labels left out",)),
        replace(third, notes=()),
    )
    text = summary_text(replace(synthetic_evaluation(n_eras=3), models=models, notes=()))
    assert text.splitlines()[-2:] == [
        f"{first.name}, {second.name}: 2 eras without labels left out",
        f"{first.name}: its own",
    ]


def test_a_table_can_be_written_alone(tmp_path: Path) -> None:
    evaluation = synthetic_evaluation(n_eras=5)
    evaluation.to_csv(tmp_path / "scores.csv")
    table = pd.read_csv(tmp_path / "scores.csv", dtype={"era": str})
    found = evaluation.era_scores
    assert len(table) == len(found) == 3 * 5 * 2
    for name in ("corr", "mmc", "bmc", "rms_exposure"):
        np.testing.assert_array_equal(table[name].to_numpy(), found[name])
    (tmp_path / "other.csv").write_text("a,b\n")
    with pytest.raises(mt.MemmapTrainError, match="isn't of an evaluation"):
        evaluation.to_csv(tmp_path / "other.csv")
    with pytest.raises(mt.MemmapTrainError, match="it is a folder"):
        evaluation.to_csv(tmp_path)


Change = Callable[[pd.DataFrame], pd.DataFrame]


def with_cell(value: object, column: str = "prediction") -> Change:
    def change(frame: pd.DataFrame) -> pd.DataFrame:
        frame = frame.astype({column: object})
        frame.iloc[5, frame.columns.get_loc(column)] = value
        return frame

    return change


BAD_FILES: dict[str, tuple[Change, str]] = {
    "other ids": (lambda f: f.set_axis(["x" + i for i in f.index]).rename_axis("id"), "none of"),
    "other eras": (lambda f: f.assign(era="0999"), "none of its"),
    "ids twice": (lambda f: pd.concat([f, f[:3]]), "3 rows with the id of another row"),
    "ids twice without eras": (
        lambda f: pd.concat([f, f[:1]]).drop(columns="era"),
        "1 row with the id of another row",
    ),
    "text": (with_cell("high"), "column 'prediction' is 'high'"),
    "NaN": (with_cell("NaN"), "row 6: the prediction (column 'prediction') is missing"),
    "nothing": (with_cell(""), "row 6: the prediction (column 'prediction') is missing"),
    "infinite": (with_cell("inf"), "row 6: the prediction (column 'prediction') is infinite"),
    "an era is missing": (with_cell("", "era"), "row 6 has no value in column 'era'"),
    "no rows": (lambda f: f[:0], "there are no rows"),
    "no ids": (lambda f: f.rename_axis("name"), "no column of ids: expected 'id', found"),
    "two numbers": (
        lambda f: f.rename(columns={"prediction": "a"}).assign(b=1.5),
        "no column 'prediction', and 2 columns of numbers that could be it; found the columns "
        "'id', 'era', 'a', 'b'",
    ),
    "an era in two spellings": (
        lambda f: f.assign(era=["1" if row % 2 else "0001" for row in range(len(f))]),
        "era '0001' is written in two ways",
    ),
}


@pytest.mark.parametrize("what", BAD_FILES)
def test_bad_predictions_are_refused_in_one_line(
    what: str,
    frame: pd.DataFrame,
    tmp_path: Path,
    run_command: Callable[..., tuple[int, str, str]],
) -> None:
    change, said = BAD_FILES[what]
    write_csv(change(predictions_frame(frame)), tmp_path / "bad.csv")
    code, out, err = run_command(tmp_path / "bad.csv", options=f"--out {tmp_path / 'scores'}")
    assert (code, out) == (1, "")
    (line,) = err.splitlines()
    assert line.startswith(f"error: {tmp_path / 'bad.csv'}: ")
    assert said in line
    assert not (tmp_path / "scores").exists()


@pytest.mark.parametrize(
    ("value", "said"), [(np.nan, "is missing"), (np.inf, "is infinite"), (-np.inf, "is infinite")]
)
def test_bad_numbers_in_parquet_are_refused(
    value: float,
    said: str,
    frame: pd.DataFrame,
    tmp_path: Path,
    run_command: Callable[..., tuple[int, str, str]],
) -> None:
    write_parquet(
        with_cell(value)(predictions_frame(frame)).astype({"prediction": float}), tmp_path / "b"
    )
    code, _, err = run_command(tmp_path / "b")
    assert code == 1
    assert f"{tmp_path / 'b'}: row 6" in err
    assert said in err


def test_text_in_parquet_is_refused(
    frame: pd.DataFrame, tmp_path: Path, run_command: Callable[..., tuple[int, str, str]]
) -> None:
    write_parquet(predictions_frame(frame).astype({"prediction": str}), tmp_path / "text.parquet")
    code, _, err = run_command(tmp_path / "text.parquet")
    assert code == 1
    assert "column 'prediction', are text; expected numbers" in err


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the file is empty"),
        (b"\n", "can't be read"),
        (b"PAR1 and nothing else", "cut short or damaged"),
        (b"id,prediction\na\n", "row 1 has 1 column and the first line 2; expected ids"),
        (b"id;prediction\na;0,5\n", "row 1 has 2 columns and the first line 1; expected ids"),
        (b"id,prediction\na,0.5\nb,high\n", "row 2: column 'prediction' is 'high'; expected a fin"),
        (b"era,id,prediction\nX,a,0.5\n", "none of its eras is in"),
        ("id,prediction\n\xe9,0.5\n".encode("latin-1"), "invalid UTF8"),
    ],
)
def test_what_is_no_table_is_refused(
    content: bytes,
    said: str,
    tmp_path: Path,
    run_command: Callable[..., tuple[int, str, str]],
) -> None:
    (tmp_path / "bad").write_bytes(content)
    code, out, err = run_command(tmp_path / "bad")
    assert (code, out, len(err.splitlines())) == (1, "", 1)
    assert err.startswith(f"error: {tmp_path / 'bad'}: ")
    assert said in err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--target tarjet", "no target 'tarjet' among 2; did you mean 'target'?"),
        ("--benchmark v53_lgbm_ender2", "did you mean 'v53_lgbm_ender20'?"),
        ("--meta-model numerai_metamodel", "did you mean 'numerai_meta_model'?"),
        ("--neutral-to fncv2_features", "did you mean 'fncv3_features'?"),
        ("--eras 0005-0002", "eras: the range '0005-0002' is reversed"),
        ("--target target --target target", "can be chosen twice"),
    ],
)
def test_unknown_names_are_refused(
    options: str,
    said: str,
    prediction_files: list[Path],
    run_command: Callable[..., tuple[int, str, str]],
) -> None:
    code, out, err = run_command(prediction_files[0], options=options)
    assert (code, out, len(err.splitlines())) == (1, "", 1)
    assert said in err


def test_what_is_neither_a_run_nor_a_file_is_refused(
    scored_dataset: Path, tmp_path: Path, run_command: Callable[..., tuple[int, str, str]]
) -> None:
    for path, said in (
        (tmp_path / "missing.csv", "there is nothing; expected a run's folder or a file"),
        (tmp_path, "not a run: the folder has no config.json"),
        (scored_dataset, "a dataset; expected a run or a file of predictions"),
    ):
        code, _, err = run_command(path)
        assert code == 1
        assert err.startswith(f"error: {path}: ")
        assert said in err


def test_datasets_that_cannot_score_are_refused(
    prediction_files: list[Path],
    make_toy: MakeToy,
    tmp_path: Path,
    run_command: Callable[..., tuple[int, str, str]],
) -> None:
    eras = {"0001": 5, "0002": 5}
    without_targets = make_toy(eras, n_targets=0)
    code, _, err = run_command(prediction_files[0], dataset=without_targets)
    assert code == 1
    assert "the dataset has no targets, so nothing can be scored" in err
    (tmp_path / "other").mkdir()
    code, _, err = run_command(prediction_files[0], dataset=tmp_path / "other")
    assert code == 1
    assert "not a dataset" in err


def test_a_dataset_without_ids_is_refused(
    prediction_files: list[Path],
    make_toy: MakeToy,
    run_command: Callable[..., tuple[int, str, str]],
) -> None:
    code, _, err = run_command(prediction_files[0], dataset=make_toy({"0001": 5}, ids=False))
    assert code == 1
    assert "era '0001' has no ids, by which the predictions of" in err


def test_predictions_of_eras_without_labels_are_refused(
    frame: pd.DataFrame, tmp_path: Path, run_command: Callable[..., tuple[int, str, str]]
) -> None:
    last = predictions_frame(frame).query("era == '0012'")
    write_csv(last, tmp_path / "last.csv")
    code, _, err = run_command(tmp_path / "last.csv")
    assert code == 1
    assert "cover none of the 11 eras" in err
    assert "'target'" in err


def test_a_signal_ends_an_evaluation_and_nothing_is_written(
    prediction_files: list[Path],
    tmp_path: Path,
    run_command: Callable[..., tuple[int, str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupt(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr("memmap_train.scoring.era_scores._score_exposures", interrupt)
    code, out, err = run_command(prediction_files[0], options=f"--out {tmp_path / 'scores'}")
    assert (code, out) == (130, "")
    assert "stopped; run the same command again" in err
    assert not (tmp_path / "scores").exists()


def test_a_notebook_shows_a_table_with_escaped_names() -> None:
    html = synthetic_evaluation(names=("<script>alert(1)</script>", "b"))._repr_html_()
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert html.count("<svg") == 2 * 3
    assert "FNC (fncv3_features)" in html
