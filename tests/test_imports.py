"""Tests of what each module imports, in fresh interpreters and by reading the code."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

import memmap_train as mt

PACKAGE = Path(mt.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
HEAVY = (
    "torch",
    "pyarrow",
    "tensorflow",
    "keras",
    "pandas",
    "pydantic",
    "scipy",
    "matplotlib",
    "vl_convert",
    "tqdm",
    "numerapi",
    "numerai_tools",
    "requests",
)


def loaded_after(code: str) -> set[str]:
    """Return the top-level packages that a fresh interpreter has imported after running code."""
    code += "\nimport sys; print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def module_name(path: Path) -> str:
    """Return the dotted name of a module or package inside this package; "" for this package."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


@cache
def imports(path: Path) -> tuple[set[str], set[str]]:
    """Return all imports of a module: top-level packages, and modules of this package."""
    others, ours = set(), set()
    package = path.relative_to(PACKAGE).parts[:-1]
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            others |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            top, _, inside = (node.module or "").partition(".")
            if top == PACKAGE.name:
                ours |= {f"{inside}.{alias.name}".lstrip(".") for alias in node.names}
            else:
                others.add(top)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - (node.level - 1)]
            named = [*base, *(node.module or "").split(".")]
            ours |= {".".join([*filter(None, named), alias.name]) for alias in node.names}
    return others, ours


# -- in fresh interpreters ------------------------------------------------------------------------


def test_importing_the_package_is_light() -> None:
    loaded = loaded_after("import memmap_train")
    assert "memmap_train" in loaded
    assert loaded.isdisjoint((*HEAVY, "numpy"))


def test_reading_a_dataset_is_light(toys: dict[str, Path]) -> None:
    code = f"""
import memmap_train as mt
dataset = mt.open_dataset({str(toys["int8"])!r})
assert list(mt.verify(dataset.path)) == []
batches = mt.Batches(dataset, batch_size=20, seed=0)
assert len(list(batches)) == len(batches)
batches[3]
"""
    assert loaded_after(code).isdisjoint(HEAVY)


def test_converting_a_dataset_is_light(toys: dict[str, Path]) -> None:
    subset = toys["int8"].parent / "subset"
    code = f"""
import memmap_train as mt
mt.convert({str(toys["int8"])!r}, {str(subset)!r}, feature_set="small", dtype="float32")
assert mt.open_dataset({str(subset)!r}).feature_names
"""
    assert loaded_after(code).isdisjoint(HEAVY)


def test_converting_loads_pyarrow_but_no_tensorflow(toys: dict[str, Path]) -> None:
    source = toys["int8"].parent / "source.parquet"
    out = toys["int8"].parent / "converted again"
    loaded = loaded_after(f"import memmap_train as mt\nmt.convert({str(source)!r}, {str(out)!r})")
    assert "pyarrow" in loaded
    # pyarrow itself imports pandas, where that is installed.
    assert loaded.isdisjoint({"tensorflow", "keras", "pydantic", "scipy", "matplotlib"})


def test_the_command_line_is_light(toys: dict[str, Path]) -> None:
    """Commands import what they need: scipy would add half a second to each."""
    light = set(HEAVY) - {"tqdm"}
    assert loaded_after("import memmap_train.cli.commands").isdisjoint(light)
    up_to_date = ["convert", str(toys["float32"].with_name("source.parquet"))]
    up_to_date += ["--out", str(toys["float32"])]
    up_to_date += ["--features-json", str(toys["float32"].with_name("features.json"))]
    code = f"from memmap_train.cli.commands import main; assert main({up_to_date}) == 0"
    assert loaded_after(code).isdisjoint(light - {"pyarrow"})


