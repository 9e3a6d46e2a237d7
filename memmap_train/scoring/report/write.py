"""`report`: the page of an evaluation, and pictures of its main charts, written to files.

Takes an `Evaluation`, or the names of what is to be evaluated; writes the page whole or not at all.
The only user of the chart library: Vega-Lite, whose JavaScript `vl_convert` brings. It is imported
when a page is written.
"""

import datetime
import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...dataset.format import FILE_NAME
from ...dataset.manifest_file import enclosing_dataset
from ...errors import DependencyError, RunError
from ...progress import ProgressOption
from ...runs.files import replacing
from ...runs.run import Run
from ...system.paths import checked_path, user_path
from ...text import counted, in_bytes
from ..evaluate import evaluate
from ..evaluation import Evaluation
from ..files import why_unwritable
from ..inputs import found_models
from .chart import cell_rows
from .page import page_html
from .sections import main_charts
from .specification import as_picture
from .subject import Subject, subject_of

_SUFFIXES = (".html", ".htm")
_GENERATOR = b'name="generator" content="memmap-train"'
_HEAD_BYTES = 1000  # in which a page of ours says that it is one
_VEGA_LITE = "6.4"
_LIBRARY = "window.vegaEmbed = vegaEmbed;"
_DOTS = 2.0  # pixels of a picture for each pixel of the page
_COLOURS = {
    "card": "#ffffff",
    "ink": "#17212b",
    "muted": "#5a6673",
    "grid": "#e8ebef",
    "embargo": "#8a939d",
    "benchmark": "#56616d",
    "c0": "#0072b2",
    "c1": "#d55e00",
    "c2": "#009e73",
    "c3": "#b0568c",
    "c4": "#b87d00",
    "c5": "#2f8fc7",
}
"""The colours of a light page, as `report.css` has them."""


@dataclass(frozen=True, slots=True)
class WrittenReport:
    """The files of a report.

    Attributes
    ----------
    path : Path
        The page.
    pictures : tuple of Path
    n_models, n_eras : int
        Models without the benchmark's own scores, and eras that are scored in all.
    """

    path: Path
    pictures: tuple[Path, ...]
    n_models: int
    n_eras: int


def report(
    names: Sequence[str],
    out_path: str | os.PathLike[str],
    *,
    png: bool = False,
    progress: ProgressOption = None,
    **options: Any,
) -> WrittenReport:
    """Evaluate what is named, and write the page.

    Parameters
    ----------
    names : sequence of str
        Paths of runs and of files of predictions; the last one is the dataset if it holds
        ``manifest.json``. Otherwise the dataset is the one that the runs were trained on.
    out_path : path
        A file whose name ends in .html.
    png : bool
        Whether to write pictures of the main charts beside it.
    progress : bool or callable(what, done, total), optional
        The same as for `evaluate`.
    **options
        Options of `evaluate`: targets, benchmark, meta_model, neutral_to, eras.

    Raises
    ------
    RunError
        The page can't be written, or nothing to evaluate is named.
    DependencyError
        The extra `report` isn't installed.
    MemmapTrainError
        Errors of `evaluate`.
    """
    path = report_path(out_path)
    _chart_library()
    models, dataset = _divided(names)
    evaluation = evaluate(models, dataset, details=True, progress=progress, **options)
    return write_report(evaluation, path, png=png)


def write_report(
    evaluation: Evaluation, out_path: str | os.PathLike[str], *, png: bool = False
) -> WrittenReport:
    """Write the page of an evaluation; see `report`."""
    path, library = report_path(out_path), _chart_library()
    subject = subject_of(evaluation)
    written = datetime.datetime.now(datetime.UTC)
    bundle = library.javascript_bundle(_LIBRARY, vl_version=_VEGA_LITE)
    page = page_html(subject, bundle, written).encode()
    pictures = _pictures(subject, library, path) if png else {}
    try:
        with ExitStack() as files:  # they replace old ones when all are written, the page last
            for file, content in [(path, page), *pictures.items()]:
                files.enter_context(replacing(file)).write_bytes(content)
    except OSError as error:
        raise _unwritable(path, why_unwritable(error)) from error
    n_eras = len({era for model in evaluation.models for era in model.eras})
    return WrittenReport(path, tuple(pictures), len(evaluation.models), n_eras)


