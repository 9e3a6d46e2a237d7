"""Datasets that are dropped from the page cache."""

import os
from pathlib import Path

import memmap_train as mt
from memmap_train.loading.page_cache import (
    drop,
    resident,
)


def feature_files(dataset: mt.Dataset) -> list[Path]:
    return [dataset[era].file("features") for era in dataset.eras]


def dropped(dataset: mt.Dataset) -> bool:
    """Drop the features from the page cache; return whether this file system allows it."""
    for file in feature_files(dataset):
        with open(file, "rb") as opened:
            # What isn't on disk yet can't be dropped. Tests replace `os.fsync`.
            os.fdatasync(opened.fileno())
    drop(feature_files(dataset))
    return resident(dataset)["features"][0] == 0
