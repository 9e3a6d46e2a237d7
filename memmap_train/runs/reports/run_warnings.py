"""Warnings that don't stop a training: each is reported once.

Takes facts about a run; sends lines to a `Reporter`. Imports no TensorFlow.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ...errors import listed
from ..record import RunRecord
from ..run import Run
from ..scores.summary import EraScores
from .reporter import Reporter

_BEYOND = "a resumed run won't end in the bits of an uninterrupted one"


class RunWarnings:
    """Reports the warnings of one training; a repeated warning is reported once.

    Parameters
    ----------
    run_path : Path
    report : Reporter
    """

    def __init__(self, run_path: Path, report: Reporter) -> None:
        self._run_path, self._report = run_path, report
        self._reported: set[str] = set()

    def warn(self, text: str) -> None:
        """Report a warning."""
        self._report.warning(text)

    def warn_once(self, text: str, *, subject: str | None = None) -> None:
        """Report a warning unless one of the same text, or about the same subject, was reported."""
        key = subject or text
        if key not in self._reported:
            self._report.warning(text)
        self._reported.add(key)

    @contextmanager
    def tolerating_a_full_disk(self, what: str) -> Iterator[None]:
        """Turn an OSError of the block into a warning that `what` couldn't be written."""
        try:
            yield
        except OSError as error:
            self.warn_once(
                f"{self._run_path}: {what} couldn't be written ({error.strerror}); training goes "
                "on, and what was written before is kept"
            )

    def undefined_scores(self, scores: EraScores) -> None:
        """Warn of validation eras without a score, or without BMC, MMC or FNC: once a reason."""
        n_eras = len(scores.corr)
        for reason, n_undefined in scores.undefined.items():
            of_model = reason.startswith("predictions")
            advice = "try another learning_rate" if of_model else "choose other validation_eras"
            self.warn_once(
                f"{self._run_path}: {n_undefined} of {n_eras} validation eras have no score: "
                f"{reason}; {advice}",
                subject=reason,
            )
        for name in scores.further:
            for reason, n_undefined in scores.further_undefined.items():
                self.warn_once(
                    f"{self._run_path}: {n_undefined} of {n_eras} validation eras have no "
                    f"{name.upper()}: {reason}; the score is that of the others",
                    subject=f"{name}: {reason}",
                )

    def unsaved_state(
        self, model: str, operations: Sequence[str], attributes: Sequence[str]
    ) -> None:
        """Warn of state that no checkpoint can hold.

        Parameters
        ----------
        model : str
            The model as the configuration names it.
        operations : sequence of str
            TensorFlow's operations in it that keep a state of their own.
        attributes : sequence of str
            Attributes of callbacks that aren't plain, each as "callback: attribute".
        """
        if operations:
            self.warn(
                f"{model}: the model draws by {listed(operations)}, whose state no checkpoint can "
                f"hold: {_BEYOND}; draw by keras.random with a keras.random.SeedGenerator"
            )
        if attributes:
            self.warn(
                f"callbacks: {listed(attributes)}: no plain attribute (a number, text, an array, "
                f"or lists of such), so no checkpoint holds it: where it matters, {_BEYOND}"
            )


def warn_about_versions(run: Run, record: RunRecord, report: Reporter) -> None:
    """Warn if software versions or cores differ from those that a run was begun with."""
    changed = [
        f"{key.removesuffix('_version').replace('_', ' ')} {old} → {record.versions[key]}"
        for key, old in run.record.versions.items()  # some keys came later
        if old != record.versions[key]
    ]
    if changed:
        report.warning(
            f"{run.path}: resumed with other versions or threads than it began with: "
            f"{', '.join(changed)}; the results may differ from those of an uninterrupted run"
        )
