"""A source, its dataset, and whether a subset is what the source itself would have become."""

from pathlib import Path
from typing import Any

import memmap_train as mt
from memmap_train.dataset.verify import verify
from tests.support.files import contents
from tests.support.toy import feature_names

ERAS = {"0001": 12, "0002": 1, "0010": 30, "X": 7}
NAMES = feature_names(6)
SETS = {"small": [NAMES[4], NAMES[1]], "middle": NAMES[2:5], "all": NAMES}


def parent_of(source: Path, **options: Any) -> Path:
    """Convert a source into the parent, with the feature sets that lie beside it."""
    options.setdefault("features_json", source.with_name("features.json"))
    return mt.convert(source, source.with_name("parent"), **options).dataset.path


def check_same_as_converted(source: Path, narrow: Path, **options: Any) -> None:
    """Compare a narrowed dataset with the sources' own conversion, byte by byte."""
    options.setdefault("features_json", source.with_name("features.json"))
    direct = mt.convert(source, source.with_name("direct"), overwrite=True, **options).dataset.path
    assert contents(narrow) == contents(direct)
    assert list(verify(narrow)) == []
