"""What a training costs, as a probe of it has measured: a record, and its text.

Takes measured times; imports no TensorFlow.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ...text import counted, in_bytes, in_time

FIRST_STEP = "first step"
TRANSFORM = "transform of targets"
"""What is done once in a training, before the first epoch."""
_BASELINE = "baseline"

_NOTICEABLE = 0.05
"""The least share of features outside of memory, and of an epoch's time, that is told of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainCost:
    """What a training costs on this machine, by a probe of some steps and eras.

    Attributes
    ----------
    n_steps, n_eras : int
        Steps and validation eras that were measured.
    training_seconds, scoring_seconds : float
        Of an epoch whose features come from where later epochs find them.
    rows_per_second : float
        In training.
    data_wait : float
        The share of the training's time that is spent waiting for rows, 0 to 1.
    epochs : int
        Epochs that are left to train.
    once : mapping of str to float
        Seconds that are spent once, by what they are spent on.
    feature_bytes : int
        Features of the eras to train on and to validate on, as they are stored.
    unread_bytes : int or None
        Those that aren't in memory yet; None if that isn't known.
    fits : bool
        Whether all of them stay in memory once they have been read.
    disk_bytes_per_second : float or None
        The rate at which the probe has read from the disk, if it has.
    peak_bytes : int or None
        The memory of this process in the probe, page cache excepted, and what checkpoints add to
        that; None if it isn't known.
    checkpoint_bytes : int
        The size of a checkpoint.
    """

    n_steps: int
    n_eras: int
    training_seconds: float
    scoring_seconds: float
    rows_per_second: float
    data_wait: float
    epochs: int
    once: Mapping[str, float] = field(default_factory=dict)
    feature_bytes: int
    unread_bytes: int | None
    fits: bool
    disk_bytes_per_second: float | None
    peak_bytes: int | None
    checkpoint_bytes: int

    @property
    def epoch_seconds(self) -> float:
        """Seconds of an epoch with its scoring."""
        return self.training_seconds + self.scoring_seconds

    @property
    def reading_seconds(self) -> float:
        """Seconds by which the disk makes the first epoch longer, at most; 0 if that isn't known.

        Only where features stay in memory: where they don't, each epoch reads from the disk.
        """
        if not (self.fits and self.unread_bytes and self.disk_bytes_per_second):
            return 0.0
        return self.unread_bytes / self.disk_bytes_per_second

    @property
    def total_seconds(self) -> float:
        """Seconds of all epochs, and of what is done once; the disk's part isn't in it."""
        return self.epochs * self.epoch_seconds + sum(self.once.values())


def scaled_cost(cost: TrainCost, *, steps: float, scored_rows: float, epochs: int) -> TrainCost:
    """Return the cost of a training with so many times the steps and the rows to score."""
    return replace(
        cost,
        training_seconds=cost.training_seconds * steps,
        scoring_seconds=cost.scoring_seconds * scored_rows,
        epochs=epochs,
        once={
            name: value * (steps if name == TRANSFORM else 1) for name, value in cost.once.items()
        },
    )


def seconds_per_pool(seconds: Sequence[float], reading: Sequence[bool], n_steps: int) -> float:
    """Return how long the steps of a pool take.

    Parameters
    ----------
    seconds : sequence of float
        Of steps one after another, with their waits for rows; the first is the second of its pool.
    reading : sequence of bool
        Whether the next pool was being read when each step was done: that takes cores and memory
        that steps need, too.
    n_steps : int
        The steps of a pool.

    Examples
    --------
    Any steps as many as a pool has contain one reading of a pool:

    >>> seconds_per_pool([2.0, 1.0, 1.0, 2.0, 1.0], [True, False, False, True, False], 3)
    4.0

    If the pool is longer, the remaining steps are like those without a reading:

    >>> seconds_per_pool([2.0, 1.0, 1.0], [True, False, False], 10)
    11.0
    """
    whole = len(seconds) // n_steps * n_steps
    if whole:
        return sum(seconds[:whole]) / whole * n_steps
    busy = [second for second, is_busy in zip(seconds, reading, strict=True) if is_busy]
    quiet = [second for second, is_busy in zip(seconds, reading, strict=True) if not is_busy]
    if not quiet:
        return sum(busy) / len(busy) * n_steps
    return sum(busy) + (n_steps - len(busy)) * sum(quiet) / len(quiet)


def cost_text(costs: Sequence[TrainCost], baseline_seconds: float = 0.0) -> str:
    """Return the cost of a training, or of several one after another, as lines of text.

    Parameters
    ----------
    costs : sequence of TrainCost
    baseline_seconds : float
        How long the baseline is fitted, if it is.
    """
    first = costs[0]
    steps = f"{counted(first.n_steps, 'step')} and {counted(first.n_eras, 'era')}"
    epochs = [cost.epoch_seconds for cost in costs]
    epoch = _range([cost.training_seconds for cost in costs]) + " of training and "
    epoch += _range([cost.scoring_seconds for cost in costs]) + " of scoring"
    once = {
        name: sum(cost.once.get(name, 0.0) for cost in costs)
        for name in dict.fromkeys(name for cost in costs for name in cost.once)
    }
    once |= {_BASELINE: baseline_seconds} if baseline_seconds else {}
    total = sum(cost.total_seconds for cost in costs) + baseline_seconds
    of_all = f" of {counted(len(costs), 'model')}" if len(costs) > 1 else ""
    parts = ", ".join(f"{name} {_duration(seconds)}" for name, seconds in once.items())
    memory = "unknown" if first.peak_bytes is None else in_bytes(first.peak_bytes)
    lines = [
        f"probe       {steps} measured: {first.rows_per_second:,.0f} rows/s, waits for data "
        f"{first.data_wait:.0%}; {_source(first)}",
        f"epoch       {_range(epochs)}: {epoch}",
        f"total       {_duration(total)} for all "
        f"{counted(sum(cost.epochs for cost in costs), 'epoch')}{of_all}"
        + (f", with what is done once: {parts}" if parts else ""),
        f"peak        {memory} of memory without the page cache; checkpoints of "
        f"{in_bytes(first.checkpoint_bytes)}",
    ]
    return "\n".join(lines)


def _source(cost: TrainCost) -> str:
    """Return where features came from, and what that means for the first epoch."""
    rate = cost.disk_bytes_per_second
    read = "" if rate is None else f" at {in_bytes(rate)}/s"
    if not cost.fits:
        return f"in each epoch a part of {in_bytes(cost.feature_bytes)} comes from the disk{read}"
    if cost.unread_bytes is None:
        return f"features came from memory or from the disk{read}, which isn't known here"
    if cost.unread_bytes <= _NOTICEABLE * cost.feature_bytes:
        return "features come from the page cache"
    text = f"{in_bytes(cost.unread_bytes)} of features are not in memory yet"
    if not cost.reading_seconds:
        return f"{text}: the first epoch takes longer"
    return f"{text}: the first epoch takes up to {_duration(cost.reading_seconds)} longer{read}"


def _range(seconds: Sequence[float]) -> str:
    low, high = _duration(min(seconds)), _duration(max(seconds))
    return low if low == high else f"{low} to {high}"


def _duration(seconds: float) -> str:
    """Return a duration, with a digit more than `in_time` has where it is short.

    >>> _duration(0.123), _duration(4.26), _duration(754)
    ('0.12 s', '4.3 s', '13 min')
    """
    if seconds < 1:
        return f"{seconds:.2f} s"
    return f"{seconds:.1f} s" if seconds < 10 else in_time(seconds)
