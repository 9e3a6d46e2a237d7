"""Model uploads: exported once after each training, and sent once."""

from pathlib import Path

from ...training.startup import start_tensorflow
from ..export.export import export
from ..submission.account import find_model
from ..submission.destinations import MODEL
from ..submission.submit import submit
from .arrival import look_for
from .config import ModelConfig
from .context import Context
from .live import short
from .ready import digest_of, finished_runs
from .state import Work

UPLOADS_FOLDER = "uploads"


def wanted_upload(model: ModelConfig) -> str:
    """Return a digest of what the model's upload has to be made of.

    Raises
    ------
    RunError
        A run of it isn't finished.
    """
    return digest_of(finished_runs(model), model.neutralize, model.proportion, model.python)


def upload_model(context: Context, model: ModelConfig) -> str:
    """Export a model's runs and send that, unless it was sent; return what was done, in words.

    Raises
    ------
    MemmapTrainError
        Something isn't as it should be; what was done until then is kept for a rerun.
    """
    made_of, work = wanted_upload(model), context.state.upload(model.name)
    if work.made_of == made_of and work.sent:
        return f"already uploaded as {work.sent}"
    # Named by what it is made of, so that it is recognized at Numerai whatever happens here.
    name = f"{model.name}-{short(made_of)}"
    begun = work if work.made_of == made_of else Work()
    model_id = find_model(model.name, context.keys)
    there = look_for(name, begun, MODEL, model_id, context.keys)
    if there.id is not None:
        context.state.set_upload(model.name, made_of=made_of, file=f"{name}.pkl", sent=there.id)
        return f"already uploaded, found at Numerai as {there.id}"
    path = _exported(context, model, name)
    context.state.set_upload(
        model.name,
        made_of=made_of,
        file=path.name,
        is_begun=True,
        known=there.known,
        sent="",
    )
    report = submit(
        "model",
        path,
        model=model.name,
        data_version=context.config.version,
        progress=context.progress,
    )
    sent = report.id or ""
    context.state.set_upload(model.name, sent=sent)
    for other in path.parent.glob(f"{model.name}-*.pkl"):
        if other != path and other.stem.rpartition("-")[0] == model.name:
            other.unlink(missing_ok=True)
    return f"uploaded the model as {sent} (image {report.image!r}, data {report.data_version})"


def _exported(context: Context, model: ModelConfig, name: str) -> Path:
    """Return the path of a model upload, which is made unless it is there."""
    path = context.folder / UPLOADS_FOLDER / f"{name}.pkl"
    if path.is_file():  # a file of this name is whole
        return path
    path.parent.mkdir(exist_ok=True)
    start_tensorflow(path.parent)
    export(
        list(model.runs),
        path,
        neutralize=model.neutralize,
        proportion=model.proportion,
        python=model.python,
        progress=context.progress,
    )
    context.log.say(f"{model.name}: exported to {path}")
    return path
