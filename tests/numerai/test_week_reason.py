"""Tests of the words in which a week says why a part has failed."""

from pathlib import Path

import pytest

import memmap_train as mt
from memmap_train.errors import ConversionError, ExportError, NumeraiError
from memmap_train.numerai.export.images import find_python
from memmap_train.numerai.week.config import ModelConfig, WeekConfig
from memmap_train.numerai.week.reason import reason
from tests.support.numerai_week import CONFIG, NumeraiWeek

pytest_plugins = [
    "tests.support.numerai_fixtures",
    "tests.support.numerai_week_fixtures",
    "tests.support.training_fixtures",
]

MODEL = ModelConfig(name="first", runs=("/w/runs/one",))
SETTINGS = WeekConfig(
    version="v5.3", data="/w/data", folder="/w/week", dataset="/w/data/shards", models=(MODEL,)
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/w/data: is a file; name another --out", "name another `data` in the configuration"),
        ("/w/data/shards: full; choose another --out", "another `dataset` in the configuration"),
        ("/w/week/live/1: full; choose another --out", "another `folder` in the configuration"),
        ("x; choose --out, or replace it with --overwrite", "configuration, or remove the folder"),
        ("x; use --dtype float32", "use `dtype` float32"),
        ("`memmap-train convert --out X` makes it", "`memmap-train convert --out X` makes it"),
        (
            "x: it lacks 'pandas'; add --image (image=True), which makes an environment of the "
            "image's versions",
            "x: it lacks 'pandas'; install them there",
        ),
        ("x: damaged; convert its sources again with --overwrite", "damaged; remove the folder"),
        ("x: update it, or replace the dataset with --overwrite", "it, or remove the folder"),
        ("two\n lines", "two lines"),
    ],
)
def test_options_are_named_by_the_keys_of_the_configuration(text: str, expected: str) -> None:
    assert expected in reason(ConversionError(text), SETTINGS)


def test_a_python_is_named_as_in_the_configuration() -> None:
    with pytest.raises(ExportError) as raised:
        find_python("3.99")
    text = reason(raised.value, SETTINGS)
    assert "--python" in str(raised.value)
    assert text.endswith('name one: python = "3.12"')


def test_an_error_of_the_system_names_its_file() -> None:
    assert reason(PermissionError(13, "Permission denied", "/w/x"), SETTINGS) == (
        "/w/x: Permission denied"
    )


def test_a_week_advises_no_option_that_it_lacks(numerai: NumeraiWeek) -> None:
    """A file of the user's lies in the way, and another dataset is where the dataset should be."""
    mt.convert(numerai.sample / "live.parquet", numerai.folder / "shards", progress=False)
    numerai.write_config('dataset = "shards"\ndtype = "float32"\n' + CONFIG)
    data = numerai.folder / "data"
    data.mkdir()
    (data / "live.parquet").write_text("mine")
    for dry_run in (False, True):
        texts = [failed.text for failed in numerai.run(dry_run=dry_run).failures]
        assert "name another `data` in the configuration" in texts[0]
        assert not any(" --" in text for text in texts)
    (data / "live.parquet").unlink()
    (failed,) = numerai.run().failures
    assert failed.what == "the dataset"
    assert " --" not in failed.text


def test_the_error_of_a_full_disk_stays_as_it_is() -> None:
    text = f"{Path('/w/data/live.parquet.part')}: can't be written: No space left on device"
    assert reason(NumeraiError(text), SETTINGS) == text
