"""The configuration of a training: one frozen record, read from a TOML file and from ``--set``.

In: the path of a flat TOML file and ``key=value`` overrides. Out: a `TrainConfig` whose values have
been checked one by one (see `config_checks`), with one-line errors that name every fault. Checks
that need a dataset (names, sizes, eras) are made in `training.resolve`.

A file holds what differs from the defaults::

    features = "medium"
    targets = ["target", "target_ender_60"]
    validation_eras = 100
    hidden = [512, 256]
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, Self

from ...errors import ConfigError
from ...system.paths import user_path
from . import config_types as types
from .config_checks import checked_values
from .config_file import PARAMS, read_file, read_overrides


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """The configuration of a training: the keys of the TOML file and of ``--set``.

    Each key has a default. Where a key may be None, the value is chosen for the dataset when the
    training begins; a file leaves such a key out or says "auto" (`fill_missing` can only be left
    out). Lists become tuples, and scalars of numpy become Python's own.

    Attributes
    ----------
    features : str or tuple of str
        The name of a feature set, "all", or a list of feature names, the order of which is kept.
    targets : tuple of str
        The targets to train on. The first one is the main target: its scores decide which epoch is
        the best. A single name is taken as a list of one.
    target_transform : str
        What becomes of the targets that are trained on, in each era by itself: "rank", ranks
        between 0 and 1; "gaussian", ranks mapped to a normal distribution; "residual:BENCHMARK",
        what a least-squares fit on a benchmark of the dataset leaves over, where rows without a
        value of it count as unlabelled; or several of these, joined by "+", from left to right.
        Scores are those of the targets as they are.
    validation_eras : int, float, str, tuple of str or None
        The eras to validate on, out of those in which the main target has labels: the last so many;
        a share between 0 and 1, the last ones; a range such as "0575-0700" or
        "2024-01-01 - 2024-06-30"; or a list of era labels and ranges. By default the last fifth.
    embargo_eras : int or "auto"
        The number of eras that are left out before and after each validation era. "auto" is 8 weeks
        if all targets look 20 business days ahead, and 16 weeks or more otherwise.
    allow_overlap : bool
        Whether an embargo is permitted that is too short for the targets.
    batch_size : int or None
        The number of rows per step. In batches of eras it follows from them. By default it is the
        largest power of two from 256 to 4,096 that makes 1,024 batches of the training rows.
    eras_per_batch : int
        The number of different eras in a batch, a block of rows of each. 0: a batch has rows of any
        eras.
    rows_per_era : int
        The number of rows of each era in a batch of eras. 0: the whole era; smaller eras are filled
        up with rows that count as unlabelled.
    era_weights : str
        How large a part of the training each era is: "rows", as its rows; "equal"; "half_life:52",
        halved with every 52 eras that it is older than the newest one; or "file:weights.csv", a
        file with the columns era,weight. It decides how often an era comes in batches of eras, and
        weighs the loss in batches of rows.
    window_size : int or None
        The number of contiguous rows of an era that are drawn and read together; 1 is a global
        shuffle. By default it suits the dataset and the memory.
    pool_batches : int or None
        The number of batches whose rows are shuffled together. By default it follows from
        `window_size` and `batch_size`.
    memory : int or None
        The memory for the buffers of batches, in MB (10^6 bytes). By default a part of what is
        free.
    fill_missing : float or None
        The value that takes the place of missing features, in a dataset that was converted with
        ``--missing nan``. By default such a dataset is an error.
    model : str
        A built-in model: "mlp", "linear", "resnet", "tabm" or "autoencoder"; or "ridge", a ridge
        regression in closed form; or "package.module:function", a function of yours that returns a
        model; or the path of a saved model to start from, ending in ".keras".
    model_params : dict
        The arguments of your function, by name, in addition to the numbers of features and targets;
        or what only one built-in model has: k of a "tabm"; bottleneck, noise,
        reconstruction_weight and target_weight of an "autoencoder"; strength of a "ridge", which is
        chosen by default.
    hidden : tuple of int
        The units of each hidden layer, from the features on, or of each block of a "resnet". An
        empty list leaves none. It applies to built-in models.
    activation : str
        The activation function of hidden layers: "relu", "gelu", "silu", "leaky_relu", "elu" or
        "tanh". It applies to built-in models.
    additive : "none", "linear", "quadratic" or "pairs"
        What an "mlp" adds to the output of its hidden layers: nothing, a linear term of each
        feature, also a quadratic one, or also the product of each pair of features, which is for
        some hundred features. Few quadratic terms and products grow.
    normalization : "none", "batch" or "layer"
        What normalises each hidden layer of an "mlp" or an "autoencoder" before its activation: the
        mean and the variance of each unit over a batch, or of each row over the layer's units.
    dropout : float
        The share of the units that is dropped after each hidden layer. It applies to built-in
        models.
    precision : "float32", "mixed_bfloat16" or "mixed_float16"
        What the hidden layers of a built-in model compute in. Weights, outputs and the loss are
        float32 in any case. The mixed ones are faster only where the hardware is made for them.
    loss : str
        The loss function. "huber" is linear beyond 0.25, the distance of two bins of a target.
        "pearson" and "numerai_corr" are 1 less the correlation of each era of a batch; the second
        has centred predictions and targets raised to the power 1.5. Or "package.module:function", a
        function of yours.
    target_weights : tuple of float
        The weight of each target in the loss, in the order of `targets`. By default all weigh the
        same.
    corr_weight : float
        The weight of 1 less the correlation of each era, added to the loss. This correlation, and
        that of `std_weight`, is Pearson's with loss = "pearson", else that of "numerai_corr".
    std_weight : float
        The weight of the standard deviation of this correlation over the eras of a batch, added to
        the loss.
    exposure_weight : float
        The weight of the exposure to features, added to the loss: the root mean square of the
        correlations of predictions with each feature, in each era of a batch.
    learning_rate : float
        The learning rate of the optimizer.
    warmup_steps : int
        The number of first steps in which the learning rate rises to `learning_rate`, step by step.
    schedule : "constant" or "cosine"
        The learning rate after the warm-up: as it is, or falling to 0 at the end of the last of all
        `epochs`, along half a period of a cosine.
    weight_decay : float
        The share of each weight (except biases and `additive` terms) that a step takes off, times
        the learning rate.
    plateau_patience : int
        The number of epochs without a better score after which the learning rate is lowered; the
        count then starts again. 0: never.
    plateau_factor : float
        The factor by which the learning rate is lowered.
    epochs : int
        The largest number of epochs to train.
    monitor : str
        The score that decides which epoch is the best, when the learning rate is lowered and when
        training stops early: a column of `history.csv`. For the loss, deviations and drawdowns a
        smaller value is better. BMC, MMC and FNC are computed only where one of theirs is
        monitored; they take a benchmark, the meta model or a feature set of the dataset.
    patience : int
        The number of epochs without a better score after which training stops. 0: it never stops
        early.
    validation_steps : int
        The number of steps, counted over the run, between two scorings inside epochs. 0: scores
        are computed at the end of each epoch only.
    callbacks : tuple of str
        Your own Keras callbacks, as "package.module:name" of a class, or of a function that
        returns a callback.
    tensorboard : bool
        Whether a log for TensorBoard is written into the run's folder.
    baseline : "ridge" or "none"
        What is trained beside the model, on the same eras, features and targets, to compare it
        with: a ridge regression, in a folder inside the run's. A "linear" model has none.
    seed : int
        The seed of the order of the rows, of the initial weights and of the dropout.
    deterministic : bool or None
        Whether equal runs end in equal bits. By default true on a CPU, false on a GPU.
    checkpoint_steps : int
        The number of steps between two checkpoints. 0: steps don't count.
    checkpoint_minutes : float
        The number of minutes between two checkpoints. 0: minutes don't count.

    Raises
    ------
    ConfigError
        If values have a wrong type or are out of range; all of them are named in one line.

    Examples
    --------
    >>> TrainConfig(epochs=3, targets=["target_x_20"]).targets
    ('target_x_20',)
    >>> TrainConfig(dropout=1)
    Traceback (most recent call last):
    ...
    memmap_train.errors.ConfigError: dropout: expected a number from 0 to below 1, found 1
    """

    features: types.Features = "all"
    targets: types.Targets = ("target",)
    target_transform: types.Transform = "none"
    validation_eras: types.OrAuto[types.Eras] = None
    embargo_eras: types.EmbargoEras = "auto"
    allow_overlap: types.Flag = False

    batch_size: types.OrAuto[types.AtLeast1] = None
    eras_per_batch: types.AtLeast0 = 0
    rows_per_era: types.AtLeast0 = 0
    era_weights: types.EraWeights = "rows"
    window_size: types.OrAuto[types.AtLeast1] = None
    pool_batches: types.OrAuto[types.AtLeast1] = None
    memory: types.OrAuto[types.AtLeast1] = None
    fill_missing: types.Number | None = None

    model: types.ModelName = "mlp"
    model_params: types.Table = field(default_factory=dict)
    hidden: types.Widths = (128, 64)
    activation: Literal["relu", "gelu", "silu", "leaky_relu", "elu", "tanh"] = "relu"
    additive: Literal["none", "linear", "quadratic", "pairs"] = "quadratic"
    normalization: Literal["none", "batch", "layer"] = "none"
    dropout: types.ShareOr0 = 0.3
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"
    loss: types.Loss = "mse"
    target_weights: types.Weights = ()
    corr_weight: types.NotNegative = 0.0
    std_weight: types.NotNegative = 0.0
    exposure_weight: types.NotNegative = 0.0
    learning_rate: types.Positive = 1e-3
    warmup_steps: types.AtLeast0 = 0
    schedule: Literal["constant", "cosine"] = "cosine"
    weight_decay: types.NotNegative = 1.0

    plateau_patience: types.AtLeast0 = 0
    plateau_factor: types.Share = 0.5

    epochs: types.AtLeast1 = 2
    monitor: types.Monitor = "val_corr_mean"
    patience: types.AtLeast0 = 3
    validation_steps: types.AtLeast0 = 0
    callbacks: types.References = ()
    tensorboard: types.Flag = False
    baseline: Literal["ridge", "none"] = "ridge"
    seed: types.Seed = 0
    deterministic: types.OrAuto[types.Flag] = None
    checkpoint_steps: types.AtLeast0 = 0
    checkpoint_minutes: types.NotNegative = 10.0

    def __post_init__(self) -> None:
        kept, faults = checked_values(
            TrainConfig, {key.name: getattr(self, key.name) for key in fields(self)}
        )
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
            Texts ``key=value`` that override the file; of several for one key, the last counts. A
            value is read as TOML, or taken as text if it isn't TOML. ``model_params.units=64`` sets
            one of the `model_params` and leaves the others.
        begun : TrainConfig, optional
            The configuration that a run to be resumed began with, in place of the defaults.

        Returns
        -------
        TrainConfig

        Raises
        ------
        ConfigError
            If the file can't be read or isn't TOML, or if keys are unknown or have wrong values;
            all such keys are named, with the place where each was found.

        Examples
        --------
        >>> config = TrainConfig.load(None, ["features=medium", "hidden=[256, 64]", "dropout=0"])
        >>> config.features, config.hidden, config.dropout
        ('medium', (256, 64), 0.0)
        """
        parts = {} if path is None else {str(path): read_file(user_path(path))}
        return cls.merged({**parts, "--set": read_overrides(overrides)}, begun)

    @classmethod
    def merged(
        cls, parts: Mapping[str, Mapping[str, Any]], begun: "TrainConfig | None" = None
    ) -> Self:
        """Return the configuration of several parts, by the place where each was found.

        A later part overrides those before; see `load`.
        """
        merged = {} if begun is None else begun.to_dict()
        faults = []
        for where, values in parts.items():
            kept, found = checked_values(TrainConfig, values)
            params = merged.get(PARAMS, {}) | kept.get(PARAMS, {})
            merged |= kept | ({PARAMS: params} if params else {})
            faults += [f"{where}: {fault}" for fault in found]
        if faults:
            raise ConfigError("; ".join(faults))
        return cls(**merged)

    def to_dict(self) -> dict[str, Any]:
        """Return all keys in their order, with values as JSON has them: lists for tuples.

        ``TrainConfig(**config.to_dict())`` equals the configuration.

        >>> TrainConfig().to_dict()["hidden"]
        [128, 64]
        """
        values = {key.name: getattr(self, key.name) for key in fields(self)}
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in values.items()
        }
