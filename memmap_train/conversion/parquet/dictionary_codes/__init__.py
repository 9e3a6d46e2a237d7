"""Codes of features from dictionary pages, decoded without Arrow: 3.2 times as fast.

The rest of the package uses this folder through two names: `CodeDecoder`, which fills an array with
the codes of columns and returns the columns that it leaves to Arrow, and `ColumnOffsets`, which the
decoders of a file share. A test keeps other modules from importing the modules inside. This is a
second implementation of a format that others define. Therefore `conversion.parquet.cross_check`
compares one column of each row group with Arrow's, and ``decoder="arrow"`` switches it off.

Notes
-----
Parquet has no integers below 32 bits, so Numerai's int8 features are dictionaries of five values,
with three bits for each row. Arrow makes definition levels of a page, marks what is null, makes
indices of 32 bits, values of 32 bits, and finally bytes: 1.52 ns of CPU time for a value where this
decoder takes 0.47 ns, for a row group of 262,144 x 3,555, in one run with pyarrow 26.0.1.

pyarrow's own options don't avoid that. ``ParquetFile(read_dictionary=names)``, which would leave
out the values and return the indices, acts on BYTE_ARRAY columns alone. It is ignored without a
message for integers, also where they were written from Arrow dictionaries: their type stays int8,
and `read_row_group` takes 1.41 ns with it and without it. ``binary_type`` concerns the same columns
as `read_dictionary`. The low-level readers that expose indices (``ReadBatchWithDictionary``) belong
to the C++ library and have no Python bindings. A test shows when `read_dictionary` learns integers.
"""

from .column_offsets import ColumnOffsets
from .decoder import CodeDecoder

__all__ = ["CodeDecoder", "ColumnOffsets"]
