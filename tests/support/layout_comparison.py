"""Pages of any layout, decoded by this package and by Arrow."""

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from memmap_train.conversion.parquet.dictionary_codes import CodeDecoder, ColumnOffsets
from tests.support.parquet_layouts import NULL, write_random


def compare_layouts(path: Path, numbers: range) -> Counter[str]:
    """Decode files of random layouts, and compare the codes with those written and with Arrow's."""
    found: Counter[str] = Counter()
    for number in numbers:
        names, groups = write_random(path, np.random.default_rng([19, number]))
        file = pq.ParquetFile(path)
        nullable = {field.name: field.nullable for field in file.schema_arrow}
        decoder = CodeDecoder(path, ColumnOffsets(path, file.num_row_groups), nullable)
        for group, codes in enumerate(groups):
            out = np.full(codes.shape, 99, np.int8)
            left = decoder.decode(group, names, out)
            taken = [position for position in range(len(names)) if position not in left]
            for position in taken:
                where = f"file {number}, row group {group}, {names[position]}"
                assert np.array_equal(out[position], codes[position]), where
            for position, name in enumerate(names):
                arrow = file.read_row_group(group, [name], use_threads=False)[name]
                # Arrow ends a column at an empty page.
                same = np.array_equal(arrow.fill_null(NULL).to_numpy(), codes[position])
                assert same or len(arrow) < codes.shape[1], f"file {number}: not legal"
            found.update({"decoded": len(taken), "left": len(left)})
        file.close()
    return found
