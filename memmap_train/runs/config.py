"""The configuration of a training: one frozen record, read from a TOML file and from ``--set``.

In: the path of a flat TOML file and ``key=value`` overrides. Out: a `TrainConfig` whose values have
been checked one by one. Checks that need a dataset (names, sizes, eras) are made in
`training.resolve`. Imports nothing but the standard library and the errors.

A file holds what differs from the defaults::

    features = "medium"
    targets = ["target", "target_ender_60"]
    validation_eras = 100
    hidden = [512, 256]
"""

import codecs
import math
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import date
from numbers import Number
from pathlib import Path
from reprlib import repr as short_repr
from types import MappingProxyType
from typing import Any, Literal, Self, TypeVar

from ..errors import ConfigError, listed, nearest
from ..system.paths import user_path

# TOML has no null: this word stands for None where None means "choose for me".
_AUTO = "auto"

# The one key whose value is a table.
_PARAMS = "model_params"

_NAMED = re.compile(r"\w+(\.\w+)*:\w+")

# Scores that may decide, as columns of history.csv, and whether a smaller one is better.
MONITORS = MappingProxyType(
    {
        "val_corr_mean": False,
        "val_corr_std": True,
        "val_corr_sharpe": False,
        "val_max_drawdown": True,
        "val_corr_positive": False,
        "val_pearson_mean": False,
        "val_pearson_std": True,
        "val_pearson_sharpe": False,
        "val_pearson_max_drawdown": True,
        "val_pearson_positive": False,
        "loss": True,
    }
)

# Numbers end up as float32, in which a larger one is infinite.
_MAX_NUMBER = 3.4028234663852886e38

# Keras walks through layers recursively; a thousand of them are too deep for Python.
_MAX_LAYERS = 100

_MAX_FILE_BYTES = 1_000_000  # of a configuration: more is another file

# Keras hands the seed to numpy's legacy generator, which takes 32 bits.
_MAX_SEED = 2**32 - 1

_T = TypeVar("_T")


class _UnfitError(Exception):
    """A value isn't of its kind; becomes a `ConfigError` before it leaves this module."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """What the value of a key may be.

    Attributes
    ----------
    expected : str
        In words, to follow "expected".
    clean : callable
        Returns the value as it is kept (a list as a tuple), or raises `_UnfitError`.
    """

    expected: str
    clean: Callable[[object], object]


def _whole(least: int, most: int | None = None) -> _Kind:
    """Accept an integer from `least` to `most`; true and false are none."""

    def clean(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise _UnfitError
        if value < least or (most is not None and value > most):
            raise _UnfitError
        return value

    limits = f"of {least} or more" if most is None else f"from {least} to {most}"
    return _Kind(f"a whole number {limits}", clean)


def _number(limits: str = "", fits: Callable[[float], bool] = lambda _: True) -> _Kind:
    """Accept a finite number for which `fits` holds; an integer becomes a float."""

    def clean(value: object) -> float:
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise _UnfitError
        # NaN fails every comparison, and integers of any size are compared exactly.
        if not (-_MAX_NUMBER <= value <= _MAX_NUMBER and fits(value)):
            raise _UnfitError
        return float(value)

    return _Kind(f"a number {limits}".rstrip(), clean)


def _flag() -> _Kind:
    """Accept true or false."""

    def clean(value: object) -> bool:
        if not isinstance(value, bool):
            raise _UnfitError
        return value

    return _Kind("true or false", clean)


def _text(what: str) -> _Kind:
    """Accept text that isn't empty."""

    def clean(value: object) -> str:
        if not isinstance(value, str) or not value:
            raise _UnfitError
        return value

    return _Kind(what, clean)


def _choice(*choices: str) -> _Kind:
    """Accept one of a few words."""

    def clean(value: object) -> object:
        if value not in choices:
            raise _UnfitError
        return value

    return _Kind(" or ".join(f'"{choice}"' for choice in choices), clean)


