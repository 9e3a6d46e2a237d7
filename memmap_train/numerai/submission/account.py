"""The account at Numerai: the keys, which come from the environment alone, and the models."""

import os
from collections.abc import Mapping

from ...errors import NumeraiError, listed, nearest
from ..api import TOURNAMENT, Answer, answer_to, data_of
from ..environment import PUBLIC_ID, SECRET_KEY

_QUOTES = frozenset("\"'`")  # Docker's files of variables keep them
_MODELS = "query { account { models { id name tournament } } }"


class Keys(tuple[str, str]):
    """The public id and the secret key; neither is in the text of this object.

    >>> Keys(("A", "B"))
    Keys(not shown)
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "Keys(not shown)"

    __str__ = __repr__


def read_keys(environment: Mapping[str, str] = os.environ) -> Keys:
    """Return the keys of the environment.

    Raises
    ------
    NumeraiError
        One of the two variables isn't set, or holds what no key holds.
    """
    found = {name: environment.get(name, "").strip() for name in (PUBLIC_ID, SECRET_KEY)}
    missing = [name for name, value in found.items() if not value]
    if missing:
        raise NumeraiError(
            f"Numerai needs a key: expected the environment to hold {PUBLIC_ID} and {SECRET_KEY}, "
            f"and {' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not set; make a "
            "key at numer.ai under Settings, with the scope to upload submissions"
        )
    for name, value in found.items():
        if _QUOTES.intersection(value):
            raise NumeraiError(
                f"{name}: expected letters and digits, found quotation marks; leave them out"
            )
        if not (value.isascii() and value.isprintable()) or " " in value:
            raise NumeraiError(
                f"{name}: expected letters and digits, found other characters; copy the key again"
            )
    return Keys((found[PUBLIC_ID], found[SECRET_KEY]))


def find_model(name: str, keys: Keys) -> str:
    """Return the id of the account's model of a name.

    Raises
    ------
    NumeraiError
        There is no such model, the key isn't valid, or Numerai doesn't answer.
    """
    ids = _models_of(answer_to(_MODELS, {}, keys), keys)
    if name not in ids:
        raise NumeraiError(
            f"the account has no model {name!r}{nearest(name, ids)}; it has "
            f"{listed(sorted(ids), most=20) or 'none in this tournament'}"
        )
    return ids[name]


def check_key(keys: Keys) -> None:
    """Raise an error if Numerai refuses the key; a Numerai that doesn't answer refuses nothing.

    Raises
    ------
    NumeraiError
        The key isn't valid, or lacks the scope to read user information.
    """
    answer = answer_to(_MODELS, {}, keys)
    if answer.is_refused or answer.data is not None:
        _models_of(answer, keys)


def _models_of(answer: Answer, keys: Keys) -> dict[str, str]:
    """Return the ids of the account's models by their names."""
    account = data_of("the account's models", answer, keys).get("account")
    models = account.get("models") if isinstance(account, dict) else None
    if not isinstance(models, list):
        raise NumeraiError(
            "Numerai's answer to the request for the account's models holds none; the key may "
            "lack the scope to read user information"
        )
    return {
        str(model["name"]): str(model["id"])
        for model in models
        if isinstance(model, dict)
        and model.get("tournament") == TOURNAMENT
        and {"name", "id"} <= model.keys()
    }
