"""A module as a user writes it, with models and callbacks; and what tests of them share."""

from pathlib import Path
from typing import Any

import keras

MINE = """
import keras
import numpy as np
import tensorflow as tf

SEEN = []


def build(n_features, n_targets, units=4, rate=0.0):
    inputs = keras.Input((n_features,))
    x = keras.layers.Dense(units, kernel_regularizer=keras.regularizers.L2(rate))(inputs)
    x = keras.layers.BatchNormalization()(x)
    return keras.Model(inputs, keras.layers.Dense(n_targets)(keras.layers.Dropout(0.2)(x)))


def sequential(n_features, n_targets):
    return keras.Sequential([keras.layers.Dense(3), keras.layers.Dense(n_targets)])


def of_keras_2(n_features, n_targets):
    return type("Sequential", (), {"__module__": "tf_keras.src.engine.sequential"})()


class Plain(keras.Model):
    def __init__(self, n_targets, **kwargs):
        super().__init__(**kwargs)
        self.dense = keras.layers.Dense(n_targets)

    def call(self, x):
        return self.dense(x)


@keras.saving.register_keras_serializable("mine")
class Shaking(keras.layers.Layer):
    # Draws from Keras's global generator, and counts in a variable that Keras doesn't know.

    def build(self, shape):
        self.hidden = tf.Variable(0.0)
        self.built = True

    def call(self, x, training=False):
        if not training:
            return x
        self.hidden.assign_add(0.01)
        return x + 0.1 * keras.random.normal(tf.shape(x)) + self.hidden


@keras.saving.register_keras_serializable("mine")
class Drawing(keras.layers.Layer):
    def call(self, x, training=False):
        return x + tf.random.normal(tf.shape(x)) if training else x


def shaking(n_features, n_targets):
    inputs = keras.Input((n_features,))
    return keras.Model(inputs, keras.layers.Dense(n_targets)(Shaking()(inputs)))


def drawing(n_features, n_targets):
    inputs = keras.Input((n_features,))
    return keras.Model(inputs, keras.layers.Dense(n_targets)(Drawing()(inputs)))


class Beginning(keras.callbacks.Callback):
    # Takes what it needs when training begins, and draws from numpy's global generator.

    def __init__(self):
        super().__init__()
        self.generator = np.random.default_rng(0)

    def on_train_begin(self, logs=None):
        self.base = float(self.model.optimizer.learning_rate)
        self.weights = self.model.get_weights()

    def on_epoch_begin(self, epoch, logs=None):
        rate = self.base * 0.5**epoch * np.random.uniform(0.5, 1)
        self.model.optimizer.learning_rate.assign(rate)
        now = self.model.get_weights()
        self.model.set_weights([(w + b) / 2 for w, b in zip(now, self.weights)])


def checkpointing():
    return keras.callbacks.ModelCheckpoint("kept-{epoch:02d}-{loss:.3f}.keras", monitor="loss")


class Moving(keras.callbacks.Callback):
    def on_train_begin(self, logs=None):
        self.model.optimizer.iterations.assign(3)


@keras.saving.register_keras_serializable("mine")
class Known(Plain):
    def __init__(self, n_targets, **kwargs):
        super().__init__(n_targets, **kwargs)
        self.n_targets = n_targets

    def get_config(self):
        return {**super().get_config(), "n_targets": self.n_targets}


def plain(n_features, n_targets):
    return Plain(n_targets)


def known(n_features, n_targets):
    return Known(n_targets)


def brain(n_features, n_targets):
    inputs = keras.Input((n_features,))
    x = keras.layers.Dense(4, dtype="bfloat16")(inputs)
    return keras.Model(inputs, keras.layers.Dense(n_targets, dtype="float32")(x))


@keras.saving.register_keras_serializable("mine")
class Narrowing(keras.layers.Layer):
    def call(self, x, training=None):
        return x @ tf.zeros((3, 3)) if training else x


@keras.saving.register_keras_serializable("mine")
class Asserting(keras.layers.Layer):
    def call(self, x, training=None):
        with tf.control_dependencies([tf.debugging.assert_less(x, 0.2, "too large") if training
                                      else tf.no_op()]):
            return tf.identity(x)


@keras.saving.register_keras_serializable("mine")
class Failing(keras.layers.Layer):
    # Not in training: in validation, and in prediction.

    def call(self, x, training=None):
        return x if training else tf.debugging.check_numerics(x / 0.0, "no number")


@keras.saving.register_keras_serializable("mine")
class Late(keras.layers.Layer):
    def build(self, shape):
        self.steps = self.add_weight(initializer="zeros", trainable=False)

    def call(self, x, training=None):
        if not training:
            return x
        self.steps.assign_add(1)
        with tf.control_dependencies([tf.debugging.assert_less(self.steps, 10.0, "too late")]):
            return tf.identity(x)


@keras.saving.register_keras_serializable("mine")
class Unpredictable(keras.layers.Layer):
    def call(self, x, training=None):
        return x if training is None or training else x @ tf.zeros((3, 3))


@keras.saving.register_keras_serializable("mine")
class Stopping(keras.layers.Layer):
    def call(self, x):
        return tf.stop_gradient(x)


@keras.saving.register_keras_serializable("mine")
class Raising(keras.layers.Layer):
    def __init__(self, error, **kwargs):
        super().__init__(**kwargs)
        self.error = error

    def call(self, x, training=None):
        y = tf.py_function(self.reads, [x], tf.float32) if training else x
        return tf.ensure_shape(y, x.shape)

    def reads(self, x):
        if self.error == "OOM":  # TensorFlow's own allocator would wait for ten seconds first
            raise MemoryError(self.error)
        raise LookupError(self.error)

    def get_config(self):
        return {**super().get_config(), "error": self.error}


@keras.saving.register_keras_serializable("mine")
class OfRows(keras.layers.Layer):
    def __init__(self, summed=False, factor=0.01, **kwargs):
        super().__init__(**kwargs)
        self.summed, self.factor = summed, factor

    def call(self, x):
        size = self.factor * tf.reduce_mean(tf.square(x), axis=-1)
        self.add_loss(tf.reduce_sum(size) if self.summed else size)
        return x

    def get_config(self):
        return {**super().get_config(), "summed": self.summed, "factor": self.factor}


def layered(n_features, n_targets, layer, **params):
    inputs = keras.Input((n_features,))
    outputs = keras.layers.Dense(n_targets)(inputs)
    return keras.Model(inputs, globals()[layer](**params)(outputs))


def keyed(n_features, n_targets):
    inputs = keras.Input((n_features,))
    return keras.Model(inputs, {"target": keras.layers.Dense(n_targets)(inputs)})


def keyed_inputs(n_features, n_targets):
    inputs = keras.Input((n_features,), name="x")
    return keras.Model({"x": inputs}, keras.layers.Dense(n_targets)(inputs))


def twofold(n_features, n_targets):
    inputs = keras.Input((n_features,)), keras.Input((n_features,))
    return keras.Model(inputs, keras.layers.Dense(n_targets)(keras.layers.Add()(inputs)))


def whole_numbers(n_features, n_targets):
    inputs = keras.Input((n_features,), dtype="int32")
    x = keras.ops.cast(inputs, "float32")
    return keras.Model(inputs, keras.layers.Dense(n_targets)(x))


def unready(n_features, n_targets):
    return Plain


def shapeless(n_features, n_targets):
    return keras.Sequential()


def text(n_features, n_targets):
    return "mlp"


def mixed(n_features, n_targets, policy="mixed_float16", scale=1.0, factor=0.0):
    inputs = keras.Input((n_features,))
    x = keras.layers.Dense(4, dtype=policy)(inputs)
    x = keras.layers.Rescaling(scale, dtype=policy)(OfRows(factor=factor, dtype=policy)(x))
    return keras.Model(inputs, keras.layers.Dense(n_targets, dtype="float32")(x))


def frozen(n_features, n_targets):
    model = keras.Sequential([keras.Input((n_features,)), keras.layers.Dense(n_targets)])
    model.trainable = False
    return model


def narrow(n_features, n_targets):
    return keras.Sequential([keras.Input((n_features - 1,)), keras.layers.Dense(n_targets)])


def wide(n_features, n_targets):
    return keras.Sequential([keras.layers.Dense(n_targets + 1)])


def half(n_features, n_targets):
    return keras.Sequential([keras.layers.Dense(n_targets, dtype="float16")])


def none(n_features, n_targets):
    return None


def broken(n_features, n_targets):
    layers = [1, 2]
    return layers[n_features]


class Listener(keras.callbacks.Callback):
    def on_train_begin(self, logs=None):
        SEEN.append(("train begin", self.params))

    def on_epoch_begin(self, epoch, logs=None):
        SEEN.append(("epoch begin", epoch))

    def on_train_batch_end(self, batch, logs=None):
        SEEN.append(("batch end", batch, logs["loss"]))

    def on_epoch_end(self, epoch, logs=None):
        SEEN.append(("epoch end", epoch, logs))

    def on_train_end(self, logs=None):
        SEEN.append(("train end", self.model.optimizer.iterations.numpy()))


def halving():
    return keras.callbacks.LearningRateScheduler(lambda epoch: 0.01 / 2**epoch)


class Stop(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        self.model.stop_training = True


class Fail(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        logs["no such score"]


class Unfreeze(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        layer = self.model.get_layer("targets")
        layer.trainable = not layer.trainable


class Leave(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        raise SystemExit(3)


class Unset(keras.callbacks.Callback):
    def set_params(self, params):
        params["no such parameter"]


class Double(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        self.model.set_weights([2 * weight for weight in self.model.get_weights()])
"""


def loaded(path: Path) -> Any:
    return keras.models.load_model(path / "model.keras", compile=False)
