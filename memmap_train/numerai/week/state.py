"""What was done already: `state.json` of a week's folder, written whole at each change.

The state saves work, and says what was sent. It isn't the only proof of that: what is sent has a
name that recognizes it at Numerai (see `arrival`), so that a lost state sends nothing twice.
"""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ...errors import NumeraiError, RunError
from ...runs.files import read_json, write_json

FILE_NAME = "state.json"
FORMAT_VERSION = 1
MAX_ROUNDS = 10  # that are remembered


@dataclass(frozen=True, slots=True)
class Live:
    """The live rows of a round.

    Attributes
    ----------
    etag, n_bytes
        What the file was at Numerai.
    digest : str
        Of its content.
    """

    etag: str
    n_bytes: int
    digest: str


@dataclass(frozen=True, slots=True)
class Work:
    """What is made for one model and sent once.

    Attributes
    ----------
    made_of : str
        A digest of all that the file follows from; another one is another file.
    file, digest : str
        The name of the file, and the digest of its content.
    is_begun : bool
        Whether sending it was begun.
    known : tuple of str
        The ids at Numerai that the model had before.
    sent : str
        Its id at Numerai; empty before it has arrived.
    """

    made_of: str = ""
    file: str = ""
    digest: str = ""
    is_begun: bool = False
    known: tuple[str, ...] = ()
    sent: str = ""


class State:
    """The state of a week's folder.

    Parameters
    ----------
    folder : Path

    Raises
    ------
    NumeraiError
        The file is damaged, or was written by a newer version of this package.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE_NAME
        self._live: dict[str, Live] = {}
        self._predictions: dict[str, dict[str, Work]] = {}
        self._uploads: dict[str, Work] = {}
        try:
            values = read_json(self._path)
        except (FileNotFoundError, NotADirectoryError):
            return
        except RunError:
            raise self._damaged("it can't be read, or isn't a JSON object") from None
        if values.get("format_version") != FORMAT_VERSION:
            raise self._damaged(f"expected format_version {FORMAT_VERSION}")
        try:
            self._live = {name: Live(**item) for name, item in values["live"].items()}
            self._predictions = {
                number: {name: _work(item) for name, item in models.items()}
                for number, models in values["predictions"].items()
            }
            self._uploads = {name: _work(item) for name, item in values["uploads"].items()}
        except (KeyError, TypeError, AttributeError):
            raise self._damaged("it isn't what this version writes") from None

    def live(self, round_number: int) -> Live | None:
        """Return the live rows that were taken for those of a round."""
        return self._live.get(str(round_number))

    def is_of_another_round(self, etag: str, n_bytes: int, round_number: int) -> bool:
        """Return True if a live file was that of an earlier round."""
        return bool(etag) and any(
            (live.etag, live.n_bytes) == (etag, n_bytes)
            for number, live in self._live.items()
            if number != str(round_number)
        )

    def set_live(self, round_number: int, live: Live) -> None:
        """Record the live rows of a round; the oldest rounds are forgotten."""
        self._live[str(round_number)] = live
        for known in (self._live, self._predictions):
            for number in sorted(known, key=int)[:-MAX_ROUNDS]:
                del known[number]
        self._save()

    def predictions(self, round_number: int, model: str) -> Work:
        """Return what was done for a model in a round."""
        return self._predictions.get(str(round_number), {}).get(model, Work())

    def upload(self, model: str) -> Work:
        """Return what was done for a model upload."""
        return self._uploads.get(model, Work())

    def set_predictions(self, round_number: int, model: str, **changes: Any) -> Work:
        """Record what was done for a model in a round."""
        new = replace(self.predictions(round_number, model), **changes)
        self._predictions.setdefault(str(round_number), {})[model] = new
        self._save()
        return new

    def set_upload(self, model: str, **changes: Any) -> Work:
        """Record what was done for a model upload."""
        self._uploads[model] = new = replace(self.upload(model), **changes)
        self._save()
        return new

    def _save(self) -> None:
        values: dict[str, Any] = {
            "format_version": FORMAT_VERSION,
            "live": {number: asdict(live) for number, live in self._live.items()},
            "predictions": {
                number: {name: asdict(work) for name, work in models.items()}
                for number, models in self._predictions.items()
            },
            "uploads": {name: asdict(work) for name, work in self._uploads.items()},
        }
        try:
            write_json(self._path, values)
        except OSError as error:
            raise NumeraiError(
                f"{self._path}: the state can't be written: {error.strerror}; when it can, the "
                "same command goes on"
            ) from error

    def _damaged(self, what: str) -> NumeraiError:
        return NumeraiError(
            f"{self._path}: damaged: {what}; remove it: what was sent is recognized at Numerai by "
            "its name"
        )


def _work(values: dict[str, Any]) -> Work:
    return Work(**{**values, "known": tuple(values["known"])})
