"""Tests of encoding: what becomes of any float in a store of codes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memmap_train.conversion.codec import FeatureEncoder
from memmap_train.errors import SourceError

QUARTERS = st.sampled_from([0.0, -0.0, 0.25, 0.5, 0.75, 1.0])
MISSING = st.one_of(QUARTERS, st.just(float("nan")))
ANY = st.one_of(
    QUARTERS,
    st.floats(width=32),
    st.sampled_from([-0.25, 1.25, 25.0, 32.0, 64.0, -64.0, 2.0**30, 0.3, 1e-30, 3e38]),
)


@given(cells=st.lists(st.one_of(QUARTERS, MISSING, ANY), min_size=1, max_size=12), data=st.data())
def test_floats_become_codes_or_are_refused_by_the_name_of_their_feature(
    cells: list[float], data: st.DataObject
) -> None:
    n_columns = data.draw(st.sampled_from([n for n in (1, 2, 3, 4) if len(cells) % n == 0]))
    block = np.array(cells, np.float32).reshape(-1, n_columns)
    encoder = FeatureEncoder([f"f{column}" for column in range(n_columns)], "int8", "0.5")
    out = np.full(block.shape, 99, np.int8)
    counts = np.zeros((n_columns, 6), np.int32)
    codes = {0.0: 0, 0.25: 1, 0.5: 2, 0.75: 3, 1.0: 4}
    if any(not np.isnan(cell) and float(cell) not in codes for cell in block.flat):
        with pytest.raises(SourceError, match=r"here: feature 'f\d'"):
            encoder.encode(block, out, counts, 0, "here")
        return
    encoder.encode(block, out, counts, 0, "here")
    expected = [2 if np.isnan(cell) else codes[float(cell)] for cell in block.flat]
    assert out.ravel().tolist() == expected
    for column in range(n_columns):
        cells_of_column = block[:, column]
        known = [int((cells_of_column == quarter).sum()) for quarter in codes]
        assert counts[column].tolist() == [*known, int(np.isnan(cells_of_column).sum())]
