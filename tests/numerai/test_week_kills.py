"""A week that is killed at any step, and what the next one makes of it: one submission."""

import itertools
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from memmap_train.errors import NumeraiError
from memmap_train.numerai.week import state as state_module
from memmap_train.numerai.week.state import State, Work
from tests.support.errors import refused
from tests.support.numerai_faults import Fault
from tests.support.numerai_server import MAX_WAIT_SECONDS
from tests.support.numerai_week import CONFIG, HOUR, NumeraiWeek, quick_predictions

pytest_plugins = [
    "tests.support.numerai_fixtures",
    "tests.support.numerai_week_fixtures",
    "tests.support.training_fixtures",
]

STEPS = (
    "memmap_train.numerai.week.live.download",
    "memmap_train.numerai.download.folder.write_json",
    "memmap_train.numerai.week.live.convert",
    "memmap_train.numerai.week.live._remove_old",
    "memmap_train.numerai.week.state.write_json",
    "memmap_train.numerai.week.predictions.write_predictions",
    "memmap_train.numerai.week.predictions.look_for",
    "memmap_train.numerai.week.predictions.submit",
    "memmap_train.numerai.submission.upload._send",
    "memmap_train.numerai.submission.upload.ask_once",
)
"""The functions at whose begin and end a week is killed: all that change something."""


class KilledError(BaseException):
    """Stands for the end of the process: nothing of the package catches it."""


class Points:
    """The points at which a week can be killed: before and after each call of the steps.

    Parameters
    ----------
    monkeypatch : MonkeyPatch
    number : int
        The point at which it is killed; a large one lets it end.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
        self.names: list[str] = []
        self._number = number
        for name in STEPS:
            monkeypatch.setattr(name, self._watched(name))

    def _watched(self, name: str) -> Callable[..., Any]:
        module, _, attribute = name.rpartition(".")
        original = getattr(__import__(module, fromlist=[attribute]), attribute)

        def call(*arguments: Any, **options: Any) -> Any:
            self._pass(f"before {attribute}")
            found = original(*arguments, **options)
            self._pass(f"after {attribute}")
            return found

        return call

    def _pass(self, name: str) -> None:
        self.names.append(name)
        if len(self.names) == self._number:
            raise KilledError(name)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let predictions be made without TensorFlow."""
    place = "memmap_train.numerai.week.predictions"
    monkeypatch.setattr(f"{place}.start_tensorflow", lambda folder: None)
    monkeypatch.setattr(f"{place}.write_predictions", quick_predictions)


def check_submitted_once(numerai: NumeraiWeek) -> None:
    """Check that there is one submission, of the file that the state names."""
    (name,) = numerai.sent()["first"]
    work = State(numerai.state).predictions(1334, "first")
    assert work.sent == numerai.submissions["first"][0]["id"]
    if work.file:
        path = numerai.state / "predictions" / work.file
        assert numerai.server.uploads[name] == path.read_bytes()
        assert work.file in name
    assert len(numerai.uploaded_ids(name)) == 80


