"""What `train` is asked to train: one configuration, or a sweep over several.

Takes the files and texts of a command; returns a `Request`. The keys of a sweep, `sweep.KEY` and
`sweep_runs`, are taken out before the rest is read as a `TrainConfig`, which is one configuration.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import ConfigError, shown
from ..system.paths import user_path
from .configuration.batch_keys import OF_ERAS
from .configuration.config import TrainConfig
from .configuration.config_file import PARAMS, read_file, read_overrides
from .run_folder import find_run
from .sweeps.record import SweepRecord, is_sweep, read_sweep

SWEEP, SWEEP_RUNS = "sweep", "sweep_runs"
_SET = "--set"


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be trained.

    Attributes
    ----------
    config : TrainConfig or None
        None: that of the run which is resumed.
    swept : dict or None
        What is swept; see `sweep_space`. None: it is no sweep.
    n_runs : int or None
        The number of random draws.
    """

    config: TrainConfig | None
    swept: dict[str, Any] | None = None
    n_runs: int | None = None


def read_request(
    run_dir: Path,
    config_file: Path | None,
    overrides: Sequence[str],
    sweep_file: Path | None,
    *,
    resume: bool,
) -> Request:
    """Read what is to be trained.

    Parameters
    ----------
    run_dir : Path
        The folder of the run or of the sweep.
    config_file : Path or None
        A TOML file with the configuration, and perhaps with a table `sweep`.
    overrides : sequence of str
        Texts ``key=value``, which override the files.
    sweep_file : Path or None
        A TOML file with what is in the table `sweep` of the other one, and perhaps `sweep_runs`.
    resume : bool
        Whether what isn't asked for is taken from the run, or the sweep, that is in the folder.

    Raises
    ------
    ConfigError, RunError
        A file can't be read, or a key is unknown or has a wrong value.
    """
    begun = read_sweep(run_dir) if resume and is_sweep(run_dir) else None
    parts: dict[str, Mapping[str, Any]] = {}
    swept: dict[str, Any] = {}
    n_runs = None
    if config_file is not None:
        rest, swept, n_runs = _split(str(config_file), read_file(user_path(config_file)))
        parts[str(config_file)] = rest
    if sweep_file is not None:
        found = read_file(user_path(sweep_file))
        _check_is_flat(str(sweep_file), found)
        n_runs = found.pop(SWEEP_RUNS, n_runs)
        swept |= found
    rest, overriding, n_overriding = _split(_SET, read_overrides(overrides))
    parts[_SET] = rest
    if begun and not swept:
        swept, n_runs = dict(begun.swept), begun.n_runs if n_runs is None else n_runs
    swept |= overriding
    n_runs = n_runs if n_overriding is None else n_overriding
    if not swept and n_runs is None:
        return Request(_single_config(run_dir, parts, resume=resume))
    _check_disjoint(rest, swept)
    return Request(_shared_config(parts, begun), swept, n_runs)


def _single_config(
    run_dir: Path, parts: Mapping[str, Mapping[str, Any]], *, resume: bool
) -> TrainConfig | None:
    """Return the configuration of a run; None: that of the one that is resumed."""
    if len(parts) > 1 or not resume:
        return TrainConfig.merged(parts)
    if not parts[_SET]:
        return None
    run = find_run(run_dir, resume=True)
    begun = run.train_config() if run else None
    if begun and not OF_ERAS.isdisjoint(parts[_SET]):
        begun = replace(begun, batch_size=None)  # it followed from the run's
    return TrainConfig.merged(parts, begun)


def _shared_config(
    parts: Mapping[str, Mapping[str, Any]], begun: SweepRecord | None
) -> TrainConfig:
    """Return the configuration that the trials of a sweep share."""
    keeps = begun is not None and len(parts) == 1
    return TrainConfig.merged(parts, begun.train_config() if begun and keeps else None)


def _split(where: str, values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any], Any]:
    """Return the keys of a configuration, those that are swept, and the number of draws."""
    rest = dict(values)
    n_runs, swept = rest.pop(SWEEP_RUNS, None), rest.pop(SWEEP, {})
    if not isinstance(swept, dict):
        raise ConfigError(
            f"{where}: sweep: expected lists by key, such as sweep.dropout = [0.1, 0.3], found "
            f"{shown(swept)}"
        )
    for key in [key for key in rest if key.startswith(f"{SWEEP}.")]:
        swept[key.removeprefix(f"{SWEEP}.")] = rest.pop(key)
    return rest, swept, n_runs


def _check_is_flat(where: str, found: Mapping[str, Any]) -> None:
    """Check that the file of a sweep has no table `sweep` of its own."""
    if any(key == SWEEP or key.startswith(f"{SWEEP}.") for key in found):
        raise ConfigError(
            f"{where}: expected lines such as learning_rate = [0.001, 0.0003] in the file of "
            "--sweep, found a table 'sweep', which belongs into that of --config"
        )


def _check_disjoint(overrides: Mapping[str, Any], swept: Mapping[str, Any]) -> None:
    """Check that no key is swept and set at once: one of both would have no effect."""
    given = {key for key in overrides if key != PARAMS}
    given |= {f"{PARAMS}.{name}" for name in overrides.get(PARAMS, {})}
    of_params = swept.get(PARAMS, {})
    names = {*swept, *(f"{PARAMS}.{name}" for name in of_params if isinstance(of_params, dict))}
    if both := sorted(given & names):
        raise ConfigError(
            f"--set {both[0]}: the sweep varies {both[0]}; leave it out, or change the sweep by "
            f"--set 'sweep.{both[0]}=[…]'"
        )
