"""The transforms of targets that a configuration may name: the text, taken apart.

Takes a text such as "residual:BENCHMARK+gaussian"; returns its steps. `era_transform` applies them.
"""

from dataclasses import dataclass

NONE, RANK, GAUSSIAN, RESIDUAL = "none", "rank", "gaussian", "residual:"
JOINED_BY = "+"
_MEANS = {NONE: 0.5, RANK: 0.5, GAUSSIAN: 0.0}
# Of targets in five bins of 5, 20, 50, 20 and 5 %, as Numerai's have.
_STDS = {NONE: 0.2236, RANK: 0.2675, GAUSSIAN: 1.0}


@dataclass(frozen=True, slots=True)
class TargetTransform:
    """Steps that are applied to the labels of an era, from left to right.

    Attributes
    ----------
    steps : tuple of str
        "rank", "gaussian", or "residual:" and the name of a benchmark; none: targets stay as they
        are.

    Examples
    --------
    >>> TargetTransform.parse("residual:model_a+gaussian").steps
    ('residual:model_a', 'gaussian')
    >>> TargetTransform.parse("none").steps
    ()
    """

    steps: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> "TargetTransform":
        """Return the transform that a text of the configuration names.

        Raises
        ------
        ValueError
            A step is none of those.
        """
        if text == NONE:
            return cls(())
        steps = tuple(text.split(JOINED_BY))
        for step in steps:
            is_residual = step.startswith(RESIDUAL) and step != RESIDUAL
            if step not in (RANK, GAUSSIAN) and not is_residual:
                raise ValueError(f"no target transform {step!r}")
        return cls(steps)

    @property
    def benchmarks(self) -> tuple[str, ...]:
        """The benchmarks that residuals are taken to, each once, in order."""
        names = (s.removeprefix(RESIDUAL) for s in self.steps if s.startswith(RESIDUAL))
        return tuple(dict.fromkeys(names))

    @property
    def mean(self) -> float:
        """The mean of transformed targets, which is known beforehand."""
        return _MEANS.get(self.steps[-1], 0.0) if self.steps else _MEANS[NONE]

    @property
    def std(self) -> float:
        """About the standard deviation of transformed targets; residuals are nearly as wide."""
        scaled = [step for step in self.steps if step in _STDS]
        return _STDS[scaled[-1] if scaled else NONE]
