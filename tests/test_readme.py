"""Tests of all READMEs: their commands, flags, files, keys and links exist."""

import re
import shlex
import tomllib
from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from memmap_train.cli.parser import make_parser
from memmap_train.runs.configuration.config import TrainConfig
from memmap_train.runs.configuration.model_params import built_in_params
from memmap_train.runs.request import SWEEP, Request, read_request
from memmap_train.runs.sweeps.space import SweepSpace, sweep_space
from memmap_train.scoring.era_table import ERA_COLUMNS
from tests.support.readmes import (
    ALL,
    ALL_OF_TRAINING,
    DOCUMENTS,
    PACKAGE,
    ROOT,
    SCORING,
    SWEEPS,
    TOP,
    TRAINING,
    anchors,
    blocks,
    code_spans,
    commands,
    flags_in,
    flags_of,
    links,
    subparsers,
    without_blocks,
)

FLAGS_OF_OTHER_PROGRAMS = {"--logdir", "--user", "--now"}  # TensorBoard's, systemctl's
KEYS = {field.name for field in fields(TrainConfig)}


def parse(arguments: list[str]) -> None:
    """Parse a command; one that only prints help ends there."""
    if "--help-config" in arguments:
        with pytest.raises(SystemExit) as caught:
            make_parser().parse_args(arguments)
        assert caught.value.code == 0
    else:
        make_parser().parse_args(arguments)


def lines_of(program: str) -> list[str]:
    return [line for line in commands() if line.startswith(f"{program} ")]


def test_every_command_line_can_be_parsed() -> None:
    lines = lines_of("memmap-train")
    assert len(lines) >= 20
    for line in lines:
        parse(shlex.split(line)[1:])


def test_every_command_in_the_text_can_be_parsed() -> None:
    spans = [span for span in code_spans() if span.startswith("memmap-train ")]
    assert len(spans) >= len(subparsers())
    for span in spans:
        _, name, *arguments = shlex.split(span)
        assert name in subparsers(), span
        assert flags_in(span) <= flags_of(subparsers()[name]), span
        if arguments and "…" not in span and not re.search(r"\b(DATASET|RUN|DIR)\b", span):
            parse([name, *arguments])


def test_every_shell_line_is_memmap_train_or_make() -> None:
    makefile = (ROOT / "Makefile").read_text()
    made = [line for line in (*commands(), *code_spans()) if re.match(r"make( |$)", line)]
    assert len(made) >= 10
    for line in commands():
        assert shlex.split(line)[0] in ("make", "memmap-train", "pip")
    for line in made:
        arguments = shlex.split(line)[1:]
        target = next((a for a in arguments if "=" not in a), "help")
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), line
        for variable in (a.split("=")[0] for a in arguments if "=" in a):
            assert f"$({variable})" in makefile or f"$(if $({variable})" in makefile


def test_every_command_and_flag_is_described() -> None:
    for name, parser in subparsers().items():
        assert f"`memmap-train {name} " in DOCUMENTS[TOP]
        about = "\n".join(text for text in DOCUMENTS.values() if f"memmap-train {name} " in text)
        for flag in flags_of(parser) - {"-h", "--help"}:
            assert flag in flags_in(about), f"{name} {flag}"


def test_every_named_flag_exists() -> None:
    known = flags_of(make_parser()).union(*map(flags_of, subparsers().values()))
    known |= flags_in((ROOT / "tests/benchmarks/__main__.py").read_text())
    assert flags_in(ALL) <= known | FLAGS_OF_OTHER_PROGRAMS


def asked_for(
    overrides: list[str], config: Path | None = None
) -> tuple[Request, SweepSpace | None]:
    """Return what a training would be asked for, with each key and value checked."""
    request = read_request(Path("no-run"), config, overrides, None, resume=False)
    swept = request.swept is not None and sweep_space(request.swept, request.n_runs)
    return request, swept or None


def test_the_documented_configurations_are_valid(tmp_path: Path) -> None:
    texts = blocks("toml", ALL_OF_TRAINING)
    assert len(texts) >= 3
    for text in texts:
        path = tmp_path / "run.toml"
        path.write_text(text)
        request, swept = asked_for([], path)
        assert request.config != TrainConfig()
        assert (swept is None) == (SWEEP not in tomllib.loads(text))


def test_the_sweep_of_the_example_has_a_trial_for_each_combination(tmp_path: Path) -> None:
    (text,) = blocks("toml", DOCUMENTS[SWEEPS])
    (tmp_path / "sweep.toml").write_text(text)
    _, swept = asked_for([], tmp_path / "sweep.toml")
    assert swept is not None
    assert len(swept.settings(0)) == 12