@pytest.mark.parametrize("command", ["inspect", "verify", "status", "bench", "plan"])
def test_commands_that_train_nothing_load_no_pydantic(command: str, toys: dict[str, Path]) -> None:
    path = toys["int8"].parent / "source.parquet" if command == "plan" else toys["int8"]
    arguments = [command, str(path)] + (["--batch-size", "20"] if command == "bench" else [])
    code = f"""
import contextlib, io
from memmap_train.cli.commands import main
from memmap_train.loading import rates
rates._COPIED_BYTES, rates._DISK_SECONDS = 1_000_000, 0.02
with contextlib.redirect_stdout(io.StringIO()):
    assert main({arguments}) == 0
"""
    assert loaded_after(code).isdisjoint({"pydantic", "tensorflow", "keras"})


@pytest.mark.parametrize("module", [mt, mt.types], ids=lambda module: module.__name__)
def test_the_lists_of_a_lazy_module_agree(module: ModuleType) -> None:
    """What it exports, what it imports lazily, and what a type checker sees."""
    assert module.__file__ is not None
    (seen_by_checkers,) = (
        node.body
        for node in ast.parse(Path(module.__file__).read_text("utf-8")).body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    assert {
        alias.name: node.module
        for node in seen_by_checkers
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    } == module._HOMES
    assert set(module.__all__) - {"__version__", "types"} == module._HOMES.keys()
    assert module.__all__ == sorted(module.__all__)
    assert set(module.__all__) <= set(dir(module))
    assert all(getattr(module, name).__doc__ for name in module.__all__)
    with pytest.raises(AttributeError, match="no attribute 'convrt'"):
        getattr(module, "convrt")  # noqa: B009


def test_naming_a_type_is_light() -> None:
    code = (
        "from memmap_train.types import Batch, Problem, Progress, Report, Reporter, Stream, Summary"
    )
    assert loaded_after(code).isdisjoint(HEAVY)


def test_reading_a_run_needs_no_tensorflow() -> None:
    code = "from memmap_train.types import Predictions, TrainedRun; import memmap_train as mt; "
    code += "mt.train, mt.predict, mt.open_run, mt.TrainConfig, mt.walk_forward"
    assert loaded_after(code).isdisjoint(set(HEAVY) - {"pydantic"})


# -- by reading the code --------------------------------------------------------------------------

FLAT = {"arguments", "arrays", "errors", "progress", "text", "types", "_lazy", "_version"}
"""Modules that any folder may import: words, and types that the caller of any folder may pass."""

TABLE = {
    "cli": {"conversion", "dataset", "loading", "numerai", "runs", "scoring", "system", "training"},
    "conversion": {"dataset", "system"},
    "dataset": {"system"},
    "loading": {"dataset", "system"},
    "numerai": {"dataset", "runs", "system", "training"},
    "runs": {"dataset", "system"},
    "scoring": {"dataset", "loading", "runs", "system"},
    "system": set(),
    "training": {"dataset", "loading", "runs", "system"},
}
"""The folders that the modules of each folder may import from."""

EXCEPTIONS = {
    "conversion.sample_writer": {"runs.scores.metrics"},  # the best score that is possible
    "numerai.download.whole": {"conversion.parquet.file"},  # to read a footer
    "numerai.export.live_rows": {  # to read and to write a live file
        "conversion.parquet.file",
        "conversion.parquet.handle",
        "conversion.parquet.writer",
    },
    "numerai.submission.live_ids": {  # to read ids
        "conversion.parquet.file",
        "conversion.parquet.handle",
        "conversion.parquet.row_labels",
    },
    "numerai.submission.prediction_file": {  # to read a file
        "conversion.parquet.file",
        "conversion.parquet.prediction_columns",
        "conversion.parquet.prediction_reader",
    },
    "numerai.week.dataset": {"conversion.conversion", "conversion.report"},  # to update it
    "numerai.week.live": {"conversion.conversion"},  # to convert the live rows
    "scoring.inputs": {"training.prediction.predictions"},  # what `predict` returns
    "scoring.model_predictions": {
        "conversion.parquet.prediction_reader",  # to read a file
        "training.prediction.predictions",
    },
    "scoring.run_predictions": {"training.prediction.predict"},  # to predict a run
    "training.prediction.prediction_file": {"conversion.parquet.predictions"},  # to write a file
}
"""Modules that a module may import from, beyond the table."""


def test_every_module_has_a_docstring() -> None:
    without = [path for path in MODULES if not (ast.get_docstring(parsed(path)) or "").strip()]
    assert without == []


@pytest.mark.parametrize(
    ("packages", "permitted"),
    [
        # Other interpreters run the former, and Numerai's validators take its frames.
        ({"pandas"}, ("numerai.export.processes.", "numerai.submission.checks.")),
        ({"torch"}, ("loading.torch_batches.",)),
        ({"pyarrow"}, ("conversion.parquet.",)),
        (
            {"tensorflow", "keras"},
            ("training.", "numerai.export.processes.", "numerai.export.model_upload."),
        ),
        ({"numerapi", "numerai_tools", "requests", "cloudpickle"}, ("numerai.",)),
        ({"vl_convert"}, ("scoring.report.write.",)),
    ],
)
def test_each_heavy_package_is_imported_by_one_folder(
    packages: set[str], permitted: tuple[str, ...]
) -> None:
    users = {f"{module_name(path)}." for path in MODULES if imports(path)[0] & packages}
    assert users  # the names of the packages are right
    assert {user for user in users if not user.startswith(permitted)} == set()


def test_the_table_of_imports_lists_every_folder() -> None:
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert folders == TABLE.keys()
    assert {path.stem for path in PACKAGE.glob("*.py")} == FLAT | {"__init__", "__main__"}
    names = {module_name(path) for path in MODULES}
    assert names >= EXCEPTIONS.keys() | set.union(*EXCEPTIONS.values())


def test_the_page_decoder_is_used_through_its_facade() -> None:
    folder = "conversion.parquet.dictionary_codes."
    inside = tuple(module for module in map(module_name, MODULES) if module.startswith(folder))
    assert inside
    users = {
        module_name(path)
        for path in MODULES
        if any(imported.startswith(inside) for imported in imports(path)[1])
    }
    assert users  # of its own modules
    assert {user for user in users if not user.startswith(folder.rstrip("."))} == set()


def test_all_imports_follow_the_table() -> None:
    forbidden = [
        f"{module_name(path)} imports {imported}"
        for path in MODULES
        for imported in imports(path)[1]
        if not is_permitted(module_name(path), imported)
    ]
    assert forbidden == []


def is_permitted(name: str, imported: str) -> bool:
    """Return True if a module may import something of this package."""
    folder, inside = name.partition(".")[0], imported.partition(".")[0]
    if folder not in TABLE:
        return True
    flat = {"errors", "_version"} if folder == "system" else FLAT
    exceptions = EXCEPTIONS.get(name, set())
    return inside in {folder} | TABLE[folder] | flat or any(
        imported.startswith(f"{other}.") for other in exceptions
    )


@pytest.mark.parametrize(
    "name",
    [
        "dataset.eras",
        "loading.era_sampler",
        "loading.era_schedule",
        "loading.pool_steps",
        "loading.sampler",
        "loading.window_grid",
        "loading.window_sampler",
        "runs.folds.embargo",
        "runs.folds.fold",
        "runs.folds.folds",
        "runs.scores.metrics",
        "runs.scores.summary",
        "runs.folds.validation_eras",
        "text",
    ],
)
def test_pure_modules_touch_no_files(name: str) -> None:
    others, ours = imports(PACKAGE.joinpath(*name.split(".")).with_suffix(".py"))
    assert others.isdisjoint({"os", "mmap", "pathlib"})
    permitted = {"arguments", "arrays", "dataset.eras", "errors", "loading.sampler", "text"}
    permitted |= {"loading.era_schedule", "loading.pool_steps", "loading.window_grid"}
    permitted |= {
        "system.thread_lock",
        "runs.folds.embargo",
        "runs.folds.fold",
        "runs.folds.validation_eras",
    }
    assert {i.rpartition(".")[0] for i in ours} <= permitted
