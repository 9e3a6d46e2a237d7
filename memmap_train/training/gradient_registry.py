"""Gradients that TensorFlow registers for ever, with the variables of a model.

Keras's optimizers sum gradients over replicas, also where there is one, by a function with a
gradient of its own. TensorFlow registers that gradient by name, in a dict which nothing is ever
removed from, and it refers to the graph of the compiled step and so to all its variables: weights
and moments of each model that a process has trained would stay in memory. Nobody takes the gradient
of a training step, so that it can be forgotten.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tensorflow.python.framework import ops

_PREFIX = "CustomGradient-"


@contextmanager
def no_registered_gradients() -> Iterator[None]:
    """Remove the custom gradients that are registered while the block runs.

    TensorFlow has no public function for that. Where a later version keeps them elsewhere, they
    stay.
    """
    registered = registered_gradients()
    before = set(registered)
    try:
        yield
    finally:
        for name in [name for name in registered if name not in before]:
            if name.startswith(_PREFIX):
                del registered[name]


def registered_gradients() -> dict[str, Any]:
    """Return TensorFlow's gradients by name, or an empty dict if they aren't found."""
    registry = getattr(ops, "gradient_registry", None)
    found: dict[str, Any] = getattr(registry, "_registry", {})
    return found
