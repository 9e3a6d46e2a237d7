"""Tests of termination signals: raised once, ignored if the parent ignores them, never lost."""

import gc
import os
import signal
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib.machinery import ExtensionFileLoader
from pathlib import Path
from typing import Any, cast

import pytest

from memmap_train.__main__ import main
from memmap_train.cli import commands
from memmap_train.cli.terminal import EXIT_STOPPED
from memmap_train.system.signals import Stopped, stop, termination_signals

EVERYTHING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
LONG = 60.0  # seconds: what waits so long is woken, or the test fails


@pytest.fixture(autouse=True)
def handled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Handle all signals as a command does; `conftest` restores their handlers."""
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    for number in EVERYTHING:
        signal.signal(number, stop)


def send(number: int = signal.SIGINT) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("ignored", EVERYTHING)
def test_signals_that_the_parent_ignores_stay_ignored(ignored: signal.Signals) -> None:
    assert termination_signals() == EVERYTHING
    signal.signal(ignored, signal.SIG_IGN)
    assert termination_signals() == tuple(number for number in EVERYTHING if number != ignored)


@pytest.mark.parametrize("number", EVERYTHING)
def test_a_second_signal_does_not_interrupt_an_orderly_end(number: int) -> None:
    ended = []

    def work() -> None:
        try:
            send(number)
        finally:
            send(signal.SIGINT)
            send(signal.SIGTERM)
            ended.append("in order")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert ended == ["in order"]


def test_a_signal_in_the_import_of_an_extension_module_is_raised_after_it() -> None:
    """Such a module in C++ would turn it into an ImportError, which its package may expect."""
    steps = []

    class Spec:
        origin = "nowhere.so"

        @property
        def name(self) -> str:
            steps.append("begun")
            send()
            send(signal.SIGTERM)
            steps.append("done")
            return "nowhere"

    def work() -> None:
        with suppress(ImportError):
            ExtensionFileLoader("nowhere", "nowhere.so").create_module(cast(Any, Spec()))
        threading.Event().wait(LONG)  # until the signal comes again
        steps.append("not stopped")

    with pytest.raises(Stopped):
        work()
    assert steps[:2] == ["begun", "done"]
    assert "not stopped" not in steps


def test_an_interrupt_that_user_code_swallows_is_raised_again() -> None:
    with suppress(KeyboardInterrupt):  # a library: `except: use_another_way()`
        send()
    with pytest.raises(Stopped):
        send()


class Finalised:
    def __del__(self) -> None:
        send()


def in_a_finaliser() -> None:
    Finalised()


def in_a_callback_of_a_weak_reference() -> None:
    class Referred:
        pass

    referred = Referred()
    reference = weakref.ref(referred, lambda _: send())
    del referred
    assert reference() is None


def in_a_callback_of_the_collector() -> None:
    def told(phase: str, information: dict[str, int]) -> None:
        gc.callbacks.remove(told)
        send()

    gc.callbacks.append(told)
    gc.collect()


def in_a_generator_that_is_closed() -> None:
    def generate() -> Iterator[None]:
        try:
            yield
        finally:
            send()

    next(generate())


@pytest.mark.parametrize(
    "where",
    [
        in_a_finaliser,
        in_a_callback_of_a_weak_reference,
        in_a_callback_of_the_collector,
        in_a_generator_that_is_closed,
    ],
)
def test_an_interrupt_in_a_finaliser_is_raised_again(
    where: Callable[[], None], capsys: pytest.CaptureFixture[str]
) -> None:
    def work() -> None:
        where()
        threading.Event().wait(LONG)

    with pytest.raises(Stopped):
        work()
    assert capsys.readouterr().err == ""


def test_other_errors_in_finalisers_are_reported_as_usual(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(Stopped):
        send()

    class Late:  # what Python says of a signal that it has no handler for any more
        def __del__(self) -> None:
            raise OSError("Signal 2 ignored due to race condition")

    class Broken:
        def __del__(self) -> None:
            raise OSError("another error")

    Late()
    Broken()
    err = capsys.readouterr().err
    assert "another error" in err
    assert "race condition" not in err


@pytest.mark.parametrize("is_stopped", [False, True])
def test_a_command_restores_the_signal_handlers_of_its_process(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], is_stopped: bool
) -> None:
    """As in a notebook, whose later cells have to be stopped, too."""

    def verify(parsed: object) -> None:
        if is_stopped:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setitem(commands._COMMANDS, "verify", verify)
    monkeypatch.setattr(sys, "argv", ["memmap-train", "verify", "shards"])
    before = [signal.getsignal(number) for number in EVERYTHING]
    assert main() == (EXIT_STOPPED if is_stopped else 0)
    assert ("stopped" in capsys.readouterr().err) == is_stopped
    assert [signal.getsignal(number) for number in EVERYTHING] == before


def test_a_command_runs_in_any_thread(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "argv", ["memmap-train", "runs", str(tmp_path)])
    with ThreadPoolExecutor(1) as threads:
        assert threads.submit(main).result() == 1
    assert capsys.readouterr().err.startswith("error: ")
