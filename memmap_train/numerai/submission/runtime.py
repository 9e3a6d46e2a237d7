"""What Numerai runs a model upload with: an image of its Python, and a version of the data.

Notes
-----
Source: example-scripts, numerai/agents/skills/numerai-model-upload/SKILL.md, for the fields.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import NumeraiError, listed, nearest
from ..api import ask
from ..download.plan import version_numbers
from .account import Keys

_IMAGES = "query { computePickleDockerImages { id name image tag default } }"
_DATA_VERSIONS = "query { computePickleDataVersions { id name } }"
_PYTHON = re.compile(r"(?<!\d)3[._](\d{1,2})(?!\d)")
_NUMBERED = re.compile(r"v\d+(\.\d+)*")


@dataclass(frozen=True, slots=True)
class Choice:
    """An image, or a version of the data, that Numerai offers."""

    id: str
    name: str


def choose_image(path: Path, python: str, keys: Keys) -> Choice:
    """Return the image whose Python has made an upload.

    Raises
    ------
    NumeraiError
        Numerai offers none, or can't be reached.
    """
    found = _offered("the images of model uploads", _IMAGES, "computePickleDockerImages", keys)
    fitting = [image for image in found if _python_of(image) == python]
    if not fitting:
        raise NumeraiError(
            f"{path}: made by Python {python}, and Numerai offers {_names(found)}; export it with "
            "a Python of these (--python VERSION): in another one Numerai's process ends with a "
            "segmentation fault"
        )
    image = next((image for image in fitting if image.get("default")), fitting[0])
    return Choice(str(image["id"]), str(image["name"]))


def choose_data_version(name: str | None, keys: Keys) -> Choice:
    """Return the version of the data of a name, by default the newest one.

    Raises
    ------
    NumeraiError
        Numerai offers none of this name, or can't be reached.
    """
    what = "the versions of the data of model uploads"
    found = _offered(what, _DATA_VERSIONS, "computePickleDataVersions", keys)
    ids = {str(version["name"]): str(version["id"]) for version in found}
    if name is None:
        numbered = [version for version in ids if _NUMBERED.fullmatch(version)]
        if not numbered:
            raise NumeraiError(
                f"Numerai offers the data {_names(found)}, none of which is known here; name one: "
                "--data-version VERSION"
            )
        name = max(numbered, key=version_numbers)
    if name not in ids:
        raise NumeraiError(
            f"Numerai offers no data {name!r} to model uploads{nearest(name, ids)}; it offers "
            f"{_names(found)}"
        )
    return Choice(ids[name], name)


def _offered(what: str, text: str, field: str, keys: Keys) -> Sequence[Mapping[str, Any]]:
    items = ask(what, text, {}, keys=keys).get(field)
    found = [item for item in items or [] if isinstance(item, dict) and {"id", "name"} <= set(item)]
    if not found:
        raise NumeraiError(f"Numerai's answer to the request for {what} holds none; try later")
    return found


def _python_of(image: Mapping[str, Any]) -> str | None:
    """Return the Python of an image, by its name or the name of its container.

    >>> _python_of({"name": "Python 3.12"}), _python_of({"name": "x", "image": "predict_py_3_13"})
    ('3.12', '3.13')
    """
    for key in ("name", "image", "tag"):
        found = _PYTHON.search(str(image.get(key)))
        if found:
            return f"3.{found[1]}"
    return None


def _names(found: Sequence[Mapping[str, Any]]) -> str:
    return listed((str(item["name"]) for item in found), most=10)
