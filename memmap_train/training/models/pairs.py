"""A term of each pair of features: the layer that has them, registered with Keras.

With d features there are d * (d - 1) / 2 pairs. Models of the features' own terms and of those of
pairs are known as GA2M: Lou, Caruana, Gehrke, Hooker, "Accurate intelligible models with pairwise
interactions", KDD 2013. There pairs are chosen first; here a weight is a product of two, both of
which begin small, so that few of them grow.
"""

from typing import Any

import keras


@keras.saving.register_keras_serializable(package="memmap_train")
class PairTerms(keras.layers.Layer):  # type: ignore[misc]
    """The sum over pairs i < j of g_ij k_ij x_i x_j, for each target with its own k.

    Takes (rows, features) and returns (rows, targets).

    Parameters
    ----------
    targets : int
    first_gate : float
        What each g_ij begins with; each k_ij begins at 0.
    """

    def __init__(self, targets: int, first_gate: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.targets, self.first_gate = targets, first_gate

    def build(self, input_shape: Any) -> None:
        """Make the weights; those of i >= j have no gradient and stay."""
        n_features = input_shape[-1]
        self.gate = self.add_weight(
            shape=(n_features, n_features),
            initializer=keras.initializers.Constant(self.first_gate),
            name="gate",
        )
        self.kernel = self.add_weight(
            shape=(self.targets, n_features, n_features), initializer="zeros", name="kernel"
        )
        self.built = True

    def pair_weights(self) -> Any:
        """Return g_ij k_ij for i < j and 0 elsewhere, shape (targets, features, features)."""
        return keras.ops.triu(self.gate * self.kernel, k=1)

    def call(self, x: Any) -> Any:
        """Return the sums, shape (rows, targets)."""
        products = keras.ops.matmul(x, self.pair_weights()) * x
        return keras.ops.transpose(keras.ops.sum(products, axis=-1))

    def compute_output_shape(self, input_shape: Any) -> tuple[Any, ...]:
        """Return (rows, targets)."""
        return (input_shape[0], self.targets)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        own = {"targets": self.targets, "first_gate": self.first_gate}
        return {**super().get_config(), **own}