def _names(what: str, *, bare: bool = False) -> _Kind:
    """Accept a list of different texts, at least one; with `bare` also one text by itself."""

    def clean(value: object) -> tuple[str, ...]:
        if bare and isinstance(value, str):
            value = [value]
        if not isinstance(value, list | tuple) or not value:
            raise _UnfitError
        if not all(isinstance(name, str) and name for name in value):
            raise _UnfitError
        if len(set(value)) < len(value):
            raise _UnfitError
        return tuple(value)

    return _Kind(f"a list of different {what}", clean)


def _range() -> _Kind:
    """Accept a text with a dash inside; whether it names eras is for those to say who know them."""

    def clean(value: object) -> str:
        if not isinstance(value, str) or "-" not in value.strip("-"):
            raise _UnfitError
        return value

    return _Kind('a range of them such as "0575-0700"', clean)


def _widths() -> _Kind:
    """Accept a list of integers of 1 or more, which may be empty."""
    width = _whole(1)

    def clean(value: object) -> tuple[object, ...]:
        if not isinstance(value, list | tuple) or len(value) > _MAX_LAYERS:
            raise _UnfitError
        return tuple(width.clean(item) for item in value)

    return _Kind(
        f"a list of at most {_MAX_LAYERS} whole numbers of 1 or more such as [128, 64]", clean
    )


def _named() -> _Kind:
    """Accept a list, which may be empty, of different names as "package.module:name"."""

    def clean(value: object) -> tuple[str, ...]:
        if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
            raise _UnfitError
        if len(set(value)) < len(value) or not all(map(_NAMED.fullmatch, value)):
            raise _UnfitError
        return tuple(value)

    return _Kind('a list of different names such as ["my_module:MyCallback"]', clean)


def _table() -> _Kind:
    """Accept names with values that JSON keeps as they are."""

    def clean(value: object) -> dict[str, object]:
        if not isinstance(value, Mapping):
            raise _UnfitError
        return {_name(name): _plain(item) for name, item in value.items()}

    return _Kind("a table such as {units = 64}", clean)


def _name(value: object) -> str:
    if not isinstance(value, str):
        raise _UnfitError
    return value


