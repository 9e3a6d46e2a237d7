"""Tests that nothing of a training step stays in TensorFlow's registry of gradients."""

from typing import Any

import keras
import tensorflow as tf

from memmap_train.training.gradient_registry import no_registered_gradients, registered_gradients
from memmap_train.training.models.build import build
from memmap_train.training.step import TrainStep
from tests.support.training_data import small_config


@tf.custom_gradient
def doubled(x: Any) -> tuple[Any, Any]:
    return 2 * x, lambda upstream: 3 * upstream


def trace() -> None:
    """Make a graph in which the function above has a gradient of its own."""
    tf.function(lambda: doubled(tf.constant(1.0))).get_concrete_function()


def test_gradients_that_are_registered_in_a_block_are_forgotten() -> None:
    before = set(registered_gradients())
    assert "MatMul" in before
    with no_registered_gradients():
        trace()
        assert len(registered_gradients()) > len(before)
    assert set(registered_gradients()) == before
    trace()
    assert len(registered_gradients()) > len(before)  # others stay


def test_a_compiled_step_leaves_no_gradient_behind() -> None:
    before = set(registered_gradients())
    config = small_config(model="linear")
    keras.utils.set_random_seed(0)
    TrainStep(build(4, 1, config), 4, 1, config)
    assert set(registered_gradients()) == before
