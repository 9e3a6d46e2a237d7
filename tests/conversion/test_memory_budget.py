"""Tests of the memory that a conversion may take."""

import pytest

from memmap_train.conversion.memory_budget import (
    MIN_MEMORY,
    OWN_BYTES,
    OWN_METADATA_BYTES,
    ConversionBudget,
    default_budget,
)
from memmap_train.errors import ConversionError
from tests.support.errors import refused

GB = 1_000_000_000


def available(n_bytes: int) -> ConversionBudget:
    """Return the default budget of a machine with so much memory."""
    return ConversionBudget(available=lambda: n_bytes)


def test_given_memory_is_for_buffers_and_the_process() -> None:
    assert ConversionBudget(1000).n_bytes == GB - OWN_BYTES


def test_less_than_the_least_memory_is_an_error() -> None:
    assert ConversionBudget(512).n_bytes == MIN_MEMORY - OWN_BYTES
    with refused(ConversionError, "memory: expected 512 MB or more", "found 511"):
        ConversionBudget(511)


@pytest.mark.parametrize(("memory", "expected"), [(0, MIN_MEMORY), (4 * GB, GB), (64 * GB, 2 * GB)])
def test_the_default_is_a_quarter_of_the_memory_within_limits(memory: int, expected: int) -> None:
    assert available(memory).n_bytes == default_budget(memory) == expected - OWN_BYTES


def test_a_default_budget_grows_to_what_is_available() -> None:
    budget = available(4 * GB)
    budget.require(3 * GB)
    assert budget.n_bytes == 3 * GB
    with refused(ConversionError, "memory: expected 4150 MB or more", "found 4000 available"):
        budget.require(4 * GB)
    assert budget.n_bytes == 3 * GB


def test_given_memory_does_not_grow() -> None:
    budget = ConversionBudget(1000, available=lambda: 64 * GB)
    budget.require(GB - OWN_BYTES)
    with refused(ConversionError, "memory: expected 1001 MB or more", "found 1000"):
        budget.require(GB - OWN_BYTES + 1)


def test_metadata_of_large_files_is_taken_from_the_buffers() -> None:
    budget = ConversionBudget(1000)
    budget.reserve_metadata(OWN_METADATA_BYTES)
    assert budget.n_bytes == GB - OWN_BYTES
    budget.reserve_metadata(OWN_METADATA_BYTES + 1000)
    assert budget.n_bytes == GB - OWN_BYTES - 1000
    with refused(ConversionError, "memory: expected 1012 MB or more", "found 1000"):
        budget.reserve_metadata(OWN_METADATA_BYTES + 500_000_000)
