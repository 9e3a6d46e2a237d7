"""Layers of an ensemble in one model: members that share their weights, and a mean at the end.

Tensors have the shape (members, rows, units), so that the products of all members are one batch of
products of matrices. The layers are registered with Keras when this module is imported.

Notes
-----
Source: Gorishniy, Kotelnikov, Babenko: "TabM: Advancing tabular deep learning with parameter-
efficient ensembling", ICLR 2025; Wen, Tran, Ba: "BatchEnsemble", ICLR 2020.
"""

from typing import Any

import keras

_PACKAGE = "memmap_train"


@keras.saving.register_keras_serializable(package=_PACKAGE)
class MemberDense(keras.layers.Layer):  # type: ignore[misc]
    """Dense layers that share one matrix W: member m computes ((x * r_m) W) * s_m + b_m.

    Parameters
    ----------
    members, units : int
    is_first : bool
        Whether all members see the same rows, of shape (rows, inputs), not (members, rows, inputs).
        Then there is no r_m, and s_m begins as -1 and 1 at random, by which members differ;
        otherwise both adapters begin as 1.
    """

    def __init__(self, members: int, units: int, *, is_first: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.members, self.units, self.is_first = members, units, is_first

    def build(self, input_shape: Any) -> None:
        """Make the shared matrix, and each member's adapters and bias."""
        n_inputs = input_shape[-1]
        self.kernel = self.add_weight(
            shape=(n_inputs, self.units), initializer="glorot_uniform", name="kernel"
        )
        self.input_adapter: Any = None
        if not self.is_first:
            self.input_adapter = self.add_weight(
                shape=(self.members, n_inputs), initializer="ones", name="input_adapter"
            )
        self.output_adapter = self.add_weight(
            shape=(self.members, self.units),
            initializer=_random_signs if self.is_first else "ones",
            name="output_adapter",
        )
        self.bias = self.add_weight(
            shape=(self.members, self.units), initializer="zeros", name="bias"
        )
        self.built = True

    def call(self, x: Any) -> Any:
        """Return the outputs of all members, shape (members, rows, units)."""
        scale, bias = self.output_adapter[:, None], self.bias[:, None]
        if self.is_first:  # one product for all members
            return keras.ops.matmul(x, self.kernel) * scale + bias
        # Matrices are smaller than activations: the adapters scale them.
        kernels = self.kernel * self.input_adapter[:, :, None] * scale
        return keras.ops.matmul(x, kernels) + bias

    def compute_output_shape(self, input_shape: Any) -> tuple[Any, ...]:
        """Return (members, rows, units)."""
        return (self.members, input_shape[-2], self.units)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        own = {"members": self.members, "units": self.units, "is_first": self.is_first}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(package=_PACKAGE)
class MemberOutputs(keras.layers.Layer):  # type: ignore[misc]
    """The last layers of members, which share nothing.

    Takes (members, rows, inputs) and returns (rows, members, targets).

    Parameters
    ----------
    targets : int
    start : float
        The value that the biases begin with.
    """

    def __init__(self, targets: int, start: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.targets, self.start = targets, start

    def build(self, input_shape: Any) -> None:
        """Make each member's own matrix and bias."""
        members, _, n_inputs = input_shape
        self.kernel = self.add_weight(
            shape=(members, n_inputs, self.targets),
            initializer=keras.initializers.RandomNormal(stddev=0.01),
            name="kernel",
        )
        self.bias = self.add_weight(
            shape=(members, self.targets),
            initializer=keras.initializers.Constant(self.start),
            name="bias",
        )
        self.built = True

    def call(self, x: Any) -> Any:
        """Return the outputs of all members, shape (rows, members, targets)."""
        outputs = keras.ops.matmul(x, self.kernel) + self.bias[:, None]
        return keras.ops.transpose(outputs, (1, 0, 2))

    def compute_output_shape(self, input_shape: Any) -> tuple[Any, ...]:
        """Return (rows, members, targets)."""
        members, rows, _ = input_shape
        return (rows, members, self.targets)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {**super().get_config(), "targets": self.targets, "start": self.start}


@keras.saving.register_keras_serializable(package=_PACKAGE)
class MeanOfMembers(keras.layers.Layer):  # type: ignore[misc]
    """The mean of (rows, members, targets), shape (rows, targets).

    A model that ends with this layer is trained on the outputs of its members, before the mean.
    """

    def call(self, x: Any) -> Any:
        """Return the mean."""
        return keras.ops.mean(x, axis=1)

    def compute_output_shape(self, input_shape: Any) -> tuple[Any, ...]:
        """Return (rows, targets)."""
        rows, _, targets = input_shape
        return (rows, targets)


def _random_signs(shape: Any, dtype: Any = None) -> Any:
    """Return -1 and 1 at random, from Keras's global seed."""
    uniform = keras.initializers.RandomUniform(-1.0, 1.0)(shape, dtype)
    return keras.ops.where(uniform < 0, -keras.ops.ones_like(uniform), 1)
