"""The configurations that `learning` compares: one thing at a time is changed, from a base.

Takes the number of epochs; returns variants. Each has settings of `TrainConfig`, and says which
other variant it is compared with.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from memmap_train.conversion.sample_benchmarks import BENCHMARK_NAMES
from memmap_train.conversion.sample_writer import SIGNAL_NAMES

SIGNALS = SIGNAL_NAMES
BASE = "mlp"
BENCHMARK = "the benchmark"
_RESIDUAL = f"residual:{BENCHMARK_NAMES[0]}"
HARMFUL_FAMILY = "serenity"  # the last one of 16 features or more

# The defaults of the day when the tables were made, so that their figures stay those of this file.
_SETTINGS: Mapping[str, Any] = {
    "model": "mlp",
    "hidden": (128, 64),
    "activation": "relu",
    "normalization": "none",
    "dropout": 0.3,
    "loss": "mse",
    "learning_rate": 0.001,
    "schedule": "cosine",
    "weight_decay": 1.0,
    "patience": 0,
    "checkpoint_minutes": 0,
    "baseline": "none",
}
_ERAS: Mapping[str, Any] = {
    "eras_per_batch": 4,
    "rows_per_era": 64,
}  # as many rows as a batch of rows has
_BY_ERA = "batches of eras"


@dataclass(frozen=True, slots=True)
class Variant:
    """One row of the tables.

    Attributes
    ----------
    name : str
    settings : mapping
        Of `TrainConfig`.
    against : str
        The variant that it is compared with.
    n_models : int
        Number of models whose ranks are averaged; they differ by their seeds.
    neutral_to : str or None
        The feature set that predictions are made neutral to, or `BENCHMARK`.
    as_long_as : str or None
        The variant that has as many epochs as this one's training takes time for; None: all have
        the same number of epochs.
    """

    name: str
    settings: Mapping[str, Any]
    against: str = BASE
    n_models: int = 1
    neutral_to: str | None = None
    as_long_as: str | None = None


@dataclass(slots=True)
class _Variants:
    """Variants, each added as a change of an earlier one."""

    found: dict[str, Variant] = field(default_factory=dict)

    def add(
        self, name: str, of: str | None = None, /, *, against: str | None = None, **changes: Any
    ) -> None:
        """Add a variant: settings of another one, and changes of these or of its attributes."""
        of = of or BASE
        attributes = {
            key: changes.pop(key)
            for key in ("n_models", "neutral_to", "as_long_as")
            if key in changes
        }
        earlier = self.found[of].settings if of in self.found else _SETTINGS
        self.found[name] = Variant(name, {**earlier, **changes}, against or of, **attributes)


def variants(epochs: int) -> list[Variant]:
    """Return all variants, the base first, each after the one that it is compared with."""
    of = _Variants()
    of.add(BASE, epochs=epochs, additive="quadratic")
    of.add("additive linear", additive="linear")
    of.add("additive none", additive="none")
    of.add("constant learning rate", schedule="constant")
    of.add("twice the epochs", epochs=2 * epochs)
    of.add(_BY_ERA, **_ERAS)

    for model in ("linear", "ridge", "resnet", "tabm", "autoencoder"):
        of.add(model, "additive none", against=BASE, model=model)
    for model in ("linear", "resnet", "tabm", "autoencoder"):
        of.add(f"{model}, as long as mlp", model, against=BASE, as_long_as=model)

    of.add("huber", loss="huber")
    of.add("pearson", _BY_ERA, loss="pearson")
    of.add("numerai_corr", _BY_ERA, loss="numerai_corr")
    of.add("mse + corr_weight 0.1", _BY_ERA, corr_weight=0.1)
    of.add("pearson + std_weight 0.5", "pearson", std_weight=0.5)
    of.add("pearson + exposure_weight 0.1", "pearson", exposure_weight=0.1)
    of.add("pearson + exposure_weight 0.5", "pearson", exposure_weight=0.5)
    of.add(f"neutral to {HARMFUL_FAMILY}", neutral_to=HARMFUL_FAMILY)

    of.add("gaussian", target_transform="gaussian")
    of.add("residual", target_transform=_RESIDUAL)
    of.add(f"neutral to {BENCHMARK}", neutral_to=BENCHMARK)
    of.add("residual+gaussian+residual", target_transform=f"{_RESIDUAL}+gaussian+{_RESIDUAL}")
    of.add("residual+gaussian", target_transform=f"{_RESIDUAL}+gaussian")
    of.add("residual, pearson", "residual", loss="pearson", **_ERAS)
    of.add(f"residual, neutral to {HARMFUL_FAMILY}", "residual", neutral_to=HARMFUL_FAMILY)
    for model in ("linear", "ridge", "resnet", "tabm"):
        of.add(f"{model}, residual", model, target_transform=_RESIDUAL)
    of.add(f"ridge, neutral to {BENCHMARK}", "ridge", neutral_to=BENCHMARK)

    of.add("half_life:52", era_weights="half_life:52")
    of.add("half_life:156", era_weights="half_life:156")
    of.add("ridge, half_life:52", "ridge", era_weights="half_life:52")

    for model in (BASE, "residual"):
        of.add(f"{model}, 5 seeds", model, n_models=5)
    return list(of.found.values())


def named(names: Sequence[str], among: Sequence[Variant]) -> list[Variant]:
    """Return variants with these names, and those that their epochs follow from; none: all."""
    needed = set(names)
    for variant in among:
        if variant.name in names and variant.as_long_as is not None:
            needed |= {variant.against, variant.as_long_as}
    return [variant for variant in among if variant.name in needed or not names]
