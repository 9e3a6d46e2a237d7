"""Tests of bad input of `submit`: each is one line, and nothing is sent. All on loopback."""

import gzip
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from memmap_train.errors import ArgumentError, DependencyError, NumeraiError, SourceError
from memmap_train.numerai.submission.live_ids import live_ids
from memmap_train.progress import ignore
from tests.support.errors import refused
from tests.support.numerai_account import Account
from tests.support.numerai_server import NumeraiServer
from tests.support.numerai_submissions import IDS, live_parquet, nothing_sent, submit

pytest_plugins = ["tests.support.numerai_fixtures", "tests.support.numerai_submission_fixtures"]


def wrong_key(account: Account, patch: pytest.MonkeyPatch) -> None:
    patch.setenv("NUMERAI_SECRET_KEY", "OTHER")


def no_key(account: Account, patch: pytest.MonkeyPatch) -> None:
    patch.delenv("NUMERAI_SECRET_KEY")


def no_network(account: Account, patch: pytest.MonkeyPatch) -> None:
    patch.setattr("numerapi.base_api.API_TOURNAMENT_URL", "http://127.0.0.1:1")


def no_round(account: Account, patch: pytest.MonkeyPatch) -> None:
    account.round = None


def no_numerapi(account: Account, patch: pytest.MonkeyPatch) -> None:
    patch.setitem(sys.modules, "numerapi", None)


def no_tools(account: Account, patch: pytest.MonkeyPatch) -> None:
    patch.setitem(sys.modules, "numerai_tools", None)


@pytest.mark.parametrize(
    ("spoil", "kinds", "error", "said"),
    [
        (wrong_key, "pdm", NumeraiError, "Your session is invalid or expired; check the key in"),
        (no_key, "pdm", NumeraiError, "NUMERAI_SECRET_KEY is not set"),
        (no_network, "pdm", NumeraiError, "Connection refused; check the network"),
        (no_round, "p", NumeraiError, "Numerai has no current round"),
        (no_numerapi, "pdm", DependencyError, "pip install 'memmap-train[numerai]'"),
        (no_tools, "pd", DependencyError, "pip install 'memmap-train[numerai]'"),
    ],
)
def test_what_is_missing_around_is_said(
    server: NumeraiServer,
    account: Account,
    path: Path,
    model: Path,
    monkeypatch: pytest.MonkeyPatch,
    spoil: Callable[[Account, pytest.MonkeyPatch], None],
    kinds: str,
    error: Any,
    said: str,
) -> None:
    spoil(account, monkeypatch)
    for kind, file in (("predictions", path), ("diagnostics", path), ("model", model)):
        if kind[0] in kinds:
            with refused(error, said):
                submit(kind, file)
    assert nothing_sent(server, account)


@pytest.mark.parametrize("kind", ["predictions", "diagnostics", "model"])
def test_an_unknown_model_is_named(
    server: NumeraiServer, account: Account, path: Path, model: Path, kind: str
) -> None:
    with refused(NumeraiError, "no model 'frist'; did you mean 'first'?"):
        submit(kind, model if kind == "model" else path, model="frist")
    assert nothing_sent(server, account)


