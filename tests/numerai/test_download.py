"""Tests of `download`: what it fetches, what it leaves alone, what it refuses, what it says."""

import json
import logging
import os
import shutil
from pathlib import Path

import pytest

import memmap_train as mt
from memmap_train.cli.commands import main
from memmap_train.errors import ArgumentError, DependencyError, NumeraiError
from memmap_train.numerai import api
from memmap_train.numerai.download.folder import RECORD_NAME
from memmap_train.numerai.download.plan import DEFAULT_FILES
from tests.support.errors import refused
from tests.support.numerai_downloads import check_equal, fetch, parquet, visible
from tests.support.numerai_faults import Fault
from tests.support.numerai_server import NumeraiServer
from tests.support.numerai_week import make_finished_run

pytest_plugins = ["tests.support.numerai_fixtures", "tests.support.training_fixtures"]


def states(report: mt.types.DownloadReport) -> dict[str, str]:
    return {file.path.name: file.state for file in report.plan.files}


def test_all_files_come_by_default(server: NumeraiServer, tmp_path: Path) -> None:
    report = fetch(tmp_path / "data")
    check_equal(server, tmp_path / "data", *DEFAULT_FILES)
    assert set(states(report).values()) == {"fetch"}
    assert report.received_bytes == report.plan.wanted_bytes > 0


def test_what_has_not_changed_is_not_fetched_again(server: NumeraiServer, tmp_path: Path) -> None:
    fetch(tmp_path, "live.parquet", "train.parquet")
    times = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.parquet")}
    content = parquet(100, seed=5)
    server.put_file("v5.3/live.parquet", content)
    assert len(content) != len(parquet(101))
    server.seen.clear()
    report = fetch(tmp_path, "live.parquet", "train.parquet")
    assert states(report) == {"live.parquet": "fetch", "train.parquet": "unchanged"}
    assert server.ranges("v5.3/train.parquet") == ["bytes=0-0"]
    assert report.received_bytes == len(content)
    assert report.plan.files[0].replaces == "v5.3/live.parquet"
    assert (tmp_path / "train.parquet").stat().st_mtime_ns == times[tmp_path / "train.parquet"]
    check_equal(server, tmp_path, "live.parquet", "train.parquet")


def test_a_change_of_the_same_length_is_fetched(server: NumeraiServer, tmp_path: Path) -> None:
    fetch(tmp_path, "live.parquet")
    before = (tmp_path / "live.parquet").read_bytes()
    server.put_file("v5.3/live.parquet", parquet(101, seed=3))
    assert len(server.files["v5.3/live.parquet", None].content) == len(before)
    fetch(tmp_path, "live.parquet")
    assert (tmp_path / "live.parquet").read_bytes() != before
    check_equal(server, tmp_path, "live.parquet")


@pytest.mark.parametrize("etag", ["", 'W/"weak"'], ids=["none", "weak"])
def test_a_file_that_cannot_be_recognized_is_always_fetched(
    server: NumeraiServer, tmp_path: Path, etag: str
) -> None:
    server.put_file("v5.3/live.parquet", parquet(9), etag=etag)
    for _ in range(2):
        assert states(fetch(tmp_path, "live.parquet")) == {"live.parquet": "fetch"}
    check_equal(server, tmp_path, "live.parquet")


def test_a_dry_run_writes_nothing(server: NumeraiServer, tmp_path: Path) -> None:
    out = tmp_path / "data"
    report = fetch(out, dry_run=True)
    assert not out.exists()
    assert report.plan.wanted_bytes == sum(
        len(server.files[f"v5.3/{name}", None].content) for name in DEFAULT_FILES
    )
    assert report.plan.versions == ("v4.3", "v5.3")
    assert report.plan.others == ("live_example_preds.csv",)
    assert all(seen.headers["range"] == "bytes=0-0" for seen in server.of_kind("get"))


def test_versions_are_sorted_as_numbers(server: NumeraiServer, tmp_path: Path) -> None:
    for version in ("v10", "v4", "v5.12"):
        server.put_file(f"{version}/live.parquet", parquet(1))
    report = fetch(tmp_path, "live.parquet", dry_run=True)
    assert report.plan.versions == ("v4", "v4.3", "v5.3", "v5.12", "v10")


