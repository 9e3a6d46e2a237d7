"""Tests of the states that the dataset in a target folder may have."""

from dataclasses import replace
from pathlib import Path

import pytest

from memmap_train.conversion.plan import Columns, ConvertOptions
from memmap_train.conversion.schema import Schema
from memmap_train.conversion.target import Absent, Outdated, Request, UpToDate, inspect_target
from memmap_train.dataset.manifest import Manifest
from memmap_train.dataset.manifest_file import read_manifest
from memmap_train.errors import ConversionError
from tests.support.conversions import converted, of_codes
from tests.support.errors import refused


@pytest.fixture
def request_for(tmp_path: Path) -> Request:
    """Return a request for a dataset that exists."""
    dataset = converted(tmp_path, of_codes([0, 1, 2]))
    schema = Schema("era", None, ("feature_a",), (), integer_features=True)
    return Request(
        directory=dataset.path,
        sources=dataset.manifest.sources,
        columns=Columns(schema=schema, feature_sets={}, best_possible=None, alias="target"),
        options=ConvertOptions(),
    )


def older(request: Request) -> Request:
    """Return the request for a dataset of an older version of the source."""
    (source,) = request.sources
    return replace(request, sources=(replace(source, modified="2020-01-01T00:00:00Z"),))


def manifest_of(request: Request) -> Manifest:
    return read_manifest(request.directory)


def test_an_empty_folder_holds_no_dataset(request_for: Request, tmp_path: Path) -> None:
    assert inspect_target(replace(request_for, directory=tmp_path / "other")) == Absent()


def test_a_dataset_of_the_same_sources_is_up_to_date(request_for: Request) -> None:
    assert inspect_target(request_for) == UpToDate()


def test_a_dataset_of_other_sources_is_outdated(request_for: Request) -> None:
    assert inspect_target(older(request_for)) == Outdated(manifest_of(request_for))


def test_other_options_are_an_error(request_for: Request) -> None:
    other = replace(request_for, options=ConvertOptions(dtype="int8"))
    with refused(ConversionError, str(request_for.directory), "other dtype", "--overwrite"):
        inspect_target(other)


def test_a_dataset_to_overwrite_counts_as_absent(request_for: Request) -> None:
    assert inspect_target(replace(request_for, overwrite=True)) == Absent()


def test_a_dataset_that_was_just_committed_is_not_overwritten_again(request_for: Request) -> None:
    request = replace(request_for, overwrite=True)
    assert inspect_target(request, was_just_committed=True) == UpToDate()
    assert inspect_target(older(request), was_just_committed=True) == Absent()
    other = replace(request, options=ConvertOptions(dtype="int8"))
    assert inspect_target(other, was_just_committed=True) == Absent()
