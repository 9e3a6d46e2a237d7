"""Tests of what `train` is asked to train: the keys of a sweep, taken out of files and texts."""

from pathlib import Path

import pytest

from memmap_train.errors import ConfigError
from memmap_train.runs.configuration.config import TrainConfig
from memmap_train.runs.request import Request, read_request
from memmap_train.runs.run_folder import begin_run
from memmap_train.runs.sweeps.record import SweepRecord, Trial, write_sweep
from tests.support.errors import refused
from tests.support.run_records import run_record


def read(
    tmp_path: Path,
    config: str | None,
    *overrides: str,
    sweep: str | None = None,
    resume: bool = False,
) -> Request:
    """Read a request with the texts of files."""
    files = []
    for name, text in (("run.toml", config), ("sweep.toml", sweep)):
        files.append(None if text is None else tmp_path / name)
        if text is not None:
            (tmp_path / name).write_text(text)
    return read_request(tmp_path / "run", files[0], overrides, files[1], resume=resume)


def write_begun(tmp_path: Path) -> SweepRecord:
    """Write the record of a sweep that was begun."""
    (tmp_path / "run").mkdir()
    record = SweepRecord(
        swept={"dropout": [0.1, 0.2]},
        n_runs=2,
        config=TrainConfig(epochs=7).to_dict(),
        folds=None,
        rolling_eras=None,
        eras=["0001"],
        trials=[Trial(name="001-dropout=0.1", settings={"dropout": 0.1})],
    )
    write_sweep(tmp_path / "run", record)
    return record


@pytest.mark.parametrize(
    "text",
    [
        "epochs = 3\nsweep.dropout = [0.1, 0.2]\nsweep_runs = 2",
        "epochs = 3\nsweep_runs = 2\n[sweep]\ndropout = [0.1, 0.2]",
    ],
)
def test_the_keys_of_a_sweep_are_taken_out_of_a_file(tmp_path: Path, text: str) -> None:
    request = read(tmp_path, text)
    assert request == Request(TrainConfig(epochs=3), {"dropout": [0.1, 0.2]}, 2)


def test_texts_override_the_file_of_a_sweep_and_that_the_configuration(tmp_path: Path) -> None:
    request = read(
        tmp_path,
        "epochs = 3\nsweep_runs = 2\n[sweep]\ndropout = [0.1]\nhidden = [[8]]\n",
        "sweep.hidden=[[4], [2]]",
        "sweep.model_params.k=[1]",
        "epochs=4",
        "sweep_runs=5",
        sweep="dropout = [0.3, 0.4]\nsweep_runs = 3\n",
    )
    assert request.config == TrainConfig(epochs=4)
    assert request.swept == {
        "dropout": [0.3, 0.4],
        "hidden": [[4], [2]],
        "model_params.k": [1],
    }
    assert request.n_runs == 5


def test_what_is_no_sweep_stays_a_configuration(tmp_path: Path) -> None:
    assert read(tmp_path, "epochs = 3", "dropout=0") == Request(TrainConfig(epochs=3, dropout=0.0))
    assert read(tmp_path, None) == Request(TrainConfig())
    assert read(tmp_path, None, resume=True) == Request(None)


def test_a_sweep_that_is_resumed_keeps_what_is_not_asked_for(tmp_path: Path) -> None:
    begun = write_begun(tmp_path)
    config = begun.train_config()
    assert read(tmp_path, None, resume=True) == Request(config, begun.swept, 2)
    grown = read(tmp_path, None, "sweep.hidden=[[8]]", "epochs=9", "sweep_runs=3", resume=True)
    assert grown.swept == {"dropout": [0.1, 0.2], "hidden": [[8]]}
    assert grown.config == TrainConfig(epochs=9)
    assert grown.n_runs == 3
    # Of a configuration that is given again, all counts.
    again = read(tmp_path, "epochs = 8\nsweep.dropout = [0.1]", resume=True)
    assert again == Request(TrainConfig(epochs=8), {"dropout": [0.1]}, None)
    assert read(tmp_path, "epochs = 8", resume=True).swept == begun.swept
    # Without --resume it is another one.
    assert read(tmp_path, None) == Request(TrainConfig())


@pytest.mark.parametrize(
    ("config", "overrides", "sweep", "said"),
    [
        ("sweep = 3", (), None, ("run.toml: sweep: expected lists by key", "found 3")),
        ("epohcs = 3\nsweep.dropout = [0]", (), None, ("run.toml: unknown key 'epohcs'",)),
        (None, (), "[sweep]\ndropout = [0]", ("sweep.toml", "belongs into that of --config")),
        (None, ("dropout=0",), "dropout = [0]", ("--set dropout: the sweep varies dropout",)),
        (
            None,
            ("model_params.k=1",),
            "model_params.k = [1, 2]",
            ("--set model_params.k: the sweep varies",),
        ),
        (None, (), "dropout = [", ("sweep.toml: not TOML",)),
    ],
)
def test_contradictions_are_refused_in_one_line(
    tmp_path: Path,
    config: str | None,
    overrides: tuple[str, ...],
    sweep: str | None,
    said: tuple[str, ...],
) -> None:
    with refused(ConfigError, *said):
        read(tmp_path, config, *overrides, sweep=sweep)


def test_the_size_of_a_batch_of_eras_follows_from_what_is_asked_for_now(tmp_path: Path) -> None:
    begin_run(tmp_path / "run", run_record(eras_per_batch=4, rows_per_era=20, batch_size=80))
    for text, size in (("rows_per_era=21", None), ("dropout=0.1", 80)):
        config = read(tmp_path, None, text, resume=True).config
        assert config is not None
        assert config.batch_size == size
