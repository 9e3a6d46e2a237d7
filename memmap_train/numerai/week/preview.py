"""A dry run of a week: what would be downloaded, predicted and sent. Writes and sends nothing."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial

from ...errors import MemmapTrainError
from ...text import in_bytes
from ..download.download import download
from ..submission.account import check_key, find_model
from ..submission.rounds import Round, current_round
from .config import ModelConfig
from .context import Context
from .dataset import files_of_dataset
from .live import FILES as LIVE_FILES
from .live import LIVE, objection
from .ready import finished_runs
from .reason import reason
from .report import DATASET, LIVE_ROWS, ROUND, Outcome
from .uploads import wanted_upload
from .waiting import end_of_wait


def preview(context: Context) -> tuple[Outcome, ...]:
    """Return what a week would do; what would fail has failed.

    Raises
    ------
    NumeraiError
        Numerai refuses the key.
    """
    return tuple(_previewed(context))


def _previewed(context: Context) -> Iterator[Outcome]:
    config = context.config
    check_key(context.keys)
    for model in config.of_kind("model"):
        yield _outcome(context, model.name, partial(_upload, context, model))
    if config.of_kind("predictions"):
        yield from _previewed_round(context)
    if config.dataset is not None:
        yield _outcome(context, DATASET, partial(_dataset, context, config.dataset))


def _previewed_round(context: Context) -> Iterator[Outcome]:
    """Yield what would be done for the round that is open, or may open in time."""
    now = context.clock.now()
    try:
        found = current_round()
        is_open = found.is_open(now)
        deadline = now + timedelta(minutes=context.config.wait_minutes)
        end = "" if is_open else end_of_wait(found, now, deadline, context.missing)
    except MemmapTrainError as error:
        yield Outcome(ROUND, reason(error, context.config), has_failed=True)
        return
    wait = "" if is_open else _wait(context)
    yield Outcome(ROUND, end or f"{found.words(now)}{wait}")
    if end:
        return
    if is_open:
        yield _outcome(context, LIVE_ROWS, partial(_live, context, found))
    for model in context.config.of_kind("predictions"):
        act = partial(_predictions, context, model, found if is_open else None)
        yield _outcome(context, model.name, act)


def _wait(context: Context) -> str:
    return f"; would wait for {context.config.wait_minutes:g} minutes at most"


def _outcome(context: Context, what: str, act: Callable[[], str]) -> Outcome:
    try:
        return Outcome(what, act())
    except MemmapTrainError as error:
        return Outcome(what, reason(error, context.config), has_failed=True)


def _upload(context: Context, model: ModelConfig) -> str:
    find_model(model.name, context.keys)
    work = context.state.upload(model.name)
    if work.sent and work.made_of == wanted_upload(model):
        return f"already uploaded as {work.sent}"
    return "would be exported and uploaded"


def _live(context: Context, found: Round) -> str:
    plan = download(
        LIVE_FILES,
        version=context.config.version,
        out=context.data,
        round_number=found.number,
        dry_run=True,
    ).plan
    (file,) = (file for file in plan.files if file.path.name == LIVE)
    text = objection(context, file, found)
    if text:
        return f"{text}{_wait(context)}"
    return f"would fetch {in_bytes(plan.wanted_bytes)}"


def _predictions(context: Context, model: ModelConfig, found: Round | None) -> str:
    """Return what would be done for a model in a round; None: in one that may open in time."""
    sent = context.state.predictions(found.number, model.name).sent if found else ""
    if sent:
        return f"already submitted as {sent}"
    finished_runs(model)
    find_model(model.name, context.keys)
    return "would predict and submit" if found else "would predict and submit if a round opens"


def _dataset(context: Context, dataset: str) -> str:
    files, version = files_of_dataset(context.config), context.config.version
    plan = download(files, version=version, out=context.data, dry_run=True).plan
    return f"{dataset} would be updated; would fetch {in_bytes(plan.wanted_bytes)}"
