"""Try a model upload as Numerai's runner runs it: ``python -I trial.py ORDER``.

The order is a JSON file: `pickle`, `live` (a parquet file), `blocked` (packages that can't be
imported), `raw` (the file for the models' own outputs, .npy), `ranks` (that for the predictions),
`report` (a JSON file: seconds, peak_bytes, fault, versions) and `memory_bytes`. What is checked is
what the runner checks, and what Numerai's server checks of the file that it writes.

Source: https://github.com/numerai/numerai-predict, predict.py.
"""

import gc
import importlib.abc
import inspect
import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

MAX_FAULT = 400  # characters


class _Blocked(importlib.abc.MetaPathFinder):
    """Lets packages be absent."""

    def __init__(self, names: list[str]) -> None:
        self._names = frozenset(names)

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """Raise an error for a blocked package."""
        if name.partition(".")[0] in self._names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def main() -> None:
    """Try the pickle, and write what was found."""
    order = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _limit_memory(order["memory_bytes"])
    sys.meta_path.insert(0, _Blocked(order["blocked"]))
    report: dict[str, Any] = {"fault": None, "seconds": None, "peak_bytes": None}
    try:
        report |= _tried(order)
    except MemoryError:
        report["fault"] = "it needs more memory than Numerai has"
    except Exception as error:  # whatever the upload raises, Numerai would end with
        report["fault"] = _shortened(" ".join(f"{type(error).__name__}: {error}".split()))
    Path(order["report"]).write_text(json.dumps(report), "utf-8")


def _tried(order: dict[str, Any]) -> dict[str, Any]:
    """Return the time, the memory and the fault of a run."""
    import numpy as np
    import pandas as pd

    started = time.perf_counter()
    model = pd.read_pickle(order["pickle"])
    n_parameters = len(inspect.signature(model).parameters)
    if n_parameters != 2:
        return {"fault": f"it takes {n_parameters} parameters, expected 2"}
    live = pd.read_parquet(order["live"])
    benchmarks = pd.DataFrame(index=live.index[::-1])
    found = model(live, benchmarks)
    seconds = time.perf_counter() - started
    peak = _peak_bytes()
    fault = _fault_of(found, live, pd)
    if fault is None and not found.equals(model(live)):
        fault = "without benchmarks the predictions are others"
    if fault is None:
        np.save(order["ranks"], found["prediction"].to_numpy())
        del found
        gc.collect()
        np.save(order["raw"], model.raw_outputs(live))
    packages = {"numpy": np, "pandas": pd, "keras": sys.modules.get("keras")}
    versions = {name: package.__version__ for name, package in packages.items() if package}
    return {"seconds": seconds, "peak_bytes": peak, "fault": fault, "versions": versions}


def _fault_of(found: Any, live: Any, pd: Any) -> str | None:
    """Return why Numerai wouldn't take predictions, or None."""
    if type(found) is not pd.DataFrame:
        return f"it returns a {type(found).__name__}, expected a DataFrame"
    if found.index.name != "id" or list(found.columns) != ["prediction"]:
        return f"the index is named {found.index.name!r} and the columns {list(found.columns)}"
    if list(found.index) != list(live.index):
        return "the ids aren't those of the live file, in its order"
    values = found["prediction"].to_numpy()
    if not ((values > 0) & (values < 1)).all():
        return "predictions aren't within 0 to 1"
    if len(values) > 1 and not values.std() > 0:
        return "all predictions are equal"
    return None


def _shortened(text: str) -> str:
    """Return a text without its middle, if it is long: Keras names the reason at the end."""
    return text if len(text) <= MAX_FAULT else f"{text[: MAX_FAULT // 3]} … {text[-MAX_FAULT:]}"


def _end_with_parent() -> None:
    """End this process when the other end of its stdin is closed, by a parent that was killed."""
    sys.stdin.buffer.read()
    os._exit(1)


def _limit_memory(n_bytes: int) -> None:
    """Limit the memory that this process may fill, where the system can."""
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        return
    resource.setrlimit(resource.RLIMIT_DATA, (n_bytes, n_bytes))


def _peak_bytes() -> int | None:
    """Return the most memory that this process has had, with the libraries' code."""
    try:
        status = Path("/proc/self/status").read_text("ascii")
    except OSError:  # not Linux
        return None
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main()
