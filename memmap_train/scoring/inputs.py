"""What is evaluated: runs, files of predictions, and predictions in memory, each with a name.

Takes what a caller passed; returns opened runs, paths of files, `Predictions` and data frames, by a
short name that no two share. A path that is neither a run nor a file is an error before any work.
"""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..dataset.format import FILE_NAME
from ..errors import ArgumentError, RunError, shown
from ..runs.files import CONFIG_NAME
from ..runs.run import Run, read_run
from ..system.paths import checked_path


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """A data frame of predictions."""

    frame: Any


if TYPE_CHECKING:
    from ..training.prediction.predictions import Predictions

    Model = Run | Path | Predictions | Frame


def found_models(models: Any) -> "dict[str, Model]":
    """Return the models by their names.

    Parameters
    ----------
    models : model, sequence of models, or mapping of str to model
        A model is a run, a path of a run's folder or of a file of predictions, a `Predictions`, or
        a data frame of predictions: any object with the method ``__arrow_c_stream__``.
        A mapping gives the names; otherwise a model's name is the end of its path.

    Raises
    ------
    RunError
        There is nothing at a path, or a folder that isn't a run; or no model is passed.
    """
    from ..training.prediction.predictions import Predictions

    if isinstance(models, Mapping):
        if wrong := [name for name in models if not (isinstance(name, str) and name.strip())]:
            raise ArgumentError(f"a model's name is {shown(wrong[0])}, expected text")
        return {name: _found(model) for name, model in models.items()} or _none_named()
    if isinstance(models, str | os.PathLike | Predictions) or _is_frame(models):
        models = [models]
    if not isinstance(models, Sequence):
        raise ArgumentError(
            f"the models are {shown(models)}, expected a run, the path of a run or of a file of "
            "predictions, predictions, a data frame of them, or several of these"
        )
    found = [_found(model) for model in models]
    return dict(zip(_short_names(found), found, strict=True)) or _none_named()


def _is_frame(model: Any) -> bool:
    return hasattr(model, "__arrow_c_stream__")


def _none_named() -> Any:
    raise RunError(
        "no model is named, expected a run's folder or a file of predictions at least, such as "
        "runs/first"
    )


def _found(model: Any) -> "Model":
    """Return an opened run, the path of a file, or predictions as they are."""
    if not isinstance(model, str | os.PathLike):
        from ..training.prediction.predictions import Predictions

        if isinstance(model, Predictions):
            return model
        if _is_frame(model):
            return Frame(model)
        raise ArgumentError(
            f"a model is {shown(model)}, expected a run, a path, what `predict` returned or a data "
            "frame (of pandas 2.2 or newer, Polars or Arrow)"
        )
    path = checked_path(model, RunError)
    if not path.exists():
        raise RunError(
            f"{path}: there is nothing; expected a run's folder or a file of predictions"
        )
    if not path.is_dir():
        return path
    if not (path / CONFIG_NAME).exists() and (path / FILE_NAME).exists():
        raise RunError(
            f"{path}: a dataset; expected a run or a file of predictions there, and one dataset "
            "as the last name"
        )
    return read_run(path)


def _short_names(models: "Sequence[Model]") -> list[str]:
    """Return a name for each model: the end of its path, with so much of it that names differ."""
    paths = [_path_of(model) for model in models]
    names = {path: path.name for path in paths}
    for n_parts in range(2, max((len(path.parts) for path in names), default=0) + 1):
        counts = Counter(names.values())
        for path, name in names.items():
            if counts[name] > 1:
                names[path] = "/".join(path.parts[-n_parts:])
    texts, seen = [names[path] for path in paths], Counter[str]()
    for position, text in enumerate(texts):
        seen[text] += 1
        if seen[text] > 1:  # one path twice, or several predictions in memory
            texts[position] = f"{text} ({seen[text]})"
    return texts


def _path_of(model: "Model") -> Path:
    if isinstance(model, Run):
        return model.path.absolute()
    if isinstance(model, Path):
        return model.absolute().with_suffix("")
    return Path("predictions")
