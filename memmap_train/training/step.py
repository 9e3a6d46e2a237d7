"""One compiled training step, and all the state that it changes.

Takes a batch of numpy arrays; returns nothing: the loss is summed up in variables, so that no
step waits for a number. All that changes, changes in one call of the compiled function: an
interruption finds the state of a whole number of steps.
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from ..errors import RunError
from ..runs.configuration.batch_keys import weighs_rows
from ..runs.configuration.config import TrainConfig
from ..system.buffers import ALIGNMENT
from .gradient_registry import no_registered_gradients
from .losses.batch_loss import BatchLoss
from .models.mlp import undecayed
from .models.trained import TrainedModel

Arrays = dict[str, npt.NDArray[Any]]

# Each keeps a counter in the graph that runs it, or runs Python code that keeps anything.
_STATEFUL_OPS = frozenset(
    (
        "RandomUniform",
        "RandomUniformInt",
        "RandomStandardNormal",
        "ParameterizedTruncatedNormal",
        "TruncatedNormal",
        "RandomShuffle",
        "RandomGamma",
        "RandomPoisson",
        "RandomPoissonV2",
        "Multinomial",
        "PyFunc",
        "PyFuncStateless",
        "EagerPyFunc",
    )
)


class TrainStep:
    """A model, its optimizer, and the compiled function that moves both by one batch.

    Parameters
    ----------
    model : keras.Model
    n_features, n_targets : int
    config : TrainConfig
        The keys `batch_size`, `learning_rate`, `weight_decay` and `fill_missing` are used, and
        those of `BatchLoss` and `weighs_rows`.
    """

    def __init__(self, model: Any, n_features: int, n_targets: int, config: TrainConfig) -> None:
        self.model, self.trained = model, TrainedModel(model, n_targets, config)
        graph = self.trained.graph
        # Keras's Adam decouples weight decay from the gradient, as AdamW does, if it is set.
        adam = keras.optimizers.Adam(config.learning_rate, weight_decay=config.weight_decay or None)
        adam.exclude_from_weight_decay(var_list=undecayed(graph), var_names=["bias", "adapter"])
        # Most gradients are too small for float16: as in Keras's `fit`, the loss is scaled, by as
        # much as no gradient becomes infinite with. A step in which one does is left out.
        scales = _computes_in_float16(graph)
        self.optimizer = keras.optimizers.LossScaleOptimizer(adam) if scales else adam
        self.optimizer.build(graph.trainable_variables)
        self._left_out = tf.Variable(0, dtype=tf.int64, name="steps_left_out") if scales else None
        # float64 counts rows exactly, and sums of a run's losses to 15 digits.
        self._sums = tf.Variable([0.0, 0.0], dtype=tf.float64, name="loss_and_labels")
        self._identities = _identities(graph)
        self._run = self._compile(n_features, n_targets, config)
        known = {id(variable) for variable in self._known_variables()}
        traced = self._run.get_concrete_function()
        # Keras's global seed generator, or a plain variable in a layer: no list has these. They
        # come in no order; what the function captures does.
        order = {id(handle): place for place, handle in enumerate(traced.captured_inputs)}
        self._others = sorted(
            (variable for variable in traced.variables if id(variable) not in known),
            key=lambda variable: order[id(variable.handle)],
        )
        self.unsaved = _stateful_ops(traced.graph.as_graph_def())
        """Names of operations that keep hidden state, which can't be saved."""

    def __call__(
        self,
        x: npt.NDArray[np.float32],
        y: npt.NDArray[np.float32],
        *row_weights: npt.NDArray[np.float32],
    ) -> None:
        """Do a step with a batch; the arrays may be overwritten once nothing refers to them.

        Where the configuration weighs rows, the batch's weights are the third array.
        """
        self._run(as_tensor(x), as_tensor(y), *map(tf.convert_to_tensor, row_weights))

    @property
    def count(self) -> int:
        """Steps done, since the first of the run."""
        counted = int(self.optimizer.iterations.numpy())
        return counted if self._left_out is None else counted + int(self._left_out.numpy())

    @property
    def trains_all_it_should(self) -> bool:
        """Whether the same weights are to be trained as when the step was compiled."""
        return _identities(self.trained.graph) == self._identities

    @property
    def sums(self) -> tuple[float, float]:
        """The loss summed over what counts in it, labels or eras, and their number, of the run."""
        loss, labels = self._sums.numpy().tolist()
        return loss, labels

    @property
    def learning_rate(self) -> float:
        """Learning rate of the next step: the shortest decimal that rounds to its float32."""
        return float(str(np.float32(self.optimizer.learning_rate.numpy())))

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        self.optimizer.learning_rate.assign(value)

    def arrays(self) -> Arrays:
        """Return copies of all state: weights, seed generators, optimizer, sums."""
        return {
            name: _own(np.asarray(variable.numpy())) for name, variable in self._variables().items()
        }

    def restore(self, arrays: Arrays) -> None:
        """Restore the state that `arrays` returned under the same configuration.

        Raises
        ------
        RunError
            These are the arrays of another model, or of another version of Keras.
        """
        variables = self._variables()
        expected = {name: tuple(variable.shape) for name, variable in variables.items()}
        found = {name: array.shape for name, array in arrays.items()}
        if found != expected:
            raise RunError(
                f"a checkpoint holds {len(found)} arrays, expected {len(expected)} of other names "
                "or shapes: install the versions that config.json names, or begin a new run"
            )
        for name, variable in variables.items():
            variable.assign(_of_dtype(arrays[name], variable))

    def typed(self, weights: Sequence[npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
        """Return saved weights in the form that `weights` returns."""
        return [
            _of_dtype(array, variable)
            for array, variable in zip(weights, self.model.weights, strict=True)
        ]

    def weights(self) -> list[npt.NDArray[Any]]:
        """Return copies of the model's weights."""
        return [_own(weight) for weight in self.model.get_weights()]

    def _variables(self) -> dict[str, Any]:
        groups = {
            "model": self.trained.graph.variables,
            "optimizer": self.optimizer.variables,
            "sums": self._own_variables(),
            "others": self._others,
        }
        return {
            f"{group}/{number:04d}": variable
            for group, variables in groups.items()
            for number, variable in enumerate(variables)
        }

    def _known_variables(self) -> list[Any]:
        """Return TensorFlow's variables of the model, the optimizer and the sums."""
        of_keras = [*self.trained.graph.variables, *self.optimizer.variables]
        return [*(variable.value for variable in of_keras), *self._own_variables()]

    def _own_variables(self) -> list[Any]:
        return [self._sums, *([] if self._left_out is None else [self._left_out])]

    def _compile(self, n_features: int, n_targets: int, config: TrainConfig) -> Any:
        trained, optimizer = self.trained, self.optimizer
        sums, left_out = self._sums, self._left_out
        signature = [
            tf.TensorSpec((config.batch_size, n_features), tf.float32),
            tf.TensorSpec((config.batch_size, n_targets), tf.float32),
        ]
        if weighs_rows(config):
            signature.append(tf.TensorSpec((config.batch_size,), tf.float32))
        loss_of = BatchLoss(config)

        @tf.function(input_signature=signature, autograph=False)  # type: ignore[untyped-decorator]
        def run(x: Any, y: Any, *row_weights: Any) -> None:
            with tf.GradientTape() as tape:
                features = filled(x, config.fill_missing)
                loss, added = trained.losses(loss_of, features, y, *row_weights)
                mean = optimizer.scale_loss(tf.add_n([loss.mean, *added]))
            variables, counted = trained.graph.trainable_variables, optimizer.iterations.value
            before = None if left_out is None else tf.identity(counted)
            with no_registered_gradients():
                optimizer.apply(tape.gradient(mean, variables), variables)
            if left_out is not None:
                left_out.assign_add(1 - tf.cast(counted - before, tf.int64))
            sums.assign_add(tf.stack([tf.cast(loss.total, tf.float64), loss.count]))

        return run


def _own(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return an array, or a copy of it if it doesn't own its memory."""
    return array if array.flags.owndata else np.array(array)


def _identities(model: Any) -> list[int]:
    return [id(variable) for variable in model.trainable_variables]


def _of_dtype(array: npt.NDArray[Any], variable: Any) -> npt.NDArray[Any]:
    """Return a saved array in its variable's dtype.

    For some dtypes, such as bfloat16, numpy's files record only the size.
    """
    if array.dtype.kind != "V":
        return array
    return array.view(tf.as_dtype(variable.dtype).as_numpy_dtype)


def _computes_in_float16(model: Any) -> bool:
    """Return True if a layer of a model, at any depth, computes in float16."""
    return any(layer.compute_dtype == "float16" for layer in model._flatten_layers())


def _stateful_ops(graph: Any) -> tuple[str, ...]:
    """Return the names of a graph's operations that draw random numbers, or call Python."""
    nodes = [
        *graph.node,
        *(node for function in graph.library.function for node in function.node_def),
    ]
    return tuple(sorted({node.op for node in nodes} & _STATEFUL_OPS))


def filled(features: Any, fill_missing: float | None) -> Any:
    """Replace missing features (NaN) by a number; with None there are none."""
    if fill_missing is None:
        return features
    return tf.where(tf.math.is_nan(features), fill_missing, features)


def as_tensor(array: npt.NDArray[np.float32]) -> Any:
    """Return an array as a tensor, without a copy where TensorFlow can take the memory over.

    The tensor then holds a reference to the array, whose memory must not be written to meanwhile.

    Notes
    -----
    TensorFlow aborts the process at a DLPack tensor that doesn't begin on a multiple of 64 bytes
    (``tensor.cc: Check failed: IsAligned()``), and a batch may begin anywhere in a pool's buffer.
    A copy of a batch of 4,096 x 1,050 takes 2 ms, one thing without it 1 µs.
    """
    address = array.__array_interface__["data"][0]
    if address % ALIGNMENT == 0 and array.flags.c_contiguous and array.flags.writeable:
        return tf.experimental.dlpack.from_dlpack(array.__dlpack__())
    return tf.convert_to_tensor(array)
