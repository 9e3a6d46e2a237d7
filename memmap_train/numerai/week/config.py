"""The configuration of a week: what is downloaded, which models predict, what is sent.

Takes the path of a TOML file; returns a `WeekConfig` whose values pydantic has checked one by one.
Relative paths in it start at the folder of the file, so that the command may be started anywhere.
"""

import re
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import pydantic
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, create_model

from ...errors import ConfigError, listed, nearest
from ...runs.configuration.config_file import read_file
from ...runs.configuration.config_types import Text
from ...runs.configuration.wording import faults_in
from ...system.paths import user_path

MODELS = "models"
MAX_WAIT_MINUTES = 24 * 60
_MODEL_NAME = re.compile(r"[A-Za-z0-9][\w-]{0,63}", re.ASCII)  # it is part of names of files


def _as_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


def _check_names(value: tuple[str, ...]) -> tuple[str, ...]:
    if not value or len(set(value)) < len(value):
        raise ValueError
    return value


def _check_model_name(value: str) -> str:
    if not _MODEL_NAME.fullmatch(value):
        raise ValueError
    return value


_Names = Annotated[tuple[Text, ...], BeforeValidator(_as_tuple), AfterValidator(_check_names)]
_Runs = Annotated[
    _Names, pydantic.Field(description='a list of different folders such as ["runs/first"]')
]
_Targets = Annotated[
    _Names, pydantic.Field(description='a list of different names such as ["target"]')
]
_Files = Annotated[
    _Names,
    pydantic.Field(description='a list of different files such as ["meta_model.parquet"]'),
]
_Share = Annotated[float, pydantic.Field(ge=0, le=1, description="a number from 0 to 1")]
_Minutes = Annotated[float, pydantic.Field(ge=0, le=MAX_WAIT_MINUTES)]
_ModelName = Annotated[
    str,
    AfterValidator(_check_model_name),
    pydantic.Field(description="a name of letters, digits, _ and -"),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """One model at Numerai, and what is sent for it.

    Attributes
    ----------
    name : str
        The name of the model at Numerai.
    runs : tuple of str
        Folders of runs; several are the mean of their ranks.
    neutralize : str or None
        The feature set that the predictions are made neutral to.
    proportion : float or None
        The share of it, from 0 to 1; None is 1.
    upload : {"predictions", "model"}
        Predictions of each round, or a model upload after each training.
    python : str or None
        The Python of the image that runs a model upload, such as "3.12".
    """

    name: _ModelName
    runs: _Runs
    neutralize: Text | None = None
    proportion: _Share | None = None
    upload: Literal["predictions", "model"] = "predictions"
    python: Text | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WeekConfig:
    """The configuration of a week; paths are absolute when it comes from `read_config`.

    Attributes
    ----------
    version : str
        The version of Numerai's data, such as "v5.3".
    data : str
        The folder that Numerai's files are downloaded into.
    folder : str
        The folder of the state, the log, the predictions and the live rows.
    dataset : str or None
        The dataset of train and validation, which is updated; None: they aren't downloaded.
    dtype, missing, feature_set, targets
        The options of `convert` that the dataset was made with; the live rows take the first two.
    benchmarks : tuple of str or None
        Files of benchmarks of this version, which are downloaded and joined to that dataset.
    wait_minutes : float
        How long to wait for the round, and for its live rows.
    models : tuple of ModelConfig
    """

    version: Text
    data: Text = "data"
    folder: Text = "week"
    dataset: Text | None = None
    dtype: Literal["int8", "float32"] = "int8"
    missing: Literal["0.5", "nan"] | None = None
    feature_set: Text | None = None
    targets: _Targets | None = None
    benchmarks: _Files | None = None
    wait_minutes: _Minutes = 90.0
    models: tuple[ModelConfig, ...]

    def of_kind(self, upload: str) -> tuple[ModelConfig, ...]:
        """Return the models that something of this kind is sent for."""
        return tuple(model for model in self.models if model.upload == upload)


def read_config(path: Path) -> WeekConfig:
    """Read and check a configuration.

    Raises
    ------
    ConfigError
        The file can't be read or isn't TOML; or keys are unknown, are missing or have wrong values:
        all of them are named.
    """
    values = read_file(path)
    tables = values.pop(MODELS, None)
    kept, faults = _checked(WeekConfig, values)
    models = []
    if not isinstance(tables, list) or not tables:
        faults.append("expected at least one table [[models]] with the keys name and runs")
        tables = []
    for number, table in enumerate(tables, start=1):
        if not isinstance(table, dict):
            faults.append("models: expected tables, each under the line [[models]]")
            break
        found, of_model = _checked(ModelConfig, table)
        faults += [f"models, number {number}: {fault}" for fault in of_model]
        if not of_model:
            models.append(ModelConfig(**found))
    if kept.get("missing") == "nan" and kept.get("dtype") != "float32":
        faults.append('missing: "nan" needs dtype = "float32"')
    faults += _faults_between(models)
    if faults:
        raise ConfigError(f"{path}: {'; '.join(faults)}")
    return _with_absolute_paths(WeekConfig(**kept, models=tuple(models)), path.absolute().parent)


def _with_absolute_paths(config: WeekConfig, base: Path) -> WeekConfig:
    def absolute(text: str) -> str:
        return str(base / user_path(text))

    return replace(
        config,
        data=absolute(config.data),
        folder=absolute(config.folder),
        dataset=None if config.dataset is None else absolute(config.dataset),
        models=tuple(
            replace(model, runs=tuple(absolute(run) for run in model.runs))
            for model in config.models
        ),
    )


def _faults_between(models: list[ModelConfig]) -> list[str]:
    """Return what is wrong with keys that exclude each other."""
    names = [model.name for model in models]
    faults = []
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        faults.append(f"expected models of different names, found {listed(repeated)} twice")
    for model in models:
        if model.proportion is not None and model.neutralize is None:
            faults.append(f"{model.name}: proportion counts only with neutralize; name a set")
        if model.python is not None and model.upload != "model":
            faults.append(f'{model.name}: python counts only with upload = "model"')
    return faults


@cache
def _model_of(kind: type) -> type[BaseModel]:
    declared = get_type_hints(kind, include_extras=True)
    keys: dict[str, Any] = {
        key.name: (declared[key.name], ... if _is_required(key) else key.default)
        for key in fields(kind)
        if key.name != MODELS
    }
    return create_model(
        kind.__name__, __config__=ConfigDict(strict=True, allow_inf_nan=False), **keys
    )


def _is_required(key: "Field[Any]") -> bool:
    return key.default is MISSING


def _checked(kind: type, values: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return the values of a table as they are kept, and a line for each key that can't be."""
    model = _model_of(kind)
    known = model.model_json_schema()["properties"]
    faults = [
        f"unknown key {name!r}{nearest(name, known) or f'; the keys are {listed(known, 99)}'}"
        for name in values
        if name not in known
    ]
    checkable = {name: value for name, value in values.items() if name in known}
    try:
        checked = model.model_validate(checkable)
    except pydantic.ValidationError as error:
        for name, expected, found in faults_in(error, known, checkable):
            choices = known[name].get("enum", ())
            advice = nearest(str(values.get(name)), choices)
            faults.append(f"{name}: expected {expected}, found {found or 'none'}{advice}")
        return {}, faults
    return {name: getattr(checked, name) for name in checkable}, faults
