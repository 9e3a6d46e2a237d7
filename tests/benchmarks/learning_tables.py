"""The scores of `learning` as Markdown tables and as a picture.

Takes the scores of variants on samples of several seeds; standard errors, differences and their
p-values are over seeds.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev

from scipy.stats import ttest_rel

from memmap_train.runs.scores.summary import summary

from .learning_runs import Scored
from .learning_variants import Variant
from .measuring import print_table

BySeed = Sequence[Scored]
"""The scores of a variant, in the order of seeds."""
Score = Callable[[Scored], float]

_MARKS = ((0.01, " **"), (0.05, " *"))  # of p-values below


def print_scores(
    title: str, scores: Mapping[str, BySeed], references: Mapping[str, BySeed]
) -> None:
    """Print the scores on the samples of one signal.

    Parameters
    ----------
    title : str
    scores : mapping of str to sequence of Scored
        Of each variant.
    references : mapping of str to sequence of Scored
        Of the perfect model, which comes first, and of others that aren't trained.
    """
    best = next(iter(references.values()))
    heads = ["", "CORR", "of best", "Sharpe", "drawdown", "BMC", "BMC Sharpe", "epochs", "s/epoch"]
    rows = []
    for name, found in {**references, **scores}.items():
        shares = [_corr(one) / _corr(of_best) for one, of_best in zip(found, best, strict=True)]
        row = [
            name,
            _with_error(found, _corr),
            f"{100 * mean(shares):.0f} %",
            f"{mean(map(_sharpe, found)):.2f}",
            f"{mean(summary(one.corr).max_drawdown for one in found):.3f}",
            _with_error(found, _bmc),
            f"{mean(summary(one.bmc).sharpe for one in found):.2f}",
        ]
        if name in scores:
            row.append(f"{mean(one.epochs for one in found):.0f}")
            row.append(f"{mean(one.epoch_seconds for one in found):.1f}")
        rows.append(row)
    print_table(title, heads, rows)


def print_differences(
    scores: Mapping[str, Mapping[str, BySeed]], variants: Sequence[Variant]
) -> None:
    """Print what each variant has more than the one that it is compared with.

    Parameters
    ----------
    scores : mapping of str to mapping
        Of each signal, those of `print_scores`.
    variants : sequence of Variant
    """
    columns = {"CORR": (_corr, 4), "Sharpe": (_sharpe, 2), "BMC": (_bmc, 4)}
    rows = []
    for variant in variants:
        if variant.name != variant.against and all(variant.against in of for of in scores.values()):
            row = [variant.name, variant.against]
            for of_signal in scores.values():
                found, other = of_signal[variant.name], of_signal[variant.against]
                row += [_difference(found, other, *column) for column in columns.values()]
            rows.append(row)
    print_table(
        "Differences of the same seeds, ± standard error; * p < 0.05, ** p < 0.01 in a paired "
        "t-test (of 100 comparisons without any effect, 5 and 1 would be marked)",
        ["", "compared with", *(f"{signal}: {name}" for signal in scores for name in columns)],
        rows,
    )


def _corr(scored: Scored) -> float:
    return summary(scored.corr).mean


def _sharpe(scored: Scored) -> float:
    return summary(scored.corr).sharpe


def _bmc(scored: Scored) -> float:
    return summary(scored.bmc).mean


def _difference(found: BySeed, other: BySeed, score: Score, digits: int) -> str:
    """Return the mean of the paired differences with its error, marked by its p-value."""
    ours, theirs = list(map(score, found)), list(map(score, other))
    differences = [a - b for a, b in zip(ours, theirs, strict=True)]
    error = _error(differences)
    p = float(ttest_rel(ours, theirs).pvalue) if error > 0 else 1.0
    mark = next((mark for below, mark in _MARKS if p < below), "")
    return f"{mean(differences):+.{digits}f} ± {error:.{digits}f}{mark}"


def _with_error(found: BySeed, score: Score) -> str:
    values = list(map(score, found))
    return f"{mean(values):.4f} ± {_error(values):.4f}"


def _error(values: Sequence[float]) -> float:
    """Return the standard error of the mean."""
    return float(stdev(values) / len(values) ** 0.5)


def draw_scores(
    path: Path,
    scores: Mapping[str, Mapping[str, BySeed]],
    references: Mapping[str, Mapping[str, BySeed]],
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

    series = {"CORR": (_corr, "#0b69a3"), "BMC": (_bmc, "#9446ed")}
    names = list(dict.fromkeys(name for of_signal in scores.values() for name in of_signal))
    height = 1.6 + 0.24 * len(names)
    figure, axes = pyplot.subplots(
        1, len(series) * len(scores), figsize=(15, height), sharey=True, layout="constrained"
    )
    position = {name: -number for number, name in enumerate(names)}
    for number, (signal, of_signal) in enumerate(scores.items()):
        for offset, (label, (score, color)) in enumerate(series.items()):
            axis = axes[len(series) * number + offset]
            for name, found in of_signal.items():
                values = list(map(score, found))
                axis.errorbar(
                    mean(values),
                    position[name],
                    xerr=_error(values),
                    fmt="o",
                    markersize=4,
                    color=color,
                )
            base = mean(map(score, next(iter(of_signal.values()))))
            axis.axvline(base, color="#7b8794", linewidth=0.8)
            for of_other in references[signal].values():
                axis.axvline(mean(map(score, of_other)), color="#de911d", linestyle=":")
            axis.set_title(f"{signal}: {label}", fontsize=10)
            axis.grid(axis="x", color="#e4e7eb")
            axis.spines[["top", "right", "left"]].set_visible(False)
            axis.tick_params(labelsize=8, left=False)
            axis.locator_params(axis="x", nbins=5)
    axes[0].set_yticks(list(position.values()), list(position))
    figure.suptitle(
        "Means over seeds, ± standard error. Line: the first variant; dotted: the best possible "
        "score, and the benchmark's",
        fontsize=9,
    )
    figure.savefig(path, dpi=130)
    pyplot.close(figure)