def test_a_round_has_its_own_files(server: NumeraiServer, tmp_path: Path) -> None:
    server.put_file("v5.3/live.parquet", parquet(33), round_number=842)
    fetch(tmp_path / "now", "live.parquet")
    fetch(tmp_path / "then", "v5.3/live.parquet", round_number=842)
    check_equal(server, tmp_path / "now", "live.parquet")
    assert (tmp_path / "then/live.parquet").read_bytes() == parquet(33)


def test_a_version_without_a_file_is_reported(
    server: NumeraiServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["download", "--version", "v4.3", "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "v4.3, 1 of 1 file fetched" in said
    assert "v4.3 has no features.json, live.parquet, live_benchmark_models.parquet" in said


def test_the_command_says_what_it_did(
    server: NumeraiServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["download", "live.parquet", "features.json", "--version", "v5.3", "--out"]
    assert main([*command, str(tmp_path)]) == 0
    first = capsys.readouterr()
    assert first.out.startswith(f"{tmp_path}: v5.3, 2 of 2 files fetched, ")
    assert main([*command, str(tmp_path), "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert [file["state"] for file in again["files"]] == ["unchanged", "unchanged"]
    assert (again["received_bytes"], again["round"], again["dry_run"]) == (0, None, False)
    assert main([*command, str(tmp_path / "new"), "--dry-run"]) == 0
    dry = capsys.readouterr().out
    assert "2 of 2 files would be fetched" in dry
    assert dry.endswith("versions: v4.3, v5.3\n")


def test_no_address_is_shown(
    server: NumeraiServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "memmap_train")
    server.fail(*[Fault(name="v5.3/live.parquet", drop=True)] * 6)
    with pytest.raises(NumeraiError) as caught:
        fetch(tmp_path, "live.parquet")
    assert "Signature" not in str(caught.value)
    assert "Signature" not in caplog.text
    server.heal()
    fetch(tmp_path, "live.parquet")
    assert all("Signature" not in path.read_text("latin-1") for path in tmp_path.iterdir())


def test_the_progress_is_that_of_all_bytes(server: NumeraiServer, tmp_path: Path) -> None:
    calls: list[tuple[str, int, int]] = []
    report = mt.download(version="v5.3", out=tmp_path, progress=lambda *call: calls.append(call))
    total = report.plan.wanted_bytes
    assert {(what, whole) for what, _, whole in calls} == {("downloading", total)}
    assert [done for _, done, _ in calls] == sorted(done for _, done, _ in calls)
    assert calls[-1][1] == total
    assert len(calls) >= len(DEFAULT_FILES)


# -- refusals


@pytest.mark.parametrize(
    ("files", "version", "said"),
    [
        ((), "v5.4", "no version 'v5.4'; did you mean 'v5.3'?; it has 'v4.3', 'v5.3'"),
        (("trian.parquet",), "v5.3", "v5.3 has no 'trian.parquet'; did you mean 'train.parquet'?"),
        (("../x",), "v5.3", "v5.3 has no '../x'"),
        (("v4.3/meta_model.parquet",), "v5.3", "v5.3 has no 'v4.3/meta_model.parquet'"),
    ],
)
def test_unknown_names_are_refused(
    server: NumeraiServer, tmp_path: Path, files: tuple[str, ...], version: str, said: str
) -> None:
    with refused(NumeraiError, said):
        mt.download(files, version=version, out=tmp_path / "data", progress=False)
    assert not (tmp_path / "data").exists()


def test_names_that_leave_the_folder_are_not_offered(server: NumeraiServer, tmp_path: Path) -> None:
    for name in ("../x", ".hidden", "a/b", "/etc/x"):
        server.put_file(f"v5.3/{name}", b"x")
    report = fetch(tmp_path, "live.parquet", dry_run=True)
    assert set(report.plan.others) == {*DEFAULT_FILES, "live_example_preds.csv"} - {"live.parquet"}


def test_a_file_of_the_user_is_not_replaced(server: NumeraiServer, tmp_path: Path) -> None:
    (tmp_path / "live.parquet").write_bytes(b"mine")
    with refused(NumeraiError, "live.parquet: it is there and wasn't downloaded", "--out"):
        fetch(tmp_path, "live.parquet")
    assert visible(tmp_path) == {"live.parquet"}
    assert (tmp_path / "live.parquet").read_bytes() == b"mine"


def test_a_downloaded_file_that_was_changed_is_not_replaced(
    server: NumeraiServer, tmp_path: Path
) -> None:
    fetch(tmp_path, "live.parquet")
    (tmp_path / "live.parquet").write_bytes(b"mine")
    with refused(NumeraiError, "live.parquet: it is there", "was changed since"):
        fetch(tmp_path, "live.parquet")
    assert (tmp_path / "live.parquet").read_bytes() == b"mine"


@pytest.mark.parametrize("damage", [b"", b"[]", b'{"files": 3}', b'{"files": {"a": [{}]}}'])
def test_a_damaged_record_loses_no_file(
    server: NumeraiServer, tmp_path: Path, damage: bytes
) -> None:
    fetch(tmp_path, "live.parquet")
    (tmp_path / RECORD_NAME).write_bytes(damage)
    with refused(NumeraiError, "move it away"):
        fetch(tmp_path, "live.parquet")
    assert visible(tmp_path) == {"live.parquet", RECORD_NAME}


def test_a_file_as_folder_is_refused(server: NumeraiServer, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with refused(NumeraiError, "file: it is a file; name a folder for --out"):
        fetch(tmp_path / "file", "live.parquet")
    with refused(NumeraiError, "can't be written"):
        fetch(tmp_path / "file/in", "live.parquet")
    assert server.seen == []


def test_a_disk_that_is_too_small_is_found_out_first(
    server: NumeraiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("memmap_train.numerai.download.plan.free_disk", lambda path: 1000)
    with refused(NumeraiError, "the download needs", "the disk has 1.0 kB free"):
        fetch(tmp_path / "data")
    assert not (tmp_path / "data").exists()
    assert all(seen.headers["range"] == "bytes=0-0" for seen in server.of_kind("get"))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("live.parquet", b"<Error>AccessDenied</Error>", "expected it to begin with PAR1"),
        ("live.parquet", parquet(50)[:-9] + b"x" * 9, "its footer is missing"),
        ("live.parquet", b"PAR1" + b"\0" * 90 + b"\x50\0\0\0PAR1", "not a readable parquet file"),
        ("features.json", b'{"feature_sets": {', "it isn't valid JSON"),
        ("features.json", b"[]", "expected a JSON object"),
    ],
)
def test_what_is_not_whole_gets_no_name(
    server: NumeraiServer, tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    server.put_file(f"v5.3/{name}", content)
    with refused(NumeraiError, name, "isn't whole", said):
        fetch(tmp_path / "data", name)
    assert not (tmp_path / "data").exists()


def test_wrong_arguments_are_refused(tmp_path: Path) -> None:
    with refused(ArgumentError, "round_number"):
        fetch(tmp_path, round_number=0)
    with refused(ArgumentError, "dry_run"):
        fetch(tmp_path, dry_run="no")
    with refused(ArgumentError, "files: expected names"):
        fetch(tmp_path, 3)  # type: ignore[arg-type]


# -- the API


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault("graphql", status=500), "500 Server Error: Internal Server Error"),
        (Fault("graphql", status=502), "502 Server Error: Bad Gateway"),
        (Fault("graphql", drop=True), "the connection was cut"),
        (Fault("graphql", body=b"<html>"), "the answer isn't a JSON object"),
        (Fault("graphql", body=b"3"), "the answer isn't a JSON object"),
        (Fault("graphql", body=b"[" * 100_000), "the answer isn't a JSON object"),
        (Fault("graphql", headers={"Content-Length": "99999"}), "the connection was cut"),
        (Fault("graphql", body=b"{}"), "the answer holds no data"),
        (Fault("graphql", body=b"[]"), "the answer holds no data"),
    ],
)
def test_an_api_that_does_not_answer_is_asked_again_and_then_named(
    server: NumeraiServer, tmp_path: Path, fault: Fault, said: str
) -> None:
    server.fail(fault, fault)
    fetch(tmp_path / "data", "live.parquet")
    server.fail(fault, fault, fault)
    with refused(NumeraiError, "doesn't answer the request for the list", said, "try again"):
        fetch(tmp_path / "other", "live.parquet")
    assert not (tmp_path / "other").exists()


def test_a_refusal_is_not_repeated(server: NumeraiServer, tmp_path: Path) -> None:
    server.fail(Fault("graphql", status=401))
    with refused(NumeraiError, "Numerai refuses the request", "401 Client Error"):
        fetch(tmp_path, "live.parquet")
    del server.resolvers["listDatasets"]
    with refused(NumeraiError, "refuses the request for the list of its files: Cannot query field"):
        fetch(tmp_path, "live.parquet")
    assert len(server.seen) == 2


def test_a_network_that_is_not_there_is_named(server: NumeraiServer, tmp_path: Path) -> None:
    server.close()
    with refused(NumeraiError, "Numerai doesn't answer", "Connection refused", "network"):
        fetch(tmp_path / "data", "live.parquet")
    assert not (tmp_path / "data").exists()


def test_an_api_that_says_nothing_is_left(
    server: NumeraiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "ANSWER_SECONDS", 0.0)
    with refused(NumeraiError, "nothing came within 0 s"):
        fetch(tmp_path, "live.parquet")


@pytest.mark.parametrize("value", [None, [1], "v5.3/live.parquet"])
def test_a_list_of_something_else_is_refused(
    server: NumeraiServer, tmp_path: Path, value: object
) -> None:
    server.resolvers["listDatasets"] = lambda variables: value
    with refused(NumeraiError, "expected names, found"):
        fetch(tmp_path, "live.parquet")


def test_a_missing_address_is_refused(server: NumeraiServer, tmp_path: Path) -> None:
    server.resolvers["dataset"] = lambda variables: None
    with refused(NumeraiError, "v5.3/live.parquet: expected Numerai to give its address"):
        fetch(tmp_path, "live.parquet")


def test_numerapi_does_not_touch_the_root_logger(
    server: NumeraiServer, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    for handler in handlers:
        root.removeHandler(handler)
    try:
        server.fail(Fault("graphql", status=500))
        fetch(tmp_path, "live.parquet")
        assert (root.handlers, root.level) == ([], level)
    finally:
        for handler in handlers:
            root.addHandler(handler)
    assert capfd.readouterr() == ("", "")


def test_no_key_is_read_or_sent(
    server: NumeraiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NUMERAI_PUBLIC_ID", "PUBLIC-ID")
    monkeypatch.setenv("NUMERAI_SECRET_KEY", "SECRET-KEY")
    fetch(tmp_path, "live.parquet")
    assert all("authorization" not in seen.headers for seen in server.seen)


def test_without_the_extra_the_error_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "numerapi", None)
    with refused(DependencyError, "numerapi", "pip install 'memmap-train[numerai]'"):
        fetch(tmp_path / "data", "live.parquet")
    assert not (tmp_path / "data").exists()


def test_a_folder_that_pyarrow_cannot_name_is_refused_before_anything_is_fetched(
    server: NumeraiServer, tmp_path: Path
) -> None:
    folder = tmp_path / os.fsdecode(b"not-\xff-UTF-8")
    with refused(NumeraiError, "its path isn't UTF-8", "name another --out"):
        fetch(folder, "live.parquet")
    assert not server.seen
    assert not folder.exists()


def test_nothing_is_downloaded_into_a_dataset_or_a_run(
    server: NumeraiServer, tmp_path: Path, sample: Path
) -> None:
    dataset, run = tmp_path / "shards", tmp_path / "run"
    shutil.copytree(sample, dataset)
    make_finished_run(run, list(mt.open_dataset(sample).feature_names), dataset=str(sample))
    before = visible(dataset), visible(run)
    for folder, what in ((dataset, "dataset"), (dataset / "era-0001", "dataset"), (run, "run")):
        with refused(NumeraiError, f"it belongs to the {what}", "name another --out"):
            fetch(folder, "live.parquet")
    assert (visible(dataset), visible(run)) == before
    assert not server.seen