@pytest.mark.usefixtures("quick")
def test_a_week_killed_at_any_point_ends_in_one_submission(
    numerai: NumeraiWeek, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed: list[str] = []
    for number in itertools.count(1):
        with monkeypatch.context() as patch:
            points = Points(patch, number)
            try:
                numerai.run()
                break
            except KilledError:
                killed.append(points.names[-1])
        report = numerai.run()
        assert not report.failures, killed[-1]
        check_submitted_once(numerai)
        n_seen = len(numerai.server.of_kind("put"))
        assert not numerai.run().failures
        assert len(numerai.server.of_kind("put")) == n_seen
        numerai.start_again()
    assert len(killed) >= 30
    assert {name.split()[1] for name in killed} == {name.rpartition(".")[2] for name in STEPS}


@pytest.mark.usefixtures("quick")
def test_a_week_killed_again_and_again_ends_in_one_submission(
    numerai: NumeraiWeek, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each week comes a few points further than the one before."""
    for number in itertools.count(6, 5):
        with monkeypatch.context() as patch:
            Points(patch, number)
            try:
                numerai.run()
                break
            except KilledError:
                continue
    assert number > 15
    check_submitted_once(numerai)


def test_a_submission_is_recognized_even_if_numerai_changes_its_name(
    numerai: NumeraiWeek, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The names don't tell then; what the model had before does."""
    numerai.submissions["first"] = [{"id": "by-hand", "filename": "other.csv"}]

    def killed(*arguments: Any, **options: Any) -> None:
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(State, "set_predictions", _without("sent", State.set_predictions, killed))
        with pytest.raises(KilledError):
            numerai.run()
    numerai.submissions["first"][-1]["filename"] = "renamed.csv"
    assert not numerai.run().failures
    assert [made["id"] for made in numerai.submissions["first"]] == ["by-hand", "first-1"]


def _without(key: str, original: Callable[..., Work], act: Callable[[], None]) -> Any:
    """Return a function that does something else when it is called with a key."""

    def call(*arguments: Any, **options: Any) -> Any:
        return act() if key in options else original(*arguments, **options)

    return call


def test_a_submission_of_another_machine_is_recognized(numerai: NumeraiWeek) -> None:
    numerai.submissions["first"] = [{"id": "other", "filename": "first-1334-0123456789ab-x.csv"}]
    report = numerai.run()
    assert report.outcomes[-1].text == "already submitted, found at Numerai as other"
    assert len(numerai.submissions["first"]) == 1


def test_what_cannot_be_known_is_not_sent_again(numerai: NumeraiWeek) -> None:
    """The key may not read submissions, and sending was begun."""
    numerai.state.mkdir()
    State(numerai.state).set_predictions(1334, "first", is_begun=True, file="first-1334-ab.csv")
    numerai.server.fail(Fault("graphql", "submissions", status=403))
    (failed,) = numerai.run().failures
    assert "whether first-1334-ab.csv has arrived isn't known" in failed.text
    assert not numerai.sent()


def test_a_key_that_may_not_read_submissions_can_submit(numerai: NumeraiWeek) -> None:
    numerai.server.fail(*[Fault("graphql", "submissions", status=403)] * 2)
    assert not numerai.run().failures
    assert len(numerai.sent()["first"]) == 1


def test_a_lost_answer_is_no_second_submission(numerai: NumeraiWeek) -> None:
    def lose() -> None:
        # The submission is made, and its answer gets lost.
        created = numerai.server.resolvers["create_submission"]
        created({"modelId": "id-of-first", "filename": numerai.last_upload()})

    numerai.server.fail(Fault("graphql", "create_submission", drop=True, first=lose))
    assert not numerai.run().failures
    assert len(numerai.sent()["first"]) == 1
    assert not numerai.run().failures
    assert len(numerai.sent()["first"]) == 1


KILLS = {
    "while the live rows are converted": ("live", "live.convert"),
    "when the submission has arrived": ("predictions", "state.State.set_predictions"),
}


@pytest.mark.parametrize("point", KILLS)
@pytest.mark.usefixtures("quick")
def test_a_killed_process_leaves_a_week_that_goes_on(numerai: NumeraiWeek, point: str) -> None:
    module, place = KILLS[point]
    before = f"""
import os, signal
from memmap_train.numerai.week import live, predictions, state
from tests.support.numerai_week import quick_predictions

def kill(*arguments, **options):
    if {module!r} == "live" or "sent" in options:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*arguments, **options)

original = {place}
{place} = kill
predictions.start_tensorflow = print
predictions.write_predictions = quick_predictions
"""
    command = numerai.server.command(["week", str(numerai.config)], before)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert (numerai.state / ".lock").exists()
    n_sent = sum(map(len, numerai.sent().values()))
    assert n_sent == (module == "predictions")
    assert not numerai.run().failures
    check_submitted_once(numerai)
    assert not (numerai.state / ".lock").exists()


def test_a_process_that_waits_for_the_round_stops_at_once(numerai: NumeraiWeek) -> None:
    numerai.write_config(CONFIG.replace("wait_minutes = 0", "wait_minutes = 90"))
    numerai.open_round(1334, numerai.now + HOUR, numerai.now + 2 * HOUR)
    command = numerai.server.command(["week", str(numerai.config)])
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stderr is not None
        line = child.stderr.readline()
        child.send_signal(signal.SIGTERM)
        out, error = child.communicate(timeout=MAX_WAIT_SECONDS)
    assert "round 1334 isn't open before" in line
    assert (child.returncode, out) == (130, "")
    assert error == "\nstopped; run the same command again to resume\n"
    assert not (numerai.state / ".lock").exists()


def test_a_whole_week_in_a_process_of_its_own(numerai: NumeraiWeek, tmp_path: Path) -> None:
    numerai.write_config('dataset = "data/shards"\n' + CONFIG)
    command = numerai.server.command(["week", "week.toml"])
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    first, second, third = done.stdout.splitlines()
    assert first.startswith("Numerai: round 1334 is open until ")
    assert second == "first: submitted 80 predictions as first-0"
    assert third.startswith("the dataset: ")
    # TensorFlow may complain of a slow machine.
    lines = [line for line in done.stderr.splitlines() if re.match(r"\d{4}-\d\d-\d\d \d", line)]
    log = (numerai.state / "week.log").read_text().splitlines()
    assert [line for line in log if line in lines] == lines
    assert [line[21:] for line in log if line not in lines] == done.stdout.splitlines()
    check_submitted_once(numerai)


def test_the_oldest_rounds_are_forgotten(tmp_path: Path) -> None:
    state = State(tmp_path)
    for number in range(990, 1002):
        state.set_predictions(number, "first", sent="x")
        state.set_live(number, state_module.Live("e", number, "d"))
    again = State(tmp_path)
    assert again.live(991) is None
    assert again.predictions(991, "first") == Work()
    assert again.predictions(992, "first").sent == "x"
    assert again.is_of_another_round("e", 1000, 1001)
    assert not again.is_of_another_round("e", 1001, 1001)
    assert not again.is_of_another_round("", 1000, 1001)


def test_a_state_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text('{"format_version": 2}')
    with refused(NumeraiError, "expected format_version 1"):
        State(tmp_path)
