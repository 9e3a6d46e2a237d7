"""The user's own Keras callbacks, called by the training loop.

Takes names and a model; returns one object that passes on what happens. A callback sees what
``fit`` would show it: the model with its optimizer, epochs counted from 0, and `logs`. In a
training that is resumed it is made again, and `on_train_begin` is called; then its state is
restored, and it continues, inside of an epoch too.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import keras

from ..errors import ConfigError
from ..runs.configuration.object_reference import resolve_reference, user_code
from ..system.signals import deferred
from .callback_state import (
    Memory,
    attributes_not_saved,
    check_states,
    restore_callbacks,
    states_of,
)
from .tensorboard_log import TensorBoardLog


def make_callbacks(names: Sequence[str]) -> list[Any]:
    """Make the named callbacks: classes and functions are called, objects are used as they are.

    Raises
    ------
    ConfigError
        One can't be found, fails, or isn't a callback of Keras.
    """
    made = []
    for name in names:
        found = resolve_reference("callbacks", name)
        if not isinstance(found, keras.callbacks.Callback) and callable(found):
            with user_code(f"callbacks: {name}() failed"):
                found = found()
        if not isinstance(found, keras.callbacks.Callback):
            raise ConfigError(
                f"callbacks: {name!r} is a {type(found).__name__}, expected a "
                "keras.callbacks.Callback, or a class or function that makes one"
            )
        made.append(found)
    return made


class Callbacks:
    """Callbacks of one training.

    Parameters
    ----------
    callbacks : mapping of str to keras.callbacks.Callback
        The callbacks by the names that error messages use.
    model : keras.Model
    optimizer : keras.optimizers.Optimizer
        The model's, while a callback is at work.
    params : mapping
        "epochs", "steps" and "verbose", as ``fit`` has them.
    shows_scores : bool
        Whether the user's callbacks see the scores of the validation eras.
    log : TensorBoardLog, optional
        It is called for all events, with scores, and has no state.
    """

    def __init__(
        self,
        callbacks: Mapping[str, Any],
        model: Any,
        optimizer: Any,
        params: Mapping[str, int],
        *,
        shows_scores: bool = True,
        log: TensorBoardLog | None = None,
    ) -> None:
        self._callbacks, self._model, self._optimizer = dict(callbacks), model, optimizer
        self._params, self._shows_scores = dict(params), shows_scores
        self._log = log
        self._told = self._callbacks if log is None else {**self._callbacks, "tensorboard": log}
        model.stop_training = False
        # What is called in every step costs time, at its end a wait for the loss: only where
        # somebody listens.
        self._hears_begin = self._is_heard("on_train_batch_begin", "on_batch_begin")
        self._hears_end = self._is_heard("on_train_batch_end", "on_batch_end")

    @property
    def stop_requested(self) -> bool:
        """Whether a callback has set ``model.stop_training``."""
        return bool(self._model.stop_training)

    @stop_requested.setter
    def stop_requested(self, value: bool) -> None:
        self._model.stop_training = value

    def uninterrupted(self) -> AbstractContextManager[object]:
        """Defer interruptions until the callbacks have been called for all steps of the block."""
        return deferred() if self._told else nullcontext()

    def train_begin(self, memory: Memory) -> None:
        """Set the callbacks' model, call ``on_train_begin``, and restore their states.

        Parameters
        ----------
        memory : list of dict of str to Packed
            What `memory` returned in the process before; empty where training begins.

        Notes
        -----
        Whatever callbacks do to the model when training goes on, an uninterrupted training wouldn't
        have seen: restore the model's state afterwards.
        """
        for name, callback in self._told.items():
            with user_code(f"callbacks: {name} failed in set_params"):
                callback.set_params(self._params)
            with user_code(f"callbacks: {name} failed in set_model"):
                callback.set_model(self._model)
            if memory and isinstance(callback, keras.callbacks.CSVLogger):
                callback.append = True  # else it would empty the file of the epochs before
        self._call_all("on_train_begin", {})
        if memory:
            restore_callbacks(self._callbacks, memory)
        check_states(self._callbacks)

    def memory(self) -> Memory:
        """Return the states of the callbacks and of random generators, for a checkpoint."""
        return states_of(self._callbacks)

    def forgotten(self) -> list[str]:
        """Return the attributes that `memory` can't hold, as "callback: attribute"."""
        return attributes_not_saved(self._callbacks)

    def epoch_begin(self, epochs_done: int) -> None:
        """Call ``on_epoch_begin``."""
        self._call_all("on_epoch_begin", epochs_done, {})

    def batch_begin(self, step_in_epoch: int) -> None:
        """Call ``on_train_batch_begin``; steps are counted from 0."""
        if self._hears_begin:
            self._call_all("on_train_batch_begin", step_in_epoch, {})

    def batch_end(self, step_in_epoch: int, loss: Callable[[], float]) -> None:
        """Call ``on_train_batch_end``; `loss` is called only if a callback uses it."""
        if self._hears_end:
            self._call_all("on_train_batch_end", step_in_epoch, {"loss": loss()})

    def epoch_end(self, epochs_done: int, row: Mapping[str, float]) -> None:
        """Call ``on_epoch_end``; `row` is the epoch's row of `history.csv`."""
        self._call_all("on_epoch_end", epochs_done, _logs(row))

    def train_end(self, row: Mapping[str, float]) -> None:
        """Call ``on_train_end``; `row` is the last epoch's row of `history.csv`."""
        self._call_all("on_train_end", _logs(row))

    def _is_heard(self, *methods: str) -> bool:
        return any(
            _overrides(callback, method) for callback in self._told.values() for method in methods
        )

    def _call_all(self, method: str, *arguments: Any) -> None:
        """Call a method of all callbacks, with logs as its last argument, as ``fit`` does."""
        if not self._told:
            return
        # Not for good: a saved model would hold the optimizer's state as well.
        self._model.optimizer = self._optimizer
        try:
            for name, callback in self._told.items():
                copies = [self._shown(a, callback) for a in arguments]
                with user_code(f"callbacks: {name} failed in {method}"):
                    getattr(callback, method)(*copies)
        finally:
            self._model.optimizer = None

    def _shown(self, argument: Any, callback: Any) -> Any:
        """Return a copy of the logs that this callback may see, and other arguments as they are."""
        if not isinstance(argument, Mapping):
            return argument
        hides = not self._shows_scores and callback is not self._log
        return {k: v for k, v in argument.items() if not (hides and k.startswith("val_"))}


def _logs(row: Mapping[str, float]) -> dict[str, float]:
    """Return a row of `history.csv` as logs."""
    # Keras's own callbacks pass `epoch` on beside the logs, and names come once.
    return {name: value for name, value in row.items() if name != "epoch"}


def _overrides(callback: Any, method: str) -> bool:
    return getattr(getattr(callback, method), "__func__", None) is not getattr(
        keras.callbacks.Callback, method
    )
