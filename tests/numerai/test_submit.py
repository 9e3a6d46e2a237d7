"""Tests of `submit`: what is sent to Numerai, and what becomes of it. All on loopback."""

import csv
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import memmap_train as mt
from memmap_train.errors import NumeraiError
from memmap_train.numerai.export.images import OWN
from memmap_train.numerai.submission.live_ids import live_ids, newest_version
from memmap_train.numerai.submission.text import describe_submission, submission_text
from tests.support.errors import refused
from tests.support.numerai_account import MODEL_ID, Account
from tests.support.numerai_faults import Fault
from tests.support.numerai_server import NumeraiServer
from tests.support.numerai_submissions import (
    IDS,
    live_parquet,
    nothing_sent,
    submit,
    write_predictions,
)

pytest_plugins = ["tests.support.numerai_fixtures", "tests.support.numerai_submission_fixtures"]


# -- predictions


def test_predictions_are_checked_and_submitted(
    server: NumeraiServer, account: Account, path: Path
) -> None:
    report = submit("predictions", path)
    (made,) = account.submissions
    assert (made["id"], made["filename"]) == (report.id, report.filename)
    assert server.uploads[made["filename"]] == path.read_bytes()
    assert (report.kind, report.path, report.model_id) == ("predictions", str(path), MODEL_ID)
    assert (report.n_rows, report.n_bytes) == (50, path.stat().st_size)
    assert (report.round_number, report.round_is_open) == (1334, True)
    assert report.closes == datetime(2999, 1, 1, 14, tzinfo=UTC)
    assert (report.status, report.problem, report.is_dry_run) == (None, None, False)


