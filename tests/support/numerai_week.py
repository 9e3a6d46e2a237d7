"""Numerai's week on loopback: a round, live rows, models, finished runs, a configuration."""

import io
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import memmap_train as mt
from memmap_train.numerai.week.clock import Clock
from memmap_train.numerai.week.report import WeekReport
from memmap_train.numerai.week.week import week
from memmap_train.runs.run import read_run
from memmap_train.runs.run_folder import begin_run
from tests.support.numerai_server import NumeraiServer
from tests.support.random_models import make_run
from tests.support.run_records import run_record

MODELS = {"first": "id-of-first", "second": "id-of-second"}
HOUR = timedelta(hours=1)
CONFIG = """
version = "v5.3"
wait_minutes = 0

[[models]]
name = "first"
runs = ["runs/one"]
"""


class FakeClock:
    """A clock that a wait moves on; what happens at a time is called when that is reached."""

    def __init__(self, now: datetime) -> None:
        self.now = now
        self.waits: list[float] = []
        self._events: list[tuple[datetime, Callable[[], object]]] = []

    def at(self, time: datetime, act: Callable[[], object]) -> None:
        """Let something happen at a time."""
        self._events.append((time, act))

    def wait(self, seconds: float) -> None:
        """Move on."""
        self.waits.append(seconds)
        assert len(self.waits) < 1000
        self.now += timedelta(seconds=max(seconds, 0.001))
        due = [event for event in self._events if event[0] <= self.now]
        for event in due:
            self._events.remove(event)
            event[1]()

    @property
    def clock(self) -> Clock:
        """What the product takes."""
        return Clock(lambda: self.now, self.wait)


