"""Tests of all READMEs: their commands, flags, files, keys, links and examples exist and work."""

import argparse
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import memmap_train as mt
from memmap_train.cli.parser import make_parser
from memmap_train.conversion.sample import write_sample
from memmap_train.runs.configuration.config import TrainConfig
from memmap_train.runs.request import read_request
from memmap_train.runs.sweeps.space import sweep_space
from memmap_train.scoring.era_table import ERA_COLUMNS

ROOT = Path(__file__).parent.parent
TOP = "README.md"
DOCUMENTS = {
    path.relative_to(ROOT).as_posix(): path.read_text()
    for path in (
        ROOT / TOP,
        ROOT / "data/README.md",
        *sorted(ROOT.glob("memmap_train/**/README.md")),
        *sorted(ROOT.glob("tests/**/README.md")),
    )
}
ALL = "\n".join(DOCUMENTS.values())
DATASET = "memmap_train/dataset/README.md"
LOADING = "memmap_train/loading/README.md"
SCORING = "memmap_train/scoring/README.md"
TRAINING = "memmap_train/training/README.md"
FLAGS_OF_OTHER_PROGRAMS = {"--logdir", "--user", "--now"}  # TensorBoard's, systemctl's


def blocks(language: str, text: str = ALL) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def code_spans() -> list[str]:
    prose = re.sub(r"```.*?```", "", ALL, flags=re.DOTALL)
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose)]


def subparsers() -> dict[str, argparse.ArgumentParser]:
    for action in make_parser()._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    raise AssertionError


def flags_of(parser: argparse.ArgumentParser) -> set[str]:
    return {flag for action in parser._actions for flag in action.option_strings}


def flags_in(text: str) -> set[str]:
    return set(re.findall(r"(?<![\w-])--[a-z][\w-]*", text))


def commands() -> list[str]:
    """Return all shell lines; in a notebook they begin with an exclamation mark."""
    lines = [line.split("#")[0].strip() for block in blocks("sh") for line in block.splitlines()]
    return [line.removeprefix("!").removeprefix(".venv/bin/") for line in lines if line]


def parse(arguments: list[str]) -> None:
    """Parse a command; one that only prints help ends there."""
    if "--help-config" in arguments:
        with pytest.raises(SystemExit) as caught:
            make_parser().parse_args(arguments)
        assert caught.value.code == 0
    else:
        make_parser().parse_args(arguments)


def test_every_command_line_can_be_parsed() -> None:
    lines = [line for line in commands() if line.startswith("memmap-train ")]
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
        if arguments and "…" not in span:
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


def test_the_documented_configuration_is_valid(tmp_path: Path) -> None:
    *texts, of_a_sweep = blocks("toml", DOCUMENTS[TRAINING])
    assert len(texts) == 2
    (tmp_path / "sweep.toml").write_text(of_a_sweep)
    request = read_request(tmp_path / "run", tmp_path / "sweep.toml", [], None, resume=False)
    assert len(sweep_space(request.swept or {}, None).settings(0)) == 12
    for text in texts:
        path = tmp_path / "run.toml"
        path.write_text(text)
        assert len(tomllib.loads(text)) >= 5
        assert TrainConfig.load(path) != TrainConfig()


def test_the_tree_names_every_module() -> None:
    text = DOCUMENTS["memmap_train/README.md"]
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


def links() -> Iterator[tuple[Path, str]]:
    for name, text in DOCUMENTS.items():
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            path, _, anchor = target.partition("#")
            yield (ROOT / name).parent / path, anchor


def test_every_link_has_a_target() -> None:
    found = list(links())
    assert len(found) > 10
    for path, anchor in found:
        assert path.exists(), path
        if anchor:
            titles = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
            assert anchor in [title.lower().replace(" ", "-") for title in titles]


def test_every_readme_is_linked_from_another_one() -> None:
    linked = {path.resolve() for path, _ in links()}
    assert {(ROOT / name).resolve() for name in DOCUMENTS} - linked == {ROOT / TOP}


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


def test_every_python_example_is_tested() -> None:
    examples = {name: len(blocks("python", text)) for name, text in DOCUMENTS.items()}
    assert {name: n for name, n in examples.items() if n} == {
        TOP: 3,
        DATASET: 2,
        LOADING: 3,
        SCORING: 1,
        TRAINING: 4,
    }


@pytest.fixture
def downloaded(sampled: Path) -> Path:
    """Move the sample's files to where the README has the user put Numerai's."""
    (sampled / "data").mkdir()
    for file in [path for path in sampled.iterdir() if path.is_file()]:
        file.rename(sampled / "data" / file.name)
    return sampled / "data"


def top_examples() -> dict[str, str]:
    _, *examples = blocks("python", DOCUMENTS[TOP])  # test_week_page.py runs the first
    return dict(zip(("numpy", "keras"), examples, strict=True))


def convert_downloaded(data: Path) -> None:
    sources = [data / "train.parquet", data / "validation.parquet"]
    mt.convert(sources, data / "shards", features_json=data / "features.json")


def test_the_numpy_example_at_the_top_reads_arrays(downloaded: Path) -> None:
    convert_downloaded(downloaded)
    names: dict[str, Any] = {}
    exec(top_examples()["numpy"], names)
    assert names["codes"].shape == (300, 12)
    assert names["x"].dtype == names["y"].dtype == np.float32
    assert (len(names["x"]), len(names["ids"]), names["y"].shape) == (600, 600, (600, 1))