def test_every_key_that_a_command_sets_is_valid() -> None:
    spans = [span for span in code_spans() if span.startswith("--set ")]
    n_keys = 0
    for line in (*lines_of("memmap-train train"), *spans):
        words = shlex.split(line)
        overrides = [value for word, value in pairwise(words) if word == "--set"]
        overrides = [text for text in overrides if text not in ("KEY=VALUE", "key=value")]
        n_keys += len(overrides)
        asked_for(overrides)
    assert n_keys >= 30


def test_every_value_of_a_key_in_the_text_is_valid() -> None:
    found = [re.fullmatch(r"([a-z_.]+) = (.+)", span) for span in code_spans(ALL_OF_TRAINING)]
    settings = [(match[1], match[2]) for match in found if match]
    assert len(settings) >= 20
    for key, text in settings:
        value = tomllib.loads(f"x = {text}")["x"]
        if isinstance(value, dict):
            asked_for([f"sweep.{key}={text}", "sweep_runs=20"])
        elif key.startswith(SWEEP):
            asked_for([f"{key}={text}", "sweep.dropout={min = 0.1, max = 0.2}", "sweep_runs=1"])
        elif key in KEYS:
            check_value(key, value)
        else:
            assert built_in_params("tabm", {key: value})


def check_value(key: str, value: Any) -> None:
    """Check one key beside those that others need: batches of eras, and two targets."""
    TrainConfig(**{"eras_per_batch": 8, "targets": ["target", "target_alpha_60"], key: value})


def test_every_key_of_the_configuration_is_in_its_table() -> None:
    text = DOCUMENTS[TRAINING]
    table = text[text.index("| keys | what they decide ") :].split("\n\n")[0]
    assert {span for row in table.splitlines() for span in code_spans(row.split("|")[1])} == KEYS


def test_the_tree_names_every_module() -> None:
    text = DOCUMENTS[PACKAGE]
    tree = text[text.index("\nMakefile  ") : text.index("\ntests/  ")]
    for path in (ROOT / "memmap_train").rglob("*.py"):
        if not path.name.startswith("_"):
            assert path.name in tree, path
    for name in re.findall(r"(\w+\.py)", tree):
        assert list((ROOT / "memmap_train").rglob(name)), name


def test_the_short_tree_names_every_folder() -> None:
    text = DOCUMENTS[TOP]
    tree = text[text.index("\nmemmap_train/\n") : text.index("\ntests/  ")]
    folders = {path.parent.name for path in (ROOT / "memmap_train").glob("*/__init__.py")}
    assert set(re.findall(r"^  (\w+)/", tree, re.MULTILINE)) == folders


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_link_has_a_target(name: str) -> None:
    for path, anchor in links(name):
        assert path.exists(), path
        if anchor:
            assert anchor in anchors(path.read_text()), f"{path}#{anchor}"


def test_titles_have_the_anchors_that_github_gives_them() -> None:
    text = "# A run's folder\n```\n# no title\n```\n## Batches of rows, batches of eras"
    assert anchors(text) == ["a-runs-folder", "batches-of-rows-batches-of-eras"]


@pytest.mark.parametrize("name", [name for name in DOCUMENTS if name != TOP])
def test_every_readme_is_linked_from_that_of_the_folder_around_it(name: str) -> None:
    around = (Path(name).parent.parent, *Path(name).parent.parent.parents)
    nearest = next(path for folder in around if (path := f"{folder / TOP}") in DOCUMENTS)
    assert (ROOT / name).resolve() in {path for path, _ in links(nearest)}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_readme_begins_with_a_sentence(name: str) -> None:
    title, first, *_ = without_blocks(DOCUMENTS[name]).split("\n\n")
    assert re.fullmatch(r"# .+", title)
    assert re.match(r"[\w`&].*[.:]$", first, re.DOTALL)


def test_every_variable_of_the_makefile_is_shown_at_its_top() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for name in ("SOURCE", "DATASET", "RUN", "DTYPE", "FEATURES_JSON", "FEATURE_SET", "TARGET"):
        assert re.search(rf"^#.*\b{name}=", makefile, re.MULTILINE)


def test_the_columns_of_an_evaluation_are_documented() -> None:
    assert f"`{','.join(ERA_COLUMNS)}`" in DOCUMENTS[SCORING]
