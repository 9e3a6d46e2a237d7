"""What helps a net to learn: models, losses, targets and weights compared, over several seeds.

Each seed has samples of its own, one plain and one like a market, and trains with that seed. Runs
and scores are kept: what was interrupted continues with what is missing.
"""

from collections.abc import Sequence
from pathlib import Path

from .learning_runs import SampleKey, SampleRuns, Scored
from .learning_tables import draw_scores, print_differences, print_scores
from .learning_variants import SIGNALS, Variant, named, variants
from .measuring import alone
from .sources import Size


def run(directory: Path, size: Size) -> None:
    """Train what is missing; print the tables, and draw them."""
    scores: dict[str, dict[str, list[Scored]]] = {signal: {} for signal in SIGNALS}
    references: dict[str, dict[str, list[Scored]]] = {signal: {} for signal in SIGNALS}
    chosen = named(size.learning_only, variants(size.learning_epochs))
    for seed in range(size.learning_seeds):
        for signal in SIGNALS:
            key = SampleKey(signal, seed, *size.learning_sample)
            epoch_seconds = {name: found[0].epoch_seconds for name, found in scores[signal].items()}
            (known, found), _ = alone(
                score_sample, directory / "learning", key, chosen, epoch_seconds
            )
            for into, of_key in ((references, known), (scores, found)):
                for name, scored in of_key.items():
                    into[signal].setdefault(name, []).append(scored)
    eras, rows_per_era, features = size.learning_sample
    for signal in SIGNALS:
        print_scores(
            f"Signal {signal}: {eras} eras of {rows_per_era:,} rows x {features:,} features, "
            f"{size.learning_seeds} seeds, ± standard error",
            scores[signal],
            references[signal],
        )
    print_differences(scores, chosen)
    picture = directory / "learning" / "learning.png"
    draw_scores(picture, scores, references)
    print(f"picture     {picture}", flush=True)


def score_sample(
    directory: Path,
    key: SampleKey,
    chosen: Sequence[Variant],
    epoch_seconds: dict[str, float],
) -> tuple[dict[str, Scored], dict[str, Scored]]:
    """Return the scores of the references and of variants on one sample.

    Parameters
    ----------
    directory : Path
    key : SampleKey
    chosen : sequence of Variant
        Each after those that its epochs follow from.
    epoch_seconds : dict of str to float
        How long an epoch of a variant takes, as the first seed found it, so that all seeds of a
        variant train for equally many epochs.
    """
    runs = SampleRuns(directory, key)
    found: dict[str, Scored] = {}
    for variant in chosen:
        found[variant.name] = scored = runs.scored(variant, epoch_seconds)
        epoch_seconds.setdefault(variant.name, scored.epoch_seconds)
        print(f"{key.name}: {variant.name}", flush=True)
    return runs.references(), found