def test_the_keras_example_at_the_top_validates_on_every_row(downloaded: Path) -> None:
    pytest.importorskip("keras")
    convert_downloaded(downloaded)
    names: dict[str, Any] = {}
    exec(top_examples()["keras"].replace("epochs=3", "epochs=2, verbose=0"), names)
    losses = names["model"].history.history
    assert np.isfinite([losses["loss"], losses["val_loss"]]).all()
    assert len(names["validation"]) == 2
    assert sum(len(y) for _, y in names["validation"]) == 20 * 300


def test_the_torch_example_validates_on_every_row(downloaded: Path) -> None:
    torch = pytest.importorskip("torch")
    convert_downloaded(downloaded)
    names: dict[str, Any] = {}
    exec(blocks("python", DOCUMENTS[LOADING])[2].replace("range(3)", "range(2)"), names)
    assert torch.isfinite(names["errors"]).all()
    assert names["errors"].shape == (20 * 300, 1)


def test_the_examples_of_a_dataset_run(sampled: Path) -> None:
    opening, numpy_example = blocks("python", DOCUMENTS[DATASET])
    names: dict[str, Any] = {}
    exec(opening, names)
    assert isinstance(names["ds"], mt.Dataset)
    assert len(names["train"]) == 60 - len(unlabelled()) - 20
    assert mt.verify("data/shards") == mt.verify("data/small") == []
    exec(numpy_example, names)
    assert names["x"].shape == (300, 12)


def unlabelled() -> set[str]:
    ds = mt.open_dataset("data/shards")
    return set(ds) - set(ds.labelled_eras("target"))


def test_the_example_of_batches_runs(sampled: Path) -> None:
    sources = [sampled / "train.parquet", sampled / "validation.parquet"]
    mt.convert(sources, "data/shards", features_json="features.json")
    assert unlabelled()
    of_rows, of_eras, _ = blocks("python", DOCUMENTS[LOADING])
    names: dict[str, Any] = {}
    exec(of_rows, names)
    x, y = names["x"], names["y"]
    assert (x.shape, y.shape) == ((4096, 6), (4096, 1))
    assert not np.isnan(y).any()
    exec(of_eras.replace("512", "64"), names)
    assert names["x"].shape == (4 * 300, 12)
    assert names["by_era"][123][0].shape == (8 * 64, 12)
    assert len(set(names["by_era"].eras_of(123))) == 8
    assert len(names["recent"]) == len(names["by_era"])


def test_the_example_of_a_users_loss_can_be_trained_with(
    downloaded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("keras")
    convert_downloaded(downloaded)
    own_loss, *_ = blocks("python", DOCUMENTS[TRAINING])
    (downloaded / "my_losses.py").write_text(own_loss)
    monkeypatch.syspath_prepend(downloaded)
    config = TrainConfig(loss="my_losses:trimmed", epochs=1, batch_size=256)
    run = mt.train("data/shards", "runs/own", config)
    assert 0 < run.history["loss"][0] < 0.1


def test_the_example_of_a_user_model_can_be_built() -> None:
    pytest.importorskip("keras")
    _, own_model, *_ = blocks("python", DOCUMENTS[TRAINING])
    names: dict[str, Any] = {}
    exec(own_model, names)
    assert names["build"](4, 2)(np.zeros((3, 4))).shape == (3, 2)


def test_the_example_of_training_in_python_runs(downloaded: Path) -> None:
    pytest.importorskip("keras")
    convert_downloaded(downloaded)
    *_, example, of_a_sweep = blocks("python", DOCUMENTS[TRAINING])
    names: dict[str, Any] = {}
    exec(example.replace("epochs=20", "epochs=1, batch_size=256"), names)
    of_a_sweep = of_a_sweep.replace("epochs=4", "epochs=1, batch_size=256")
    exec(of_a_sweep.replace("[0, 1, 2]", "[0]"), names)
    assert [len(row["trials"]) for row in names["found"].table()] == [1, 1]
    assert len(names["run"].folds) == 3
    assert np.isfinite(names["scores"]["numerai_corr"]).all()
    written = pq.read_table("out-of-fold.parquet")
    assert set(written["era"].to_pylist()) >= set(names["scores"]["era"].tolist())


def test_the_example_of_an_evaluation_runs(downloaded: Path) -> None:
    pytest.importorskip("keras")
    convert_downloaded(downloaded)
    run = mt.train("data/shards", "runs/first", TrainConfig(epochs=1, batch_size=256))
    mt.predict(run, "data/shards").to_csv("predictions.csv")
    (example,) = blocks("python", DOCUMENTS[SCORING])
    names: dict[str, Any] = {}
    exec(example, names)
    scores = names["evaluation"].models[0].by_target["target"]
    assert scores.statistics("corr").mean == pytest.approx(run.result.corr.mean)
    assert names["evaluation"].difference("predictions", "first").mean == pytest.approx(0)
    assert len(Path("scores/era_scores.csv").read_text().splitlines()) > len(scores.corr)


def test_the_columns_of_an_evaluation_are_documented() -> None:
    assert f"`{','.join(ERA_COLUMNS)}`" in DOCUMENTS[SCORING]
