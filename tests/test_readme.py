"""The README promises only what there is: its commands, flags, files, keys and examples."""

import argparse
import re
import shlex
import tomllib
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import memmap_train as mt
from memmap_train.cli.parser import make_parser
from memmap_train.conversion.sample import write_sample
from memmap_train.runs.config import TrainConfig

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def subparsers() -> dict[str, argparse.ArgumentParser]:
    for action in make_parser()._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    raise AssertionError


def commands() -> list[str]:
    lines = [line.split("#")[0].strip() for block in blocks("sh") for line in block.splitlines()]
    return [line for line in lines if line]


def test_every_command_line_can_be_parsed() -> None:
    lines = [line for line in commands() if line.startswith("memmap-train ")]
    assert len(lines) >= 4
    for line in lines:
        make_parser().parse_args(shlex.split(line)[1:])


def test_every_line_of_shell_is_a_command_of_ours_or_make() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for line in commands():
        program, *arguments = shlex.split(line)
        assert program in ("make", "memmap-train", "pip")
        if program == "make":
            target = next((a for a in arguments if "=" not in a), "help")
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), line
            for variable in (a.split("=")[0] for a in arguments if "=" in a):
                assert f"$({variable})" in makefile or f"$(if $({variable})" in makefile


def test_every_command_and_flag_is_described() -> None:
    for name, parser in subparsers().items():
        assert f"`memmap-train {name} " in README
        for action in parser._actions:
            for flag in action.option_strings:
                if flag.startswith("--") and flag != "--help":
                    assert re.search(rf"{flag}\b", README), f"{name} {flag}"


def test_the_configuration_shown_is_the_default_one() -> None:
    (text,) = blocks("toml")
    shown = tomllib.loads(text)
    assert TrainConfig(**shown) == TrainConfig()
    commented = set(re.findall(r"^# (\w+) =", text, re.MULTILINE))
    assert shown.keys() | commented == TrainConfig().to_dict().keys()


def test_the_tree_names_every_module() -> None:
    tree = README[README.index("\nMakefile  ") : README.index("\ntests/  ")]
    for path in (ROOT / "memmap_train").rglob("*.py"):
        if not path.name.startswith("_"):
            assert path.name in tree, path
    for name in re.findall(r"(\w+\.py)", tree):
        assert list((ROOT / "memmap_train").rglob(name)), name


def test_every_variable_of_the_makefile_is_shown_at_its_top() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for name in ("SOURCE", "DATASET", "RUN", "DTYPE", "FEATURES_JSON", "FEATURE_SET", "TARGET"):
        assert re.search(rf"^#.*\b{name}=", makefile, re.MULTILINE)


@pytest.fixture
def sampled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_sample(tmp_path, n_eras=60, rows_per_era=300, n_features=12)
    labels = pq.read_table(tmp_path / "validation.parquet", columns=["target"])["target"]
    assert labels.slice(len(labels) - 300).null_count == 300  # as in Numerai's validation.parquet
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_python_examples_run(sampled: Path) -> None:
    pytest.importorskip("keras")
    first, keras_example, numpy_example, own_model = blocks("python")
    names: dict[str, object] = {}
    exec(first, names)
    x, y = names["x"], names["y"]
    assert (x.shape, y.shape) == ((4096, 6), (4096, 1))  # type: ignore[attr-defined]
    assert not np.isnan(y).any()  # type: ignore[call-overload]
    exec(keras_example.replace("epochs=3", "epochs=2, verbose=0"), names)
    losses = names["model"].history.history  # type: ignore[attr-defined]
    assert np.isfinite([losses["loss"], losses["val_loss"]]).all()
    assert len(names["validation"]) == 2  # type: ignore[arg-type]
    assert sum(len(y) for _, y in names["validation"]) == 20 * 300  # type: ignore[attr-defined]
    exec(own_model, names)
    assert names["build"](4, 2)(np.zeros((3, 4))).shape == (3, 2)  # type: ignore[operator]
    exec(numpy_example, names)
    assert names["x"].shape == (300, 12)  # type: ignore[attr-defined]
    assert isinstance(names["ds"], mt.Dataset)
