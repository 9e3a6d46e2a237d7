"""Tests of the memory budget: reserved memory isn't available."""

import gc

import pytest

from memmap_train.system.memory_budget import PROCESS_MEMORY, MemoryBudget
from memmap_train.system.resources import available_memory


def test_reserved_bytes_are_not_available_until_they_are_taken() -> None:
    budget = MemoryBudget(lambda: 1000)
    first, second = budget.reserve(300), budget.reserve(100)
    assert budget.available() == 600
    first.take(200)
    assert budget.available() == 800
    first.take(200)  # more than planned: nothing is owed to the others
    assert (first.n_bytes, second.n_bytes) == (0, 100)
    assert budget.available() == 900


def test_a_reservation_ends_with_its_last_reference() -> None:
    budget = MemoryBudget(lambda: 1000)
    reservation = budget.reserve(300)
    del reservation
    gc.collect()
    assert budget.available() == 1000


def test_more_reserved_than_there_is_leaves_nothing() -> None:
    budget = MemoryBudget(lambda: 1000)
    reservations = [budget.reserve(600), budget.reserve(600)]
    assert budget.available() == 0
    assert len(reservations) == 2


def test_budgets_know_nothing_of_each_other() -> None:
    one, other = MemoryBudget(lambda: 1000), MemoryBudget(lambda: 1000)
    reservation = one.reserve(300)
    assert (one.available(), other.available()) == (700, 1000)
    assert reservation.n_bytes == 300


def test_the_memory_of_the_process_is_that_of_the_system() -> None:
    assert 0 < PROCESS_MEMORY.available() == pytest.approx(available_memory(), rel=0.5)
