"""Where files are sent at Numerai: predictions, diagnostics, models, each in its own words.

A `Destination` is the questions that ask for an address, make something of the file that was put
there, and list what a model has, so that a lost answer can be looked for.

Notes
-----
Source: numerapi 3.1.1, `upload_predictions`, `upload_diagnostics`, `model_upload`; for the uploads
of models that there are, example-scripts, numerai/agents/skills/numerai-model-upload/SKILL.md.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ...errors import NumeraiError
from ..api import Wait, answer_to, ask
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
        Returns what a model has, by its id.
    """

    noun: str
    address_field: str
    address: str
    create_field: str
    create: str
    existing: Callable[[str, Keys, Wait], Existing]


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


def _submissions(model_id: str, keys: Keys, wait: Wait = time.sleep) -> Existing:
    """Return the submissions of a model."""
    text = "query($modelId: String) { submissions(modelId: $modelId) { id filename } }"
    variables = {"modelId": model_id}
    answer = ask("the model's submissions", text, variables, keys=keys, wait=wait)
    return _files_by_id(answer.get("submissions"))


def _diagnostics(model_id: str, keys: Keys, wait: Wait = time.sleep) -> Existing:
    """Return the newest diagnostics of a model, whose file the API doesn't name."""
    text = "query($modelId: String!) { diagnostics(modelId: $modelId) { id } }"
    answer = answer_to(text, {"modelId": model_id}, keys, wait)
    if answer.is_refused:  # the model has none
        return {}
    if answer.data is None:
        raise NumeraiError(
            f"Numerai doesn't answer the question for the model's diagnostics: {answer.reason}"
        )
    return _files_by_id(answer.data.get("diagnostics"))


def _model_uploads(model_id: str, keys: Keys, wait: Wait = time.sleep) -> Existing:
    """Return the model upload that a model runs."""
    text = "query { account { models { id computePickleUpload { id filename } } } }"
    answer = ask("the model's uploads", text, {}, keys=keys, wait=wait)
    return _files_by_id(model_of(answer, model_id).get("computePickleUpload"))


def model_of(answer: Mapping[str, Any], model_id: str) -> Mapping[str, Any]:
    """Return a model of the account from an answer; an empty mapping if it isn't there."""
    account = answer.get("account")
    models = account.get("models") if isinstance(account, dict) else None
    found = [model for model in models or [] if model.get("id") == model_id]
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
