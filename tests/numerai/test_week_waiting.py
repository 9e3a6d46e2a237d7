"""Tests of the wait for the round: with a clock of their own, nothing sleeps."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from memmap_train.errors import NumeraiError
from memmap_train.numerai.submission.rounds import Round
from memmap_train.numerai.week.log import Log
from memmap_train.numerai.week.waiting import POLL_SECONDS, open_round
from tests.support.errors import refused
from tests.support.numerai_account import Account
from tests.support.numerai_faults import Fault
from tests.support.numerai_server import NumeraiServer
from tests.support.numerai_week import HOUR, FakeClock

pytest_plugins = ["tests.support.numerai_fixtures"]

TUESDAY = datetime(2026, 12, 1, 12, tzinfo=UTC)
WEDNESDAY, THURSDAY = TUESDAY + 24 * HOUR, TUESDAY + 48 * HOUR


@pytest.fixture
def account(server: NumeraiServer) -> Account:
    account = Account(server)
    account.round = round_of(1335, TUESDAY)
    return account


def round_of(number: int, opens: datetime) -> dict[str, object]:
    return {
        "number": number,
        "openTime": opens.isoformat(),
        "closeTime": (opens + 700 * HOUR).isoformat(),
        "closeStakingTime": (opens + HOUR).isoformat(),
    }


def done(found: Round) -> list[str]:
    return []


def not_done(found: Round) -> list[str]:
    return ["first", "second"]


def look(
    clock: FakeClock, minutes: float, missing: Callable[[Round], list[str]] = not_done
) -> Round | None:
    return open_round(missing, clock.now + timedelta(minutes=minutes), clock.clock, Log())


def test_an_open_round_is_not_waited_for(account: Account) -> None:
    clock = FakeClock(TUESDAY + HOUR / 2)
    found = look(clock, 90)
    assert found is not None
    assert (found.number, clock.waits) == (1335, [])


def test_a_round_that_opens_meanwhile_is_returned_as_soon_as_it_does(
    account: Account, capsys: pytest.CaptureFixture[str]
) -> None:
    """Numerai names the round before it opens."""
    clock = FakeClock(TUESDAY - HOUR / 2)
    assert look(clock, 90) is not None
    assert clock.now == TUESDAY
    assert set(clock.waits) == {POLL_SECONDS}
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(
        "round 1335 isn't open before 2026-12-01 12:00 UTC; waiting until 2026-12-01 13:00 UTC"
    )


def test_the_next_round_is_waited_for_while_numerai_names_the_last_one(account: Account) -> None:
    clock = FakeClock(WEDNESDAY - HOUR / 2)
    opens = WEDNESDAY + HOUR / 4
    clock.at(opens, lambda: account.__setattr__("round", round_of(1336, opens)))
    found = look(clock, 90, done)
    assert found is not None
    assert found.number == 1336


def test_after_the_wait_it_is_said_that_no_round_has_opened(
    account: Account, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = FakeClock(WEDNESDAY - HOUR / 2)
    assert look(clock, 90, done) is None
    assert clock.now == WEDNESDAY + HOUR
    assert capsys.readouterr().err.endswith(
        "round 1335 has been closed since 2026-12-01 13:00 UTC: nothing to submit\n"
    )


def test_a_round_that_closed_without_a_submission_is_an_error(account: Account) -> None:
    without = "without a submission for 'first', 'second'"
    with refused(NumeraiError, "round 1335 has been closed since", without):
        look(FakeClock(THURSDAY), 0)
    with refused(NumeraiError, without):
        look(FakeClock(THURSDAY - HOUR), 30)


@pytest.mark.parametrize("missing", [done, not_done])
def test_no_round_is_waited_for_that_cannot_open_yet(
    account: Account, missing: Callable[[Round], list[str]]
) -> None:
    """Right after a round has closed, and long before one opens."""
    clock = FakeClock(TUESDAY + 2 * HOUR)
    if missing is done:
        assert look(clock, 90, missing) is None
    else:
        with refused(NumeraiError, "has been closed"):
            look(clock, 90, missing)
    account.round = round_of(1336, WEDNESDAY)
    assert look(clock, 90, missing) is None
    assert clock.waits == []


def test_numerai_may_be_silent_for_a_while(
    server: NumeraiServer, account: Account, capsys: pytest.CaptureFixture[str]
) -> None:
    server.fail(*[Fault("graphql", "rounds", status=500)] * 6)
    clock = FakeClock(TUESDAY + HOUR / 2)
    assert look(clock, 10) is not None
    assert clock.waits == [POLL_SECONDS] * 2
    assert capsys.readouterr().err.count("doesn't answer the request for the current round") == 1


def test_numerai_that_stays_silent_is_an_error_after_the_wait(
    server: NumeraiServer, account: Account
) -> None:
    server.fail(*[Fault("graphql", "rounds", status=500)] * 99)
    with refused(NumeraiError, "doesn't answer the request for the current round"):
        look(FakeClock(TUESDAY), 2)
    assert server.heal() > 0


def test_no_current_round_is_an_error_after_the_wait(account: Account) -> None:
    account.round = None
    clock = FakeClock(TUESDAY)
    with refused(NumeraiError, "Numerai has no current round"):
        look(clock, 1)
    assert clock.now == TUESDAY + timedelta(minutes=1)
