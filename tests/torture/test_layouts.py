"""Thousands of parquet files with random legal layouts, decoded correctly or left to Arrow."""

import os
from pathlib import Path

from tests.support.layout_comparison import compare_layouts

FILES = int(os.environ.get("TORTURE_LAYOUTS", "10000"))


def test_many_random_legal_layouts(tmp_path: Path) -> None:
    found = compare_layouts(tmp_path / "a.parquet", range(1000, 1000 + FILES))
    print(f"\n{FILES} files of random layouts: {found}")
    assert min(found["decoded"], found["left"]) > FILES
