"""An account at the server on loopback: models, submissions, diagnostics, uploads, rounds."""

from typing import Any

from memmap_train.numerai.submission.account import Keys
from tests.support.numerai_server import NumeraiServer

MODEL_ID = "9b157d9b-ce61-4ab5-9413-413f13a0c0a6"


class Account:
    """Lets a server answer questions on one account.

    Attributes
    ----------
    submissions : list of dict
        As the API lists them.
    diagnostics : list of dict
        The diagnostics that were asked for, with their scores.
    pickles : list of dict
        Model uploads; the model runs the last one.
    models : list of dict
    images, data_versions : list of dict
        What is offered to model uploads.
    round : dict
        The current round.
    statuses : list of str or None
        What becomes of a submission, of each kind: one word for each question. The last one stays.
    """

    def __init__(self, server: NumeraiServer) -> None:
        self._server = server
        self.submissions: list[dict[str, Any]] = []
        self.diagnostics: list[dict[str, Any]] = []
        self.pickles: list[dict[str, Any]] = []
        self.statuses: list[str | None] = ["on-time"]
        self.models = [
            {"id": MODEL_ID, "name": "first", "tournament": 8},
            {"id": "of-signals", "name": "signal", "tournament": 11},
        ]
        self.images: list[dict[str, Any]] = [
            {"id": f"image-{number}", "name": f"Python 3.{number}", "default": number == 12}
            for number in (10, 11, 12, 13)
        ]
        self.data_versions = [
            {"id": f"data-{name}", "name": name} for name in ("v5.9", "v5.10", "v4.1", "other")
        ]
        self.round: Any = {
            "number": 1334,
            "openTime": "2026-11-28T12:00:00Z",
            "closeTime": "2026-12-27T12:00:00Z",
            "closeStakingTime": "2026-11-29T14:00:00Z",
        }
        server.resolvers |= {
            "account": self._account,
            "rounds": lambda variables: [self.round],
            "submission_upload_auth": self._authorize,
            "create_submission": self._create_submission,
            "submissions": lambda variables: self.submissions,
            "diagnosticsUploadAuth": self._authorize,
            "createDiagnostics": self._create_diagnostics,
            "diagnostics": self._diagnostics,
            "computePickleUploadAuth": self._authorize,
            "createComputePickleUpload": self._create_pickle,
            "computePickleDockerImages": lambda variables: self.images,
            "computePickleDataVersions": lambda variables: self.data_versions,
        }
        server.private_fields |= server.resolvers.keys() - {"listDatasets", "dataset", "rounds"}

    @property
    def keys(self) -> Keys:
        """The account's keys."""
        return Keys(self._server.keys)

    def open_round(self, *, is_open: bool = True) -> None:
        """Let the round be open for centuries, or closed for years."""
        self.round = self.round | {
            "openTime": "2020-01-04T12:00:00Z",
            "closeStakingTime": "2999-01-01T14:00:00Z" if is_open else "2020-01-06T14:30:00Z",
        }

    def created(self, field: str) -> int:
        """Return how often the server was asked to make something of a file."""
        return sum(field in seen.names for seen in self._server.of_kind("graphql"))

    def _account(self, variables: dict[str, Any]) -> dict[str, Any]:
        del variables
        own, *others = self.models or [{}]
        latest = [{**made, "status": self._status()} for made in self.submissions[-1:]]
        pickle = {**self.pickles[-1], "validationStatus": self._status()} if self.pickles else None
        if not own:
            return {"models": []}
        own = {**own, "latestSubmissions": latest, "computePickleUpload": pickle}
        return {"models": [own, *others]}

    def _status(self) -> str | None:
        return self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]

    def _authorize(self, variables: dict[str, Any]) -> dict[str, str]:
        assert variables["modelId"] == MODEL_ID
        assert variables.get("tournament", 8) == 8
        number = len(self._server.of_kind("graphql"))
        name = f"{number}-{variables['filename']}"
        return {"filename": name, "url": self._server.address(f"/upload/{name}")}

    def _create_submission(self, variables: dict[str, Any]) -> dict[str, str]:
        """Make a submission, whether or not the file was uploaded: Numerai does so, too."""
        made = {"id": f"submission-{len(self.submissions)}", "filename": variables["filename"]}
        self.submissions.append(made)
        return {"id": made["id"]}

    def _create_diagnostics(self, variables: dict[str, Any]) -> dict[str, str]:
        self.diagnostics.append(
            {
                "id": f"diagnostics-{len(self.diagnostics)}",
                "uploaded": variables["filename"],
                "message": None,
                "erasAcceptedCount": 87,
                "validationCorrMean": 0.025,
                "validationCorrSharpe": 1.25,
                "validationMmcMean": None,
                "validationBmcMean": 0.004,
            }
        )
        return {"id": self.diagnostics[-1]["id"]}

    def _diagnostics(self, variables: dict[str, Any]) -> dict[str, Any] | None:
        wanted = variables.get("id")
        found = [item for item in self.diagnostics if wanted in (None, item["id"])]
        return {**found[-1], "status": self._status()} if found else None

    def _create_pickle(self, variables: dict[str, Any]) -> dict[str, str]:
        self.pickles.append(
            {
                "id": f"pickle-{len(self.pickles)}",
                "filename": variables["filename"],
                "dataVersionId": variables["dataVersionId"],
                "dockerImageId": variables["dockerImageId"],
                "triggerStatus": "enabled",
                "triggers": [
                    {
                        "id": "t",
                        "status": "done",
                        "statuses": [
                            {"insertedAt": "2026-11-29T10:00:00Z", "status": "running"},
                            {"status": "ended", "description": "No currently open rounds!"},
                        ],
                    }
                ],
            }
        )
        return {"id": self.pickles[-1]["id"]}
