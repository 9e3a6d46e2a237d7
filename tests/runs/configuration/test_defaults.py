"""Tests of values that are chosen for a dataset."""

import pytest

from memmap_train.runs.configuration.defaults import suited_batch_size


@pytest.mark.parametrize("n_rows", [1, 300_000, 458_000, 1_048_576, 2_700_000, 4_194_304])
def test_an_epoch_has_from_1_024_to_2_048_steps_where_batches_can_be_so_large(n_rows: int) -> None:
    size = suited_batch_size(n_rows)
    assert size.bit_count() == 1
    assert 256 <= size <= 4096
    if size > 256:
        assert 1024 <= n_rows / size < 2048 or size == 4096


def test_batches_are_never_smaller_than_256_rows_nor_larger_than_4_096() -> None:
    assert [suited_batch_size(n) for n in (0, 1, 524_287, 524_288)] == [256, 256, 256, 512]
    assert [suited_batch_size(n) for n in (4_194_303, 4_194_304, 10**9)] == [2048, 4096, 4096]
