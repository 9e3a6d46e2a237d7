"""Arguments of commands that take the files of a sample."""

from pathlib import Path


def sources(sample: Path) -> list[Path]:
    return [sample / "train.parquet", sample / "validation.parquet"]


def json_flag(sample: Path) -> list[str]:
    return ["--features-json", str(sample / "features.json")]
