"""The predictions of a model for a round: made once, and submitted once.

Numerai's validators' checks are part of `submit`, which comes after the look whether a submission
of this round has arrived already.
"""

from pathlib import Path

from ...dataset.file_digest import digest_file
from ...errors import NumeraiError
from ...training.prediction.predict import write_predictions
from ...training.startup import start_tensorflow
from ..submission.account import find_model
from ..submission.destinations import PREDICTIONS
from ..submission.rounds import Round
from ..submission.submit import submit
from .arrival import look_for
from .config import ModelConfig
from .context import Context
from .live import PREDICTIONS_FOLDER, LiveRows, short
from .ready import digest_of, finished_runs
from .state import Work
from .waiting import shown_time


def submit_predictions(context: Context, model: ModelConfig, found: Round, live: LiveRows) -> str:
    """Predict the live rows with a model, and submit that; return what was done, in words.

    Raises
    ------
    MemmapTrainError
        Something isn't as it should be; what was done until then is kept for a rerun.
    """
    number, begun = found.number, context.state.predictions(found.number, model.name)
    name, model_id = f"{model.name}-{number}-", find_model(model.name, context.keys)
    there = look_for(name, begun, PREDICTIONS, model_id, context.keys)
    if there.id is not None:
        context.state.set_predictions(number, model.name, sent=there.id)
        return f"already submitted, found at Numerai as {there.id}"
    work = _predicted(context, model, found, live)
    path = _folder(context) / work.file
    now = context.clock.now()
    if not found.is_open(now):
        raise NumeraiError(
            f"round {number} has closed at {shown_time(found.closes)}, before the predictions were "
            f"submitted; they are in {path}"
        )
    context.state.set_predictions(number, model.name, is_begun=True, known=there.known)
    report = submit(
        "predictions", path, model=model.name, live=live.path, progress=context.progress
    )
    sent = report.id or ""
    context.state.set_predictions(number, model.name, sent=sent)
    return f"submitted {report.n_rows or 0:,} predictions as {sent}"


def _folder(context: Context) -> Path:
    return context.folder / PREDICTIONS_FOLDER


def _predicted(context: Context, model: ModelConfig, found: Round, live: LiveRows) -> Work:
    """Return the predictions of a round, which are made unless they are there."""
    runs = finished_runs(model)
    made_of = digest_of(runs, live.digest, model.neutralize, model.proportion)
    work, folder = context.state.predictions(found.number, model.name), _folder(context)
    path = folder / work.file
    if work.made_of == made_of and path.is_file() and digest_file(path) == work.digest:
        return work
    folder.mkdir(exist_ok=True)
    start_tensorflow(folder)
    new = folder / f"{model.name}-{found.number}.csv"
    write_predictions(
        list(model.runs),
        live.dataset,
        new,
        neutralize=model.neutralize,
        proportion=model.proportion,
        progress=context.progress,
    )
    digest = digest_file(new)
    final = folder / f"{model.name}-{found.number}-{short(digest)}.csv"
    new.replace(final)
    context.log.say(f"{model.name}: predicted the live rows of round {found.number}")
    return context.state.set_predictions(
        found.number, model.name, made_of=made_of, file=final.name, digest=digest
    )
