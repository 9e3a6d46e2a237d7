"""The account at Numerai: the keys, which come from the environment alone, and the models."""

import os
from collections.abc import Mapping

from ...errors import NumeraiError, listed, nearest
from ..api import TOURNAMENT, ask

PUBLIC_ID, SECRET_KEY = "NUMERAI_PUBLIC_ID", "NUMERAI_SECRET_KEY"
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
    account = ask("the account's models", _MODELS, {}, keys=keys).get("account")
    models = account.get("models") if isinstance(account, dict) else None
    if not isinstance(models, list):
        raise NumeraiError(
            "Numerai's answer to the request for the account's models holds none; the key may "
            "lack the scope to read user information"
        )
    ids = {
        str(model["name"]): model["id"]
        for model in models
        if isinstance(model, dict)
        and model.get("tournament") == TOURNAMENT
        and {"name", "id"} <= model.keys()
    }
    if name not in ids:
        raise NumeraiError(
            f"the account has no model {name!r}{nearest(name, ids)}; it has "
            f"{listed(sorted(ids), most=20) or 'none in this tournament'}"
        )
    found: str = ids[name]
    return found
