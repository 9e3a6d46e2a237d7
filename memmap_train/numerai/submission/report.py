"""The report of a submission."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

Kind = Literal["predictions", "diagnostics", "model"]


@dataclass(frozen=True, slots=True)
class SubmitReport:
    """What was sent to Numerai, or would be.

    Attributes
    ----------
    kind : {"predictions", "diagnostics", "model"}
    path : str
        The file.
    n_bytes : int
        What is sent of it.
    model, model_id : str
        The name and the id of the model at Numerai.
    is_dry_run : bool
        Whether everything was done but the upload.
    n_rows : int or None
        The predictions; None for a model.
    round_number : int or None
        The current round, for predictions.
    round_is_open : bool or None
        Whether the round takes predictions; a closed one doesn't end a dry run.
    opens, closes : datetime or None
        When the round opens and closes, or has done so; in UTC.
    python, image, data_version : str or None
        Of a model: the Python that made it, and what Numerai runs it with.
    id : str or None
        The id of what has arrived; None after a dry run.
    filename : str or None
        The name that Numerai has given to the file.
    status : str or None
        Numerai's own word for what has become of it; None if it wasn't waited for.
    problem : str or None
        Why it isn't accepted, or isn't known to be; None if all is well, or wasn't waited for.
    scores : dict of str to float
        Of diagnostics: the scores that came, by Numerai's own names.
    log : tuple of str
        What Numerai says on it, line by line.
    """

    kind: Kind
    path: str
    n_bytes: int
    model: str
    model_id: str
    is_dry_run: bool
    n_rows: int | None = None
    round_number: int | None = None
    round_is_open: bool | None = None
    opens: datetime | None = None
    closes: datetime | None = None
    python: str | None = None
    image: str | None = None
    data_version: str | None = None
    id: str | None = None
    filename: str | None = None
    status: str | None = None
    problem: str | None = None
    scores: dict[str, float] = field(default_factory=dict)
    log: tuple[str, ...] = ()