class NumeraiWeek:
    """A server with an open round, and a folder with a configuration and runs.

    Attributes
    ----------
    submissions : dict of str to list
        By model, as the API lists them.
    uploads : dict of str to list
        Model uploads, by model; the last one is run.
    """

    def __init__(self, server: NumeraiServer, folder: Path, sample: Path) -> None:
        self.server, self.folder, self.sample = server, folder, sample
        self.now = datetime.now(UTC)
        self.round: Any = {}
        self.open_round(1334, self.now - HOUR, self.now + HOUR)
        self.submissions: dict[str, list[dict[str, str]]] = {name: [] for name in MODELS}
        self.uploads: dict[str, list[dict[str, str]]] = {name: [] for name in MODELS}
        for name in ("features.json", "live.parquet", "train.parquet", "validation.parquet"):
            server.put_file(f"v5.3/{name}", (sample / name).read_bytes())
        server.resolvers |= {
            "account": self._account,
            "rounds": lambda variables: [self.round],
            "submission_upload_auth": self._authorize,
            "create_submission": self._create,
            "submissions": lambda variables: self.submissions[_name(variables)],
            "computePickleUploadAuth": self._authorize,
            "createComputePickleUpload": self._create_upload,
            "computePickleDockerImages": lambda variables: [
                {"id": f"image-{number}", "name": f"Python 3.{number}"} for number in range(10, 15)
            ],
            "computePickleDataVersions": lambda variables: [{"id": "data", "name": "v5.3"}],
        }
        server.private_fields |= server.resolvers.keys() - {"listDatasets", "dataset", "rounds"}

    @property
    def config(self) -> Path:
        """The configuration's path."""
        return self.folder / "week.toml"

    @property
    def state(self) -> Path:
        """The folder of the state."""
        return self.folder / "week"

    def open_round(self, number: int, opens: datetime, closes: datetime) -> None:
        """Make a round the current one."""
        self.round = {
            "number": number,
            "openTime": opens.isoformat(),
            "closeTime": (closes + 720 * HOUR).isoformat(),
            "closeStakingTime": closes.isoformat(),
        }

    def write_config(self, text: str = CONFIG) -> None:
        """Write the configuration."""
        self.config.write_text(text)

    def run(self, clock: FakeClock | None = None, **options: Any) -> WeekReport:
        """Do the week in this process."""
        used = clock or FakeClock(datetime.now(UTC))
        return week(self.config, progress=False, clock=used.clock, **options)

    def refresh_live(self, seed: int = 1) -> list[str]:
        """Give the server other live rows, of another round; return their ids."""
        table = pq.read_table(self.sample / "live.parquet")
        ids = [f"n{seed:x}{number:014x}" for number in range(len(table))]
        place = table.column_names.index("id")
        table = table.set_column(place, "id", pa.array(ids))
        file = io.BytesIO()
        pq.write_table(table, file)
        self.server.put_file("v5.3/live.parquet", file.getvalue())
        return ids

    def uploaded_ids(self, name: str) -> list[str]:
        """Return the ids in a file of predictions that was uploaded."""
        header, *lines = self.server.uploads[name].decode().splitlines()
        assert header == "id,prediction"
        return [line.split(",")[0] for line in lines]

    def texts(self) -> str:
        """Return the content of all files that a week has written, as text."""
        files = [path for path in self.state.rglob("*") if path.is_file()]
        files += [path for path in (self.folder / "data").glob(".*") if path.is_file()]
        return "\n".join(path.read_bytes().decode("latin-1") for path in files)

    def last_upload(self) -> str:
        """Return the name of the file that was uploaded last."""
        return list(self.server.uploads)[-1]

    def start_again(self) -> None:
        """Forget all that a week has done, here and at Numerai."""
        for made in (*self.submissions.values(), *self.uploads.values()):
            made.clear()
        self.server.uploads.clear()
        for folder in (self.state, self.folder / "data"):
            shutil.rmtree(folder)

    def sent(self) -> dict[str, list[str]]:
        """Return the names of all submissions, by model, those without any left out."""
        return {
            model: [item["filename"] for item in made]
            for model, made in self.submissions.items()
            if made
        }

    def _account(self, variables: dict[str, Any]) -> Any:
        del variables
        return {
            "models": [
                {
                    "id": model_id,
                    "name": name,
                    "tournament": 8,
                    "computePickleUpload": next(iter(self.uploads[name][-1:]), None),
                }
                for name, model_id in MODELS.items()
            ]
        }

    def _authorize(self, variables: dict[str, Any]) -> dict[str, str]:
        name = f"{len(self.server.seen)}-{variables['filename']}"
        return {"filename": name, "url": self.server.address(f"/upload/{name}")}

    def _create(self, variables: dict[str, Any]) -> dict[str, str]:
        made = self.submissions[_name(variables)]
        submission = {
            "id": f"{_name(variables)}-{len(made)}",
            "filename": variables["filename"],
            "insertedAt": datetime.now(UTC).isoformat(),
        }
        made.append(submission)
        return {"id": submission["id"]}

    def _create_upload(self, variables: dict[str, Any]) -> dict[str, str]:
        made = self.uploads[_name(variables)]
        made.append({**variables, "id": f"upload-{len(made)}"})
        return {"id": made[-1]["id"]}


def _name(variables: dict[str, Any]) -> str:
    (name,) = (name for name, model_id in MODELS.items() if model_id == variables["modelId"])
    return name


def make_finished_run(path: Path, features: list[str], **record: Any) -> None:
    """Write a finished run whose model has random weights."""
    make_run(path, features)
    begin_run(path, run_record(features=features, **record))
    run = read_run(path)
    run.write_history([])
    run.write_era_scores([])
    run.finish({"corr_mean": 0.02, "corr_std": 0.02, "corr_sharpe": 1.0})


def copy_run(source: Path, target: Path) -> None:
    """Copy a run."""
    target.parent.mkdir(exist_ok=True)
    shutil.copytree(source, target)


def quick_predictions(runs: object, dataset: Path, out: Path, **options: object) -> None:
    """Write predictions of all rows of a dataset without a model; in place of the product's own."""
    del runs, options
    found = mt.open_dataset(dataset)
    ids = [name.decode() for era in found for name in np.asarray(found[era].ids).tolist()]
    rows = (f"{name},{(row + 0.5) / len(ids)}\n" for row, name in enumerate(ids))
    out.write_text("id,prediction\n" + "".join(rows))