def written_text(written: WrittenReport) -> str:
    """Return what was written as lines of text."""
    size = in_bytes(written.path.stat().st_size)
    lines = [
        f"{written.path}: {counted(written.n_models, 'model')}, "
        f"{counted(written.n_eras, 'era')} ({size})"
    ]
    return "\n  ".join([*lines, *map(str, written.pictures)])


def report_path(out_path: str | os.PathLike[str]) -> Path:
    """Check that a page can be written to a path, before anything is evaluated; return the path.

    Raises
    ------
    RunError
        It lies in a dataset, isn't a plain file, can't be written to, or holds anything else.
    """
    path = checked_path(out_path, RunError)
    plain = Path(os.path.realpath(path))
    try:
        if plain.is_dir():
            raise _unwritable(path, f"it is a folder; name a file, such as {path / 'report.html'}")
        if plain.suffix.lower() not in _SUFFIXES:
            raise _unwritable(path, "expected a name that ends in .html")
        dataset = enclosing_dataset(plain)
        if dataset is not None:
            raise _unwritable(
                path,
                f"it lies in the dataset {dataset}, which holds nothing but shards; name a file "
                "elsewhere",
            )
        if not plain.parent.is_dir():
            raise _unwritable(path, f"there is no folder {plain.parent}; make it, or name another")
        if plain.exists() and not _is_ours(plain):
            raise _unwritable(path, "it is there and is no report; remove it, or name another file")
        if not os.access(plain if plain.exists() else plain.parent, os.W_OK):
            raise _unwritable(path, "it is write-protected; name another file")
    except OSError as error:
        if isinstance(error, RunError):
            raise
        raise _unwritable(path, why_unwritable(error)) from error
    return path if path == plain or not path.is_symlink() else plain


def _is_ours(file: Path) -> bool:
    """Return True if a file may be replaced: it is empty, or a page of this module."""
    if not file.is_file():
        return False
    with open(file, "rb") as opened:
        head = opened.read(_HEAD_BYTES)
    return not head or _GENERATOR in head


def _divided(names: Sequence[str]) -> tuple[list[str], Path]:
    """Return the models and the dataset that are named, or that the runs were trained on."""
    *models, last = names
    if (checked_path(last, RunError) / FILE_NAME).is_file():
        if not models:
            raise RunError(
                f"{last}: it is a dataset, and nothing is named that could be scored on it; name a "
                "run or a file of predictions before it"
            )
        return models, user_path(last)
    runs = [model for model in found_models(names).values() if isinstance(model, Run)]
    datasets = dict.fromkeys(run.record.dataset for run in runs)
    if len(datasets) == 1:
        return list(names), Path(next(iter(datasets)))
    found = "the runs were trained on several" if datasets else "a file doesn't say which is meant"
    raise RunError(f"{last}: no dataset is named, and {found}; name one at the end")


def _chart_library() -> Any:
    """Return the module that has the chart library."""
    try:
        import vl_convert
    except ImportError as error:
        raise DependencyError(
            f"the charts of a report need vl-convert-python, which can't be imported ({error}): "
            "pip install 'memmap-train[report]'"
        ) from error
    return vl_convert


def _pictures(subject: Subject, library: Any, page: Path) -> dict[Path, bytes]:
    """Return the PNG files of the main charts, by their paths beside the page."""
    rows, names = list(subject.rows()), [model.name for model in subject.models]
    found = {}
    for chart in main_charts(subject):
        own = rows if chart.cells is None else cell_rows(chart.cells)
        spec = as_picture(chart, own, subject.frame, names, _COLOURS)
        path = page.with_name(f"{page.stem}-{chart.name}.png")
        found[path] = library.vegalite_to_png(spec, vl_version=_VEGA_LITE, scale=_DOTS)
    return found


def _unwritable(path: Path, found: str) -> RunError:
    return RunError(f"{path}: the report can't be written: {found}")
