"""Tests of the doors: what each room imports, in fresh interpreters and by reading the code."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import memmap_train as mt

PACKAGE = Path(mt.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
HEAVY = ("pyarrow", "tensorflow", "keras", "pandas", "scipy", "matplotlib", "tqdm")


def loaded_after(code: str) -> set[str]:
    """Return the top-level packages that a fresh interpreter holds after running code."""
    code += "\nimport sys; print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def room(path: Path) -> str:
    """Return a module's place in the package: `order`, `parquet.reading`, `` for the package."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix("__init__")


def imports(path: Path) -> set[str]:
    """Return what a module imports anywhere: top-level packages, rooms with a leading dot."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add((node.module or "").split(".")[0])
        elif isinstance(node, ast.ImportFrom):
            names = [node.module] if node.module else [alias.name for alias in node.names]
            found |= {f".{name}" for name in names}
    return found


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


def test_narrowing_is_light(toys: dict[str, Path]) -> None:
    narrow = toys["int8"].parent / "narrow"
    code = f"""
import memmap_train as mt
mt.convert({str(toys["int8"])!r}, {str(narrow)!r}, feature_set="small", dtype="float32")
assert mt.open_dataset({str(narrow)!r}).feature_names
"""
    assert loaded_after(code).isdisjoint(HEAVY)


def test_converting_loads_pyarrow_but_no_tensorflow(toys: dict[str, Path]) -> None:
    source = toys["int8"].parent / "source.parquet"
    out = toys["int8"].parent / "converted again"
    loaded = loaded_after(f"import memmap_train as mt\nmt.convert({str(source)!r}, {str(out)!r})")
    assert "pyarrow" in loaded
    # pyarrow itself imports pandas, where that is installed.
    assert loaded.isdisjoint({"tensorflow", "keras", "scipy", "matplotlib"})


def test_the_command_line_is_light(toys: dict[str, Path]) -> None:
    """Until a command needs more: scipy alone would take half a second of each."""
    light = set(HEAVY) - {"tqdm"}
    assert loaded_after("import memmap_train.cli").isdisjoint(light)
    up_to_date = ["convert", str(toys["float32"].with_name("source.parquet"))]
    up_to_date += ["--out", str(toys["float32"])]
    up_to_date += ["--features-json", str(toys["float32"].with_name("features.json"))]
    code = f"from memmap_train.cli import main; assert main({up_to_date}) == 0"
    assert loaded_after(code).isdisjoint(light - {"pyarrow"})


def test_the_public_names_are_there_and_others_arent() -> None:
    assert set(mt.__all__) <= set(dir(mt))
    assert all(getattr(mt, name).__doc__ for name in mt.__all__)
    with pytest.raises(AttributeError, match="no attribute 'convrt'"):
        mt.convrt  # noqa: B018


# -- by reading the code --------------------------------------------------------------------------


@pytest.mark.parametrize("path", MODULES, ids=room)
def test_every_module_says_what_it_is_for(path: Path) -> None:
    assert (ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "").strip()


@pytest.mark.parametrize("path", MODULES, ids=room)
def test_heavy_guests_come_in_by_their_doors_only(path: Path) -> None:
    name, found = room(path), imports(path)
    assert found.isdisjoint({"pandas", "torch"})
    if not name.startswith("parquet"):
        assert "pyarrow" not in found
    if not name.startswith("training"):
        assert found.isdisjoint({"tensorflow", "keras"})


@pytest.mark.parametrize("name", ["order", "folds", "metrics", "config", "errors", "schema"])
def test_rooms_that_know_no_files_import_none_that_does(name: str) -> None:
    found = imports(PACKAGE / f"{name}.py")
    allowed = {".errors", ".paths", ".schema", ".thread_lock"}
    assert {i for i in found if i.startswith(".")} <= allowed
    assert found.isdisjoint({"os", "mmap"})


def test_imports_point_one_way() -> None:
    ranks = {"errors": 0, "schema": 1, "shard": 1, "manifest": 2, "dataset": 3, "batches": 4}
    for name, rank in ranks.items():
        for imported in imports(PACKAGE / f"{name}.py"):
            other = imported.removeprefix(".")
            if imported.startswith(".") and other in ranks:
                assert ranks[other] < rank, f"{name} imports {other}"
