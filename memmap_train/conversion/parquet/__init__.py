"""Parquet input and output. Only this package imports pyarrow.

What goes in and out is numpy: `file` gives columns of a row group as arrays, `writer` takes eras as
arrays. What the columns mean is decided by `conversion.schema`.
"""

import pyarrow

PYARROW_VERSION: str = pyarrow.__version__
