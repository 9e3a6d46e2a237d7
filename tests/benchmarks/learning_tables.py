"""The scores of `learning` as a Markdown table and as a picture.

Takes the scores of variants on samples of several seeds; standard errors, differences and their
p-values are over seeds.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev

from scipy.stats import ttest_rel

from memmap_train.runs.summary import summary

from .learning_runs import Scored
from .learning_variants import Variant
from .measuring import print_table

BY_SEED = Sequence[Scored]
_HEADS = (
    "variant",
    "CORR",
    "Sharpe",
    "drawdown",
    "of best",
    "BMC",
    "BMC Sharpe",
    "epochs",
    "s/epoch",
    "compared with",
    "CORR +",
    "p",
    "Sharpe +",
    "p",
    "BMC +",
    "p",
)
_SERIES = (
    ("CORR", lambda scored: summary(scored.corr).mean),
    ("BMC", lambda scored: summary(scored.bmc).mean),
)


def print_scores(
    title: str,
    scores: Mapping[str, BY_SEED],
    references: Mapping[str, BY_SEED],
    variants: Sequence[Variant],
) -> None:
    """Print the table of one sample.

    Parameters
    ----------
    title : str
    scores : mapping of str to sequence of Scored
        Of each variant, in the order of seeds.
    references : mapping
        Scores of the perfect model, first, and of others that aren't trained.
    variants : sequence of Variant
    """
    best = next(iter(references.values()))
    rows = [[name, *_cells(found, best)] for name, found in references.items()]
    for variant in variants:
        found = scores[variant.name]
        cells = [variant.name, *_cells(found, best), f"{mean(one.epochs for one in found):.0f}"]
        cells.append(f"{mean(one.epoch_seconds for one in found):.1f}")
        if variant.name != variant.against:
            cells.append(variant.against)
            for score in (_corr, _sharpe, _bmc):
                cells += _difference(found, scores[variant.against], score)
        rows.append(cells)
    print_table(title, _HEADS, rows)


def _cells(found: BY_SEED, best: BY_SEED) -> list[str]:
    shares = [_corr(one) / _corr(of_best) for one, of_best in zip(found, best, strict=True)]
    return [
        _with_error(list(map(_corr, found))),
        f"{mean(map(_sharpe, found)):.2f}",
        f"{mean(summary(one.corr).max_drawdown for one in found):.3f}",
        f"{100 * mean(shares):.0f} %",
        _with_error(list(map(_bmc, found))),
        f"{mean(summary(one.bmc).sharpe for one in found):.2f}",
    ]


def _corr(scored: Scored) -> float:
    return summary(scored.corr).mean


def _sharpe(scored: Scored) -> float:
    return summary(scored.corr).sharpe


def _bmc(scored: Scored) -> float:
    return summary(scored.bmc).mean


def _difference(
    found: BY_SEED, other: BY_SEED, score: Callable[[Scored], float]
) -> tuple[str, str]:
    """Return the mean of the paired differences with its error, and the p-value of a t-test."""
    ours, theirs = list(map(score, found)), list(map(score, other))
    differences = [a - b for a, b in zip(ours, theirs, strict=True)]
    digits = 2 if score is _sharpe else 4
    p = float(ttest_rel(ours, theirs).pvalue) if len(set(differences)) > 1 else math.nan
    return _with_error(differences, digits=digits, sign="+"), f"{p:.2g}"


def _with_error(values: Sequence[float], *, digits: int = 4, sign: str = "") -> str:
    """Return the mean of values and its standard error.

    >>> _with_error([0.01, 0.03])
    '0.0200 ± 0.0100'
    """
    return f"{mean(values):{sign}.{digits}f} ± {_error(values):.{digits}f}"


def _error(values: Sequence[float]) -> float:
    return float(stdev(values) / len(values) ** 0.5)


def draw_scores(
    path: Path,
    scores: Mapping[str, Mapping[str, BY_SEED]],
    references: Mapping[str, Mapping[str, BY_SEED]],
) -> None:
    """Draw the scores of all samples.

    Parameters
    ----------
    path : Path
        The PNG file.
    scores, references : mapping of str to mapping
        Of each signal, what `print_scores` takes.
    """
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot

    names = list(dict.fromkeys(name for of_signal in scores.values() for name in of_signal))
    height = 1.6 + 0.24 * len(names)
    figure, axes = pyplot.subplots(
        1, len(_SERIES) * len(scores), figsize=(15, height), sharey=True, layout="constrained"
    )
    position = {name: -number for number, name in enumerate(names)}
    for number, (signal, of_signal) in enumerate(scores.items()):
        for offset, (label, score) in enumerate(_SERIES):
            axis = axes[len(_SERIES) * number + offset]
            for name, found in of_signal.items():
                values = list(map(score, found))
                axis.errorbar(
                    mean(values),
                    position[name],
                    xerr=_error(values),
                    fmt="o",
                    markersize=4,
                    color="#0b69a3" if label == "CORR" else "#9446ed",
                )
            base = mean(map(score, next(iter(of_signal.values()))))
            axis.axvline(base, color="#7b8794", linewidth=0.8)
            for color, found in zip(
                ("#de911d", "#1f2933"), references[signal].values(), strict=True
            ):
                axis.axvline(mean(map(score, found)), color=color, linestyle=":", linewidth=1.2)
            axis.set_title(f"{signal}: {label}", fontsize=10)
            axis.grid(axis="x", color="#e4e7eb")
            axis.spines[["top", "right", "left"]].set_visible(False)
            axis.tick_params(labelsize=8, left=False)
    axes[0].set_yticks(list(position.values()), list(position))
    figure.suptitle(
        "Means over seeds, ± standard error. Line: the first variant; dotted: the best possible "
        "score, and the benchmark's",
        fontsize=9,
    )
    figure.savefig(path, dpi=130)
    pyplot.close(figure)