def _plain(value: object) -> object:
    """Return text, a finite number, true or false, or a list or table of such; or refuse."""
    if isinstance(value, Mapping):
        return {_name(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    # NaN and the infinities are no JSON.
    if isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise _UnfitError


def _either(first: _Kind, second: _Kind) -> _Kind:
    """Accept what one of two kinds accepts."""

    def clean(value: object) -> object:
        try:
            return first.clean(value)
        except _UnfitError:
            return second.clean(value)

    return _Kind(f"{first.expected}, or {second.expected}", clean)


def _or_none(kind: _Kind) -> _Kind:
    """Accept None too, which a file expresses by leaving the key out."""

    def clean(value: object) -> object:
        return None if value is None else kind.clean(value)

    return _Kind(kind.expected, clean)


def _or_auto(kind: _Kind) -> _Kind:
    """Accept None too, which a file may also write as "auto"."""

    def clean(value: object) -> object:
        return None if value is None or value == _AUTO else kind.clean(value)

    return _Kind(f'{kind.expected}, or "{_AUTO}"', clean)


def _key(default: _T, kind: _Kind) -> _T:
    """Declare a key of the configuration: its default and what its value may be."""
    return field(default=default, metadata={"kind": kind})


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """How a model is trained: the keys of the TOML file and of ``--set``, with their defaults.

    Where a key may be None, leaving it out of the file means None, and so does "auto" (but for
    `fill_missing`). Lists become tuples.

    Attributes
    ----------
    features : str or tuple of str
        The name of a feature set, "all", or a list of features, which keeps its order.
    targets : tuple of str
        The first is the main one: it is scored, and decides which epoch is the best. One name by
        itself becomes a list of one.
    validation_eras : int, float, str, tuple of str or None
        The last so many eras in which the main target has labels; or their last share, between 0
        and 1; or a range such as "0575-0700" or "2024-01-01 - 2024-06-30"; or a list of era labels
        and ranges; None: the last fifth of those eras.
    embargo_eras : int or "auto"
        Eras left out on both sides of a validation era; "auto": 8 weeks if all targets look 20 days
        ahead, otherwise 16 or more.
    allow_overlap : bool
        Permit an embargo that is too short for the targets.
    batch_size : int
        Rows per step.
    window_size : int or None
        Contiguous rows of an era that are drawn and read together; None: chosen to suit the
        dataset and the memory.
    pool_batches : int or None
        Batches whose rows are shuffled together; None: follows from `window_size` and
        `batch_size`.
    memory : int or None
        MB (10^6 bytes) that the batches' buffers may take; None: a part of what is free.
    fill_missing : float or None
        What missing features become in a dataset converted with ``--missing nan``; None: such a
        dataset is refused.
    model : str
        The name of a built-in model ("mlp", "linear", "resnet"); "package.module:function" for
        one that your function builds; or a saved model's file, ending in ".keras", to start from.
    model_params : dict
        What your function gets besides the numbers of features and targets, by name.
    hidden : tuple of int
        Units of each hidden layer, from the features on ("resnet": of each block); an empty list
        makes a linear model; 100 at most. As `dropout`, of built-in models only.
    dropout : float
        Share of the units that is dropped after each hidden layer, from 0 to below 1.
    loss : str
        "mse", "mae" or "huber" (linear beyond 0.25, the distance of two bins of a target).
    learning_rate : float
        Of the optimizer, above 0.
    weight_decay : float
        Share of each weight (not of biases) taken off in a step, times the learning rate; 0: none.
    plateau_patience : int
        Lower the learning rate after so many epochs without a better score, counted again each
        time; 0: never.
    plateau_factor : float
        What the learning rate is then multiplied by, above 0 and below 1.
    epochs : int
        The most epochs to train.
    monitor : str
        The score that decides which epoch is the best, and with that when the learning rate is
        lowered and when training stops early: a column of `history.csv`, one of `MONITORS`. Of
        `loss`, deviations and drawdowns a smaller one is better.
    patience : int
        Stop after so many epochs without a better score; 0: never.
    validation_steps : int
        Steps between two scorings inside an epoch, counted over the run; 0: only at its end.
    callbacks : tuple of str
        Keras callbacks of your own: "package.module:name" of classes or functions that make one.
    tensorboard : bool
        Write a log for TensorBoard into the run's folder.
    seed : int
        Of the order of the rows, the first weights and the dropout; below 2^32.
    deterministic : bool or None
        Whether equal runs end in equal bits; None: true on a CPU.
    checkpoint_steps : int
        Steps between two checkpoints; 0: none by steps.
    checkpoint_minutes : float
        Minutes between two checkpoints; 0: none by time.

    Raises
    ------
    ConfigError
        If values are of a wrong type or out of range; it names all of them.

    Examples
    --------
    >>> TrainConfig(epochs=3, targets=["target_x_20"]).targets
    ('target_x_20',)
    >>> TrainConfig(dropout=1)
    Traceback (most recent call last):
    ...
    memmap_train.errors.ConfigError: dropout: expected a number from 0 to below 1, found 1
    """

    features: str | tuple[str, ...] = _key(
        "all", _either(_text("the name of a feature set"), _names("feature names"))
    )
    targets: tuple[str, ...] = _key(
        ("target",), _names('target names such as ["target"]', bare=True)
    )
    validation_eras: int | float | str | tuple[str, ...] | None = _key(
        None,
        _or_auto(
            _either(
                _either(_whole(1), _number("between 0 and 1", lambda value: 0 < value < 1)),
                _either(_names('era labels such as ["0575", "0576"]'), _range()),
            )
        ),
    )
    embargo_eras: int | Literal["auto"] = _key("auto", _either(_whole(0), _choice(_AUTO)))
    allow_overlap: bool = _key(False, _flag())

    batch_size: int = _key(4096, _whole(1))
    window_size: int | None = _key(None, _or_auto(_whole(1)))
    pool_batches: int | None = _key(None, _or_auto(_whole(1)))
    memory: int | None = _key(None, _or_auto(_whole(1)))
    fill_missing: float | None = _key(None, _or_none(_number()))

    model: str = _key("mlp", _text("the name of a model"))
    model_params: dict[str, Any] = field(default_factory=dict, metadata={"kind": _table()})
    hidden: tuple[int, ...] = _key((128, 64), _widths())
    dropout: float = _key(0.3, _number("from 0 to below 1", lambda value: 0 <= value < 1))
    loss: str = _key("mse", _choice("mse", "mae", "huber"))
    learning_rate: float = _key(1e-3, _number("above 0", lambda value: value > 0))
    weight_decay: float = _key(1.0, _number("of 0 or more", lambda value: value >= 0))

    plateau_patience: int = _key(0, _whole(0))
    plateau_factor: float = _key(0.5, _number("above 0 and below 1", lambda value: 0 < value < 1))

    epochs: int = _key(10, _whole(1))
    monitor: str = _key("val_corr_mean", _choice(*MONITORS))
    patience: int = _key(3, _whole(0))
    validation_steps: int = _key(0, _whole(0))
    callbacks: tuple[str, ...] = _key((), _named())
    tensorboard: bool = _key(False, _flag())
    seed: int = _key(0, _whole(0, _MAX_SEED))
    deterministic: bool | None = _key(None, _or_auto(_flag()))
    checkpoint_steps: int = _key(0, _whole(0))
    checkpoint_minutes: float = _key(10.0, _number("of 0 or more", lambda value: value >= 0))

    def __post_init__(self) -> None:
        kept, faults = _clean({key.name: getattr(self, key.name) for key in fields(self)})
        if faults:
            raise ConfigError("; ".join(faults))
        for name, value in kept.items():
            object.__setattr__(self, name, value)

    @classmethod
    def load(
        cls,
        path: Path | None,
        overrides: Sequence[str] = (),
        begun: "TrainConfig | None" = None,
    ) -> Self:
        """Read a configuration.

        Parameters
        ----------
        path : Path or None
            A flat TOML file; None: the defaults.
        overrides : sequence of str
            ``key=value``, stronger than the file; of one key's the last counts. A value is read
            as TOML, and taken as text where it isn't any. ``model_params.units=64`` sets one of
            the `model_params` and leaves the others.
        begun : TrainConfig, optional
            The configuration that a run to be resumed began with, in place of the defaults.

        Returns
        -------
        TrainConfig

        Raises
        ------
        ConfigError
            If the file can't be read or isn't TOML, or if keys are unknown or values unfit; it
            names all such keys, and where each stands.

        Examples
        --------
        >>> config = TrainConfig.load(None, ["features=medium", "hidden=[256, 64]", "dropout=0"])
        >>> config.features, config.hidden, config.dropout
        ('medium', (256, 64), 0.0)
        """
        parts = {} if path is None else {str(path): _read_file(user_path(path))}
        parts["--set"] = _read_overrides(overrides)
        merged = {} if begun is None else begun.to_dict()
        faults = []
        for where, values in parts.items():
            kept, found = _clean(values)
            params = merged.get(_PARAMS, {}) | kept.get(_PARAMS, {})
            merged |= kept | ({_PARAMS: params} if params else {})
            faults += [f"{where}: {fault}" for fault in found]
        if faults:
            raise ConfigError("; ".join(faults))
        return cls(**merged)

    def to_dict(self) -> dict[str, Any]:
        """Return all keys in their order, as JSON has them: lists for tuples.

        ``TrainConfig(**config.to_dict())`` equals the configuration.

        >>> TrainConfig().to_dict()["hidden"]
        [128, 64]
        """
        values = {key.name: getattr(self, key.name) for key in fields(self)}
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in values.items()
        }


def _clean(values: Mapping[str, object]) -> tuple[dict[str, Any], list[str]]:
    """Return the values as they are kept, and a line for each key that can't be."""
    kinds: dict[str, _Kind] = {key.name: key.metadata["kind"] for key in fields(TrainConfig)}
    kept: dict[str, Any] = {}
    faults = []
    for name, value in values.items():
        if isinstance(value, Mapping) and name != _PARAMS:
            faults.append(
                f"{name!r} is a table, expected a value: the configuration is flat, write the "
                "table's keys at the top, without its header"
            )
        elif name not in kinds:
            known = f"; the keys are {listed(kinds, most=len(kinds))}"
            faults.append(f"unknown key {name!r}{nearest(name, kinds) or known}")
        else:
            try:
                kept[name] = kinds[name].clean(_of_python(value))
            except _UnfitError:
                quote = "; write dates in quotes" if _holds_date(value) else ""
                faults.append(
                    f"{name}: expected {kinds[name].expected}, found {short_repr(value)}{quote}"
                )
    return kept, faults


def _holds_date(value: object) -> bool:
    """Return whether a value is, or a list has, a date: TOML takes 2024-01-05 for one."""
    items = value if isinstance(value, list) else [value]
    return any(isinstance(item, date) for item in items)


def _of_python(value: object) -> object:
    """Return a number of numpy's as Python's own, anything else as it is."""
    item = getattr(value, "item", None)
    return item() if isinstance(value, Number) and callable(item) else value


def _read_file(path: Path) -> dict[str, Any]:
    """Return what a TOML file holds."""
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_FILE_BYTES + 1)
        if len(content) > _MAX_FILE_BYTES:
            raise ConfigError(
                f"{path}: not a configuration: expected a TOML file of at most "
                f"{_MAX_FILE_BYTES:,} bytes, found more"
            )
        # Some editors begin a file with a mark of its encoding, which TOML doesn't know.
        return tomllib.loads(content.removeprefix(codecs.BOM_UTF8).decode())
    except ConfigError:
        raise
    except OSError as error:
        raise ConfigError(
            f"{path}: the configuration can't be read: {error.strerror}; expected a TOML file"
        ) from error
    # Bytes that aren't UTF-8 and numbers of thousands of digits are ValueErrors of other kinds;
    # lists in lists without an end are none.
    except (ValueError, RecursionError) as error:
        raise ConfigError(
            f'{path}: not TOML: {error}; expected lines like epochs = 10 or features = "medium"'
        ) from error


def _read_overrides(overrides: Sequence[str]) -> dict[str, object]:
    """Return the keys and values of ``key=value`` texts."""
    if broken := [text for text in overrides if text.find("=") < 1]:
        raise ConfigError(
            f"--set: expected key=value, found {listed(broken)}; write --set epochs=10"
        )
    values: dict[str, Any] = {}
    for text in overrides:
        key, value = (part.strip() for part in text.split("=", 1))
        table, _, name = key.partition(".")
        if table == _PARAMS and name:
            given = values.get(_PARAMS)
            values[_PARAMS] = (given if isinstance(given, dict) else {}) | {
                name: _read_value(value)
            }
        else:
            values[key] = _read_value(value)
    return values


def _read_value(text: str) -> object:
    """Return what `text` is as a TOML value, or itself.

    >>> [_read_value(text) for text in ("3", "[1, 2]", "true", "medium", '"medium"', "2024-01-05")]
    [3, [1, 2], True, 'medium', 'medium', '2024-01-05']
    """
    try:
        parsed = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    # A line break in the text may have begun a second key; and a date is the label of an era.
    return text if len(parsed) > 1 or isinstance(parsed["value"], date) else parsed["value"]
