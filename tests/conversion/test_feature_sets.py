"""Tests of feature sets as `features.json` holds them."""

import json
from pathlib import Path

import pytest

from memmap_train.conversion.feature_sets import read_feature_sets
from memmap_train.errors import SchemaError
from tests.support.errors import refused

# -- features.json ----------------------------------------------------------------------------


def test_bare_nan_tokens_are_read(tmp_path: Path) -> None:
    path = tmp_path / "features.json"
    path.write_text(
        '{"feature_stats": {"feature_a": {"mean": NaN, "std": -Infinity}},'
        ' "feature_sets": {"small": ["feature_a", "feature_b", "feature_a"]}}'
    )
    assert read_feature_sets(path) == {"small": ("feature_a", "feature_b")}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"feature_a",
        b"{",
        b"\xff\xfe",
        b"[]",
        b"null",
        b"{}",
        b'{"feature_sets": []}',
        b'{"feature_sets": {"small": "feature_a"}}',
        b'{"feature_sets": {"small": [1]}}',
        b"[" * 200_000,
    ],
    ids=lambda content: content[:40].decode("latin-1"),
)
def test_another_file_for_features_json_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "features.json"
    path.write_bytes(content)
    with refused(SchemaError, "features.json"):
        read_feature_sets(path)


@pytest.mark.parametrize("name", ["\ud800", "a\nb", "\0"])
def test_a_set_whose_name_cannot_be_written_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "features.json"
    path.write_text(json.dumps({"feature_sets": {"small": ["feature_z0"], name: ["feature_z0"]}}))
    with refused(SchemaError, "features.json", repr(name)):
        read_feature_sets(path)


def test_a_features_json_that_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    with refused(SchemaError, "no such file"):
        read_feature_sets(tmp_path / "none.json")
    with refused(SchemaError, "can't be read"):
        read_feature_sets(tmp_path)