def test_an_upload_reports_its_progress(
    account: Account, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("memmap_train.numerai.submission.payload.PIECE_BYTES", 500)
    seen: list[tuple[str, int, int]] = []
    n_bytes = path.stat().st_size
    submit("predictions", path, progress=lambda *progress: seen.append(progress))
    uploading = [progress for progress in seen if progress[0] == "uploading"]
    assert uploading[0] == ("uploading", 500, n_bytes)
    assert uploading[-1] == ("uploading", n_bytes, n_bytes)


def test_predictions_in_a_parquet_file_are_sent_as_csv(
    server: NumeraiServer, account: Account, tmp_path: Path
) -> None:
    path = write_predictions(tmp_path / "p.parquet")
    report = submit("predictions", path)
    assert report.filename is not None
    assert report.filename.endswith("-p.csv")
    sent = server.uploads[report.filename]
    assert sent == write_predictions(tmp_path / "same.csv").read_bytes()
    assert report.n_bytes == len(sent)
    assert {file.name for file in tmp_path.iterdir()} == {"p.parquet", "same.csv"}


def test_a_folder_for_temporary_files_that_is_missing_is_named(
    server: NumeraiServer, account: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_predictions(tmp_path / "p.parquet")
    (tmp_path / "live.parquet").write_bytes(live_parquet())
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
    with refused(NumeraiError, "p.parquet: its rows can't be written to", "set TMPDIR"):
        submit("predictions", path, live=tmp_path / "live.parquet")
    with refused(NumeraiError, "live.parquet can't be downloaded to", "--live FILE"):
        submit("predictions", path)
    assert nothing_sent(server, account)


def test_the_index_of_pandas_may_be_the_ids(
    server: NumeraiServer, account: Account, tmp_path: Path
) -> None:
    table = pq.read_table(write_predictions(tmp_path / "p.parquet"))
    frame = table.to_pandas().astype({"prediction": np.float32}).set_index("id")
    frame.to_parquet(tmp_path / "p.parquet")
    report = submit("predictions", tmp_path / "p.parquet")
    rows = list(csv.reader(server.uploads[str(report.filename)].decode().splitlines()))
    assert rows[0] == ["id", "prediction"]
    assert [name for name, _ in rows[1:]] == IDS
    assert [np.float32(value) for _, value in rows[1:]] == frame["prediction"].tolist()


@pytest.mark.parametrize("is_index", [False, True])
def test_a_live_file_is_read_in_place_of_a_download(
    server: NumeraiServer, account: Account, tmp_path: Path, path: Path, is_index: bool
) -> None:
    (tmp_path / "live.parquet").write_bytes(live_parquet(is_index=is_index))
    assert submit("predictions", path, live=tmp_path / "live.parquet").id == "submission-0"
    assert not server.of_kind("get")


def test_a_live_file_of_an_earlier_round_is_refused(
    server: NumeraiServer, account: Account, tmp_path: Path, path: Path
) -> None:
    """Its ids are those of the predictions, but Numerai has other live rows by now."""
    live = tmp_path / "data" / "live.parquet"
    mt.download(["live.parquet"], version="v5.10", out=live.parent, progress=False)
    assert submit("predictions", path, live=live).id == "submission-0"
    server.put_file("v5.10/live.parquet", live_parquet([*IDS[1:], "new"]))
    with refused(NumeraiError, "expected Numerai's v5.10/live.parquet of now, found an earlier"):
        submit("predictions", path, live=live)
    assert len(account.submissions) == 1


def test_the_live_rows_of_the_newest_version_are_downloaded(
    server: NumeraiServer, account: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Version 5.10 is newer than 5.9; 5.11 has no live rows."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    seen: list[tuple[str, int, int]] = []
    assert newest_version() == "v5.10"
    ids = live_ids(None, lambda *progress: seen.append(progress))
    assert [name.decode() for name in ids.tolist()] == IDS
    assert seen
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_does_all_but_the_upload(
    server: NumeraiServer, account: Account, path: Path
) -> None:
    report = submit("predictions", path, dry_run=True, wait=True)
    assert nothing_sent(server, account)
    assert (report.is_dry_run, report.id, report.round_is_open) == (True, None, True)
    assert "not sent: this was a dry run" in submission_text(report)
    write_predictions(path, IDS[1:])
    with refused(NumeraiError, "1 of 50 live ids are missing"):
        submit("predictions", path, dry_run=True)


def test_a_closed_round_is_refused(server: NumeraiServer, account: Account, path: Path) -> None:
    account.open_round(is_open=False)
    with refused(
        NumeraiError,
        "p.csv: round 1334 has been closed since 2020-01-06 14:30 UTC; nothing was",
        "next",
    ):
        submit("predictions", path)
    assert nothing_sent(server, account)
    account.round["openTime"] = account.round["closeStakingTime"] = "2998-01-01T00:00:00Z"
    with refused(NumeraiError, "round 1334 isn't open before 2998-01-01 00:00 UTC"):
        submit("predictions", path)


def test_a_dry_run_says_that_the_round_is_closed(account: Account, path: Path) -> None:
    account.open_round(is_open=False)
    report = submit("predictions", path, dry_run=True)
    assert report.round_is_open is False
    assert "open from 2020-01-04 12:00 to 2020-01-06 14:30 UTC, and not" in submission_text(report)


# -- diagnostics


@pytest.mark.parametrize("name", ["validation.csv", "validation.parquet"])
def test_validation_predictions_are_sent_for_diagnostics(
    server: NumeraiServer, account: Account, tmp_path: Path, name: str
) -> None:
    """Whatever their ids are: Numerai's validation file isn't downloaded."""
    account.open_round(is_open=False)
    path = write_predictions(tmp_path / name, [f"v{number}" for number in range(20_000)])
    report = submit("diagnostics", path)
    assert report.id == account.diagnostics[0]["id"]
    assert len(server.uploads[str(report.filename)].splitlines()) == 20_001
    assert (report.n_rows, report.round_number, report.round_is_open) == (20_000, None, None)
    assert not server.of_kind("get")


# -- models


def test_a_model_gets_the_image_of_its_python_and_the_newest_data(
    server: NumeraiServer, account: Account, model: Path
) -> None:
    report = submit("model", model)
    (made,) = account.pickles
    assert server.uploads[made["filename"]] == model.read_bytes()
    assert made["dockerImageId"] == f"image-{OWN.removeprefix('3.')}"
    assert made["dataVersionId"] == "data-v5.10"
    assert (report.id, report.python, report.data_version) == (made["id"], OWN, "v5.10")
    assert report.image == f"Python {OWN}"
    assert "takes no predictions for this model by API" in submission_text(report)


def test_a_version_of_the_data_can_be_named(account: Account, model: Path) -> None:
    assert submit("model", model, data_version="v4.1", dry_run=True).data_version == "v4.1"
    assert submit("model", model, data_version="other", dry_run=True).data_version == "other"
    with refused(NumeraiError, "no data 'v5.1'", "did you mean 'v5.10'", "'v5.9', 'v5.10'"):
        submit("model", model, data_version="v5.1")


def test_the_default_image_of_a_python_is_chosen(account: Account, model: Path) -> None:
    both: list[dict[str, Any]] = [
        {"id": "old", "name": f"Python {OWN}"},
        {"id": "new", "name": "x", "default": True},
    ]
    both[1]["image"] = f"numerai_predict_py_{OWN.replace('.', '_')}"
    account.images = both
    assert submit("model", model, dry_run=True).image == "x"


def test_a_model_of_a_python_that_has_no_image_is_refused(
    server: NumeraiServer, account: Account, model: Path
) -> None:
    account.images = [image for image in account.images if OWN not in image["name"]]
    account.images.append({"id": "i", "name": "Python 3.1"})
    with refused(
        NumeraiError, f"made by Python {OWN}, and Numerai offers 'Python 3.10'", "--python VERSION"
    ):
        submit("model", model)
    assert nothing_sent(server, account)


def test_what_numerai_does_not_offer_is_said(account: Account, model: Path) -> None:
    account.data_versions = [{"id": "x", "name": "newest"}]
    with refused(NumeraiError, "offers the data 'newest', none of which is known", "--data-ver"):
        submit("model", model)
    account.images = []
    with refused(NumeraiError, "the request for the images of model uploads holds none"):
        submit("model", model)


# -- what becomes of it


def test_the_status_of_predictions_is_waited_for(account: Account, path: Path) -> None:
    account.statuses = [None, "none", "Pending", "on-time"]
    seen: list[str] = []
    report = submit(
        "predictions", path, wait=True, progress=lambda what, done, total: seen.append(what)
    )
    assert (report.status, report.problem) == ("on-time", None)
    assert account.statuses == ["on-time"]
    assert "waiting for Numerai (Pending)" in seen
    assert "Numerai says: on-time" in submission_text(report)


@pytest.mark.parametrize("status", ["late", "Queued"])
def test_predictions_that_do_not_count_are_a_problem(
    account: Account, path: Path, status: str
) -> None:
    account.statuses = ["pending", status]
    expected = f"it is {status!r}: Numerai doesn't count it for this round"
    assert submit("predictions", path, wait=True).problem == expected


def test_the_scores_of_diagnostics_are_waited_for(account: Account, path: Path) -> None:
    account.statuses = ["queued", "pending", "done"]
    report = submit("diagnostics", path, wait=True)
    assert report.scores == {
        "validationCorrMean": 0.025,
        "validationCorrSharpe": 1.25,
        "validationBmcMean": 0.004,
    }
    assert report.log == ("eras that were accepted: 87",)
    assert "  validationCorrSharpe                  1.2500" in submission_text(report)
    described = describe_submission(report)
    assert (described["status"], described["scores"]) == ("done", report.scores)


def test_the_reason_of_failed_diagnostics_is_said(
    server: NumeraiServer, account: Account, path: Path
) -> None:
    make = server.resolvers["createDiagnostics"]

    def make_badly(variables: dict[str, Any]) -> Any:
        made = make(variables)
        account.diagnostics[-1] |= {"message": "no\nvalidation ids", "trainedOnVal": True}
        return made

    server.resolvers["createDiagnostics"] = make_badly
    account.statuses = ["error"]
    report = submit("diagnostics", path, wait=True)
    assert report.problem == "Numerai says 'error': no validation ids"
    assert "trained on validation eras" in report.log[1]


@pytest.mark.parametrize("status", ["Success", "Failed"])
def test_the_validation_of_a_model_is_waited_for(
    account: Account, model: Path, status: str
) -> None:
    account.statuses = ["Pending", "Running", "Validating", status]
    report = submit("model", model, wait=True)
    assert report.status == status
    assert report.log == (
        "runs: enabled",
        "2026-11-29T10:00:00Z running",
        "ended No currently open rounds!",
    )
    expected = "Numerai says 'Failed': ended No currently open rounds!"
    assert report.problem == (None if status == "Success" else expected)


def test_what_numerai_never_decides_is_a_problem(
    account: Account, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("memmap_train.numerai.submission.outcome.MAX_POLLS", 3)
    account.statuses = ["pending"]
    report = submit("predictions", path, wait=True)
    assert report.status == "pending"
    assert report.problem is not None
    assert "hasn't decided" in report.problem


def test_a_lost_connection_while_waiting_says_what_has_arrived(
    server: NumeraiServer, account: Account, path: Path
) -> None:
    make = server.resolvers["create_submission"]

    def make_and_break(variables: dict[str, Any]) -> Any:
        server.fail(*[Fault("graphql", name="account", status=500)] * 3)
        return make(variables)

    server.resolvers["create_submission"] = make_and_break
    with refused(NumeraiError, "has arrived with the id submission-0", "isn't known"):
        submit("predictions", path, wait=True)
