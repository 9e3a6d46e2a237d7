"""An account at the server on loopback: models, submissions, rounds."""

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
    models : list of dict
    round : dict
        The current round.
    """

    def __init__(self, server: NumeraiServer) -> None:
        self._server = server
        self.submissions: list[dict[str, str]] = []
        self.models = [
            {"id": MODEL_ID, "name": "first", "tournament": 8},
            {"id": "of-signals", "name": "signal", "tournament": 11},
        ]
        self.round: Any = {
            "number": 1334,
            "openTime": "2026-11-28T12:00:00Z",
            "closeTime": "2026-12-27T12:00:00Z",
            "closeStakingTime": "2026-11-29T14:00:00Z",
        }
        server.resolvers |= {
            "account": lambda variables: {"models": self.models},
            "rounds": lambda variables: [self.round],
            "submission_upload_auth": self._authorize,
            "create_submission": self._create,
            "submissions": lambda variables: self.submissions,
        }
        server.private_fields |= server.resolvers.keys() - {"listDatasets", "dataset", "rounds"}

    @property
    def keys(self) -> Keys:
        """The account's keys."""
        return Keys(self._server.keys)

    def _authorize(self, variables: dict[str, Any]) -> dict[str, str]:
        assert (variables["modelId"], variables["tournament"]) == (MODEL_ID, 8)
        number = len(self._server.of_kind("graphql"))
        name = f"{number}-{variables['filename']}"
        return {"filename": name, "url": self._server.address(f"/upload/{name}")}

    def _create(self, variables: dict[str, Any]) -> dict[str, str]:
        """Make a submission, whether or not the file was uploaded: Numerai does so, too."""
        name = variables["filename"]
        submission = {"id": f"submission-{len(self.submissions)}", "filename": name}
        self.submissions.append({**submission, "insertedAt": "2026-11-29T10:00:00Z"})
        return {"id": submission["id"]}
