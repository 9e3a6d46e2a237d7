"""A dry run of a week: what would be downloaded, predicted and sent. Writes and sends nothing."""

from collections.abc import Callable, Iterator
from functools import partial

from ...errors import MemmapTrainError
from ...text import in_bytes
from ..download.download import download
from ..submission.account import find_model
from ..submission.rounds import Round, current_round
from .config import ModelConfig
from .context import Context
from .dataset import files_of_dataset
from .live import FILES as LIVE_FILES
from .live import LIVE, objection
from .ready import finished_runs
from .report import DATASET, LIVE_ROWS, ROUND, Outcome
from .uploads import wanted_upload


def preview(context: Context) -> tuple[Outcome, ...]:
    """Return what a week would do; what would fail has failed."""
    return tuple(_previewed(context))


def _previewed(context: Context) -> Iterator[Outcome]:
    config = context.config
    for model in config.of_kind("model"):
        yield _outcome(model.name, partial(_upload, context, model))
    models = config.of_kind("predictions")
    if models:
        try:
            found = current_round()
        except MemmapTrainError as error:
            yield Outcome(ROUND, str(error), has_failed=True)
        else:
            yield Outcome(ROUND, _round_text(context, found))
            yield _outcome(LIVE_ROWS, partial(_live, context, found))
            for model in models:
                yield _outcome(model.name, partial(_predictions, context, model, found))
    if config.dataset is not None:
        yield _outcome(DATASET, partial(_dataset, context, config.dataset))


def _outcome(what: str, act: Callable[[], str]) -> Outcome:
    try:
        return Outcome(what, act())
    except MemmapTrainError as error:
        return Outcome(what, str(error), has_failed=True)


def _upload(context: Context, model: ModelConfig) -> str:
    find_model(model.name, context.keys)
    work = context.state.upload(model.name)
    if work.sent and work.made_of == wanted_upload(model):
        return f"already uploaded as {work.sent}"
    return "would be exported and uploaded"


def _round_text(context: Context, found: Round) -> str:
    now = context.clock.now()
    if found.is_open(now):
        return found.words(now)
    return f"{found.words(now)}; would wait for {context.config.wait_minutes:g} minutes at most"


def _live(context: Context, found: Round) -> str:
    plan = download(
        LIVE_FILES,
        version=context.config.version,
        out=context.data,
        round_number=found.number,
        dry_run=True,
    ).plan
    (file,) = (file for file in plan.files if file.path.name == LIVE)
    return objection(context, file, found) or f"would fetch {in_bytes(plan.wanted_bytes)}"


def _predictions(context: Context, model: ModelConfig, found: Round) -> str:
    sent = context.state.predictions(found.number, model.name).sent
    if sent:
        return f"already submitted as {sent}"
    finished_runs(model)
    find_model(model.name, context.keys)
    return "would predict and submit"


def _dataset(context: Context, dataset: str) -> str:
    files, version = files_of_dataset(context.config), context.config.version
    plan = download(files, version=version, out=context.data, dry_run=True).plan
    return f"{dataset} would be updated; would fetch {in_bytes(plan.wanted_bytes)}"