@pytest.mark.parametrize(
    ("content", "error", "said"),
    [
        (None, NumeraiError, "can't be read: No such file"),
        (b"", NumeraiError, "it is empty"),
        (b"\x00\xff" * 50, NumeraiError, "expected the columns id and prediction"),
        (b"id,era,prediction\na,1,0.5\n", NumeraiError, "found 'id', 'era', 'prediction'"),
        (b"prediction,id\n0.5,a\n", NumeraiError, "found 'prediction', 'id'"),
        (b",prediction\na,0.5\n", NumeraiError, "expected the columns id and prediction"),
        (b"id,prediction\n", SourceError, "there are no rows"),
        (b"id,prediction\na,high\n", SourceError, "row 1: column 'prediction' is 'high'"),
        (b"id,prediction\na,0.5\nb,\n", SourceError, "row 2: "),
        (b"id,prediction\na,nan\n", SourceError, "row 1: the prediction"),
        (b"id,prediction\na,0.5,1\n", SourceError, "row 1 has 3 columns and the first line 2"),
        (b"id,prediction\n,0.5\n", SourceError, "row 1 has no value in column 'id'"),
        (b"PAR1 is how it begins", SourceError, "the parquet file is cut short"),
        (b'"id' * 9000, NumeraiError, "expected the columns id and prediction"),
        (b"id;prediction\r", NumeraiError, "found 'id;prediction'; write exactly these two"),
        (b"a" * 9000, NumeraiError, f"found '{'a' * 60}…'; write"),
        (
            gzip.compress(b"id,prediction\na,0.5\n"),
            NumeraiError,
            "compressed with gzip; decompress",
        ),
    ],
    ids=range(17),
)
def test_a_file_that_holds_no_predictions_is_refused(
    server: NumeraiServer,
    account: Account,
    tmp_path: Path,
    content: bytes | None,
    error: Any,
    said: str,
) -> None:
    if content is not None:
        (tmp_path / "p.csv").write_bytes(content)
    for kind in ("predictions", "diagnostics"):
        with refused(error, said):
            submit(kind, tmp_path / "p.csv")
    assert not server.seen


@pytest.mark.parametrize("head", [b"\xef\xbb\xbfid,prediction\r\n", b'"id","prediction"\n'])
def test_a_header_is_read_as_other_programs_write_it(
    account: Account, path: Path, head: bytes
) -> None:
    path.write_bytes(head + path.read_bytes().partition(b"\n")[2])
    assert submit("predictions", path).n_rows == 50


def test_a_parquet_file_with_other_columns_is_refused(account: Account, tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": ["a"], "era": ["1"], "prediction": [0.5]}), tmp_path / "p")
    with refused(NumeraiError, "found 'id', 'era', 'prediction'"):
        submit("predictions", tmp_path / "p")


@pytest.mark.parametrize(
    ("content", "error", "said"),
    [
        (b"id\nx\n", SourceError, "not"),
        (None, SourceError, "o such file"),
        (live_parquet([]), NumeraiError, "expected the ids of live rows, each once, found no rows"),
        (live_parquet([*IDS, IDS[3]]), NumeraiError, f"{IDS[3]!r} more than once"),
    ],
    ids=range(4),
)
def test_a_live_file_that_is_none_is_refused(
    account: Account, tmp_path: Path, path: Path, content: bytes | None, error: Any, said: str
) -> None:
    if content is not None:
        (tmp_path / "l.parquet").write_bytes(content)
    with refused(error, "l.parquet", said):
        submit("predictions", path, live=tmp_path / "l.parquet")
    pq.write_table(pa.table({"prediction": [0.5]}), tmp_path / "l.parquet")
    with refused(NumeraiError, "expected a live.parquet with the column 'id', found 'prediction'"):
        submit("predictions", path, live=tmp_path / "l.parquet")


def test_no_live_rows_at_numerai_are_said(server: NumeraiServer, account: Account) -> None:
    server.files.clear()
    server.put_file("v5.3/train.parquet", b"x")
    with refused(NumeraiError, "no live.parquet in any version ('v5.3')", "--live FILE"):
        live_ids(None, ignore)


@pytest.mark.parametrize(
    ("kind", "options", "said"),
    [
        ("prediction", {}, "expected 'predictions', 'diagnostics' or 'model'"),
        (3, {}, "found 3"),
        ("diagnostics", {"live": "x"}, "live: it is for predictions of live rows"),
        ("model", {"live": "x"}, "live: it is for predictions of live rows, not for model"),
        ("predictions", {"data_version": "v5"}, "data_version: it is for a model"),
        ("model", {"data_version": 5}, "data_version: expected text, found 5"),
        ("model", {"model": None}, "model: expected text"),
        ("model", {"wait": "no"}, "wait: expected True or False"),
        ("model", {"dry_run": 1}, "dry_run: expected True or False"),
    ],
)
def test_an_option_that_does_not_fit_is_refused(
    server: NumeraiServer, path: Path, kind: Any, options: dict[str, Any], said: str
) -> None:
    with refused(ArgumentError, said):
        submit(kind, path, **options)
    assert not server.seen
