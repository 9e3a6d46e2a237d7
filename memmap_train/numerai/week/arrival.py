"""Whether something that may have been sent has arrived at Numerai.

A process can be killed between sending and recording, or its state can be lost. What is sent has a
name that no other file has, so what a model has at Numerai says whether it is there. If Numerai
changes names, anything that the model didn't have before counts as what was sent.
"""

import time
from dataclasses import dataclass

from ...errors import NumeraiError
from ..submission.account import Keys
from ..submission.destinations import Destination
from .state import Work


@dataclass(frozen=True, slots=True)
class Arrival:
    """What a model has at Numerai.

    Attributes
    ----------
    id : str or None
        The id of what was sent; None if it isn't there.
    known : tuple of str
        All ids.
    """

    id: str | None
    known: tuple[str, ...]


def look_for(name: str, work: Work, destination: Destination, model_id: str, keys: Keys) -> Arrival:
    """Look whether something has arrived.

    Parameters
    ----------
    name : str
        What the name of the file begins with; Numerai may add to it.
    work : Work
        What is known to have been done.
    destination : Destination
    model_id : str
    keys : Keys

    Raises
    ------
    NumeraiError
        Numerai doesn't answer, or refuses to tell what has become of what may have been sent:
        nothing may be sent then.
    """
    existing = destination.existing(model_id, keys, time.sleep)
    if existing is None:  # the key lacks a scope
        if work.is_begun:
            raise NumeraiError(
                f"whether {work.file} has arrived isn't known: sending it was begun, and Numerai "
                "doesn't tell what the model has; look at the model at numer.ai, and send it by "
                "`memmap-train submit` if it isn't there"
            )
        return Arrival(None, ())
    found = [key for key, filename in existing.items() if name in (filename or "")]
    if work.is_begun:
        found += [key for key in existing if key not in work.known]
    return Arrival(found[0] if found else None, tuple(existing))
