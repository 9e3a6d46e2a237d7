"""Where files are sent at Numerai: predictions, diagnostics, models, each in its own words.

A `Destination` is the questions that ask for an address, make something of the file that was put
there, and list what a model has, so that a lost answer can be looked for.

Notes
-----
Source: numerapi 3.1.1, `upload_predictions`, `upload_diagnostics`, `model_upload`; for the uploads
of models that there are, example-scripts, numerai/agents/skills/numerai-model-upload/SKILL.md.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ...errors import NumeraiError
from ..api import Wait, answer_to
from .account import Keys

Existing = dict[str, str | None]
"""Ids of what a model has, each with the name of its file; None where the API doesn't tell it."""


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a file is sent, and what becomes of it there.

    Attributes
    ----------
    noun : str
        What Numerai makes of the file.
    address_field, address : str
        The field, and the question, that gives an address for the file.
    create_field, create : str
        The field, and the change, that makes something of the file.
    existing : callable
        Returns what a model has, by its id; None if the API refuses to tell.
    """

    noun: str
    address_field: str
    address: str
    create_field: str
    create: str
    existing: Callable[[str, Keys, Wait], Existing | None]


def _address(field: str, *, is_of_tournament: bool) -> str:
    names, values = "", ""
    if is_of_tournament:
        names, values = "$tournament: Int! ", "tournament: $tournament "
    return f"""query($filename: String! {names}$modelId: String) {{
        {field}(filename: $filename {values}modelId: $modelId) {{ filename url }}
    }}"""


def _create(field: str, further: str = "") -> str:
    names = "".join(f" ${name}: String" for name in further.split())
    values = "".join(f" {name}: ${name}" for name in further.split())
    return f"""mutation($filename: String! $tournament: Int! $modelId: String{names}) {{
        {field}(filename: $filename tournament: $tournament modelId: $modelId{values}) {{ id }}
    }}"""


def _submissions(model_id: str, keys: Keys, wait: Wait) -> Existing | None:
    """Return the submissions of a model."""
    text = "query($modelId: String) { submissions(modelId: $modelId) { id filename } }"
    data = _told(text, {"modelId": model_id}, keys, wait)
    return None if data is None else _files_by_id(data.get("submissions"))


def _diagnostics(model_id: str, keys: Keys, wait: Wait) -> Existing | None:
    """Return the newest diagnostics of a model, whose file the API doesn't name."""
    text = "query($modelId: String!) { diagnostics(modelId: $modelId) { id } }"
    data = _told(text, {"modelId": model_id}, keys, wait)
    return None if data is None else _files_by_id(data.get("diagnostics"))


def _model_uploads(model_id: str, keys: Keys, wait: Wait) -> Existing | None:
    """Return the model upload that a model runs."""
    text = "query { account { models { id computePickleUpload { id filename } } } }"
    data = _told(text, {}, keys, wait)
    if data is None:
        return None
    return _files_by_id(model_of(data, model_id).get("computePickleUpload"))


def _told(
    text: str, variables: Mapping[str, Any], keys: Keys, wait: Wait
) -> Mapping[str, Any] | None:
    """Return what the API answers; None if it refuses to, since the key lacks a scope for example.

    Raises
    ------
    NumeraiError
        No answer comes.
    """
    answer = answer_to(text, variables, keys, wait)
    if answer.data is None and not answer.is_refused:
        raise NumeraiError(
            f"Numerai doesn't answer the request for what the model has: {answer.reason}; check "
            "the network, or try again later"
        )
    return answer.data


def model_of(answer: Mapping[str, Any], model_id: str) -> Mapping[str, Any]:
    """Return a model of the account from an answer; an empty mapping if it isn't there."""
    account = answer.get("account")
    models = account.get("models") if isinstance(account, dict) else None
    named = [model for model in models or [] if isinstance(model, dict)]
    found = [model for model in named if model.get("id") == model_id]
    return found[0] if found else {}


def _files_by_id(found: Any) -> Existing:
    """Return one item of an answer, or a list of them, by id."""
    items = found if isinstance(found, list) else [found]
    return {
        str(item["id"]): item.get("filename")
        for item in items
        if isinstance(item, dict) and item.get("id")
    }


PREDICTIONS = Destination(
    noun="submission",
    address_field="submission_upload_auth",
    address=_address("submission_upload_auth", is_of_tournament=True),
    create_field="create_submission",
    create=_create("create_submission"),
    existing=_submissions,
)
DIAGNOSTICS = Destination(
    noun="request for diagnostics",
    address_field="diagnosticsUploadAuth",
    address=_address("diagnosticsUploadAuth", is_of_tournament=True),
    create_field="createDiagnostics",
    create=_create("createDiagnostics"),
    existing=_diagnostics,
)
MODEL = Destination(
    noun="model upload",
    address_field="computePickleUploadAuth",
    address=_address("computePickleUploadAuth", is_of_tournament=False),
    create_field="createComputePickleUpload",
    create=_create("createComputePickleUpload", "dataVersionId dockerImageId"),
    existing=_model_uploads,
)
