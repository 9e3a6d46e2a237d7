"""What runs of folds and runs of seeds have in common: they consist of runs.

Each of these runs lies in the folder of the one, and is trained after the one before it. Takes a
run; yields what its parts are trained on, and ends it. One of several parts that is finished stays
as it is when the run is resumed.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from ...dataset.dataset import Dataset
from ...errors import RunError
from ...runs.files import results_unwritable
from ...runs.folds.selection import reopened
from ...runs.reports.reporter import Reporter
from ...runs.resume import check_same_dataset
from ...runs.run import Run, read_run
from ..callbacks import make_callbacks
from ..compiled import compile_model
from ..models.initial_model import InitialModel
from ..resolve import Setup
from ..results import draw_missing


def datasets_of_parts(run: Run, dataset: Dataset, report: Reporter) -> Iterator[Dataset]:
    """Yield the dataset for each part, opened again: it may have been updated meanwhile."""
    warned: set[str] = set()
    for _ in run.part_paths:
        present = reopened(dataset)
        warning = check_same_dataset(run, present)
        if warning and warning not in warned:
            report.warning(warning)
            warned.add(warning)
        yield present


def kept_initial(run: Run, initial: InitialModel | None) -> InitialModel | None:
    """Return the saved model that all parts begin with, which the run keeps one copy of."""
    if initial is None or initial.file != initial.path:
        return initial  # an outer run has a copy, or this one
    initial.keep(run)
    return replace(initial, file=run.initial_path)


def check_user_code(setup: Setup) -> None:
    """Make a model, its step and callbacks: what the user brings may be refused.

    Before a new run has a folder.
    """
    compile_model(setup)
    make_callbacks(setup.config.callbacks)


@contextmanager
def writing_results(run: Run) -> Iterator[None]:
    """Turn what the disk refuses while the results of all parts are written into a RunError."""
    try:
        yield
    except OSError as error:
        if isinstance(error, RunError):
            raise
        raise results_unwritable(run.path, error, "training itself is done") from error


def draw_all_missing(run: Run, report: Reporter) -> None:
    """Draw the pictures of a finished run and of its parts, where there are none yet."""
    for path in run.part_paths:
        draw_all_missing(read_run(path), report)
    draw_missing(run, run.read_result() or {}, report)
