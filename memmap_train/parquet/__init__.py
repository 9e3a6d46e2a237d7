"""DOOR 1: the only room that imports pyarrow. Opens, describes, streams and writes parquet.

Everything that goes through the door is numpy: `reading` gives columns of a row group as arrays,
`writing` takes eras as arrays. What the columns mean is `schema`'s business.
"""

import pyarrow

PYARROW_VERSION: str = pyarrow.__version__
