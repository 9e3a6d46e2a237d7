"""`bench`: the rates at which a dataset is read on this machine, what limits them, what would help.

Takes a dataset; returns measured rates, JSON-ready, and text. Measuring takes some seconds; a
part of the dataset is dropped from the page cache and read again.
"""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np

from ..dataset.dataset import Dataset
from ..dataset.selection import Selection
from ..progress import Progress, ignore
from ..system.resources import n_cores
from ..text import counted, in_bytes
from .batches import Batches
from .explanation import reading_line, shuffling_details, shuffling_line
from .page_cache import drop, read_ahead, resident
from .placement import Placement
from .rates import PART_BYTES, Rate, disk_rate, measure, memcpy_rate
from .shuffle_quality import WINDOW_BYTES

_COPYING_THREADS = 2  # more copy no faster
_SOME_READING = 0.02  # bytes read from the disk for each one used: more than noise
_N_MEASUREMENTS = 6
_PART_SHARE = 0.25  # of the memory available


def bench(
    dataset: Dataset,
    *,
    batch_size: int,
    features: Selection = None,
    progress: Progress = ignore,
) -> dict[str, Any]:
    """Measure a dataset on this machine; return the results, JSON-ready.

    Parameters
    ----------
    dataset : Dataset
    batch_size : int
    features : str or list of str, optional
    progress : callable(what, measurements done, measurements in all), optional
        Called when a measurement begins.

    Raises
    ------
    BatchError, DatasetError
        The same errors as `Batches`.
    """
    batch_size = min(batch_size, dataset.n_rows)

    def of(part: Dataset, **options: Any) -> Batches:
        return Batches(
            part,
            batch_size=min(batch_size, part.n_rows),
            seed=0,
            features=features,
            targets=list(dataset.target_names[:1]) or None,
            **options,
        )

    whole = of(dataset)
    cached = resident(dataset)["features"][0]
    if cached is not None:
        cached = min(cached, dataset.feature_bytes)  # without headers and the rest of last pages
    progress("copying memory", 0, _N_MEASUREMENTS)
    memory_rate = memcpy_rate(min(n_cores(), _COPYING_THREADS))
    part = dataset.select(_part(dataset, whole.placement.available))
    rates, rate = _measured(whole, part, of, progress)
    found: dict[str, Any] = {
        "dataset": str(dataset.path),
        "dtype": dataset.manifest.dtype,
        "feature_bytes": dataset.feature_bytes,
        "resident_feature_bytes": cached,
        "available_memory": whole.placement.available,
        "fits": whole.placement.fits,
        "cores": n_cores(),
        "memcpy_bytes_per_second": memory_rate,
        "disk_bytes_per_second": rate,
        "batch_size": batch_size,
        "n_features": len(whole.feature_names),
        "window_size": whole.window_size,
        "pool_batches": whole.pool_batches,
        "shuffling": shuffling_line(whole),
        "shuffling_details": shuffling_details(whole),
        "reading": reading_line(whole),
        "rates": {name: asdict(rate) for name, rate in rates.items()},
        "part_bytes": part.feature_bytes,
    }
    return found | {"advice": _advice(dataset, whole, found)}


def _measured(
    whole: Batches, part: Dataset, of: Callable[..., Batches], progress: Progress
) -> tuple[dict[str, Rate], float | None]:
    """Return the rates of batches as they come, from memory and from the disk, and the disk's."""
    rates: dict[str, Rate] = {}
    progress("batches as they come now", 1, _N_MEASUREMENTS)
    rates["now"] = measure(whole)
    files = [part[era].file("features") for era in part.eras]
    read_ahead(part, part.eras)
    chosen = {"window_size": whole.window_size, "pool_batches": whole.pool_batches}
    in_memory = (("in memory", chosen), ("in memory, global shuffle", {"window_size": 1}))
    for done, (name, options) in enumerate(in_memory, start=2):
        progress(f"batches from memory: {name}", done, _N_MEASUREMENTS)
        batches = of(part, **options)
        rates[name] = sorted(
            (measure(batches, direct=False) for _ in range(3)), key=lambda r: r.rows_per_second
        )[1]
    progress("the disk", 4, _N_MEASUREMENTS)
    rate = disk_rate(files)
    if rate is not None:
        progress("batches from the disk", 5, _N_MEASUREMENTS)
        drop(files)
        rates["from the disk"] = measure(of(part, **chosen), direct=True)
        rate = (rate + (disk_rate(files) or rate)) / 2  # disks are noisy: before and after
    return rates, rate


def _part(dataset: Dataset, available: int) -> list[str]:
    """Return evenly spread eras that can be held in memory, at least one."""
    share = min(PART_BYTES, available * _PART_SHARE) / dataset.feature_bytes
    n_eras = max(1, min(len(dataset.eras), int(len(dataset.eras) * share)))
    return [dataset.eras[i] for i in np.linspace(0, len(dataset.eras) - 1, n_eras).astype(int)]


def _advice(dataset: Dataset, batches: Batches, found: dict[str, Any]) -> list[str]:
    """Return the limits of training on this dataset here, and remedies, in sentences."""
    now, rates = found["rates"]["now"], found["rates"]
    milliseconds = 1000 * batches.batch_size / now["rows_per_second"]
    lines = [
        f"a training step of {batches.batch_size:,} rows that takes longer than "
        f"{milliseconds:,.0f} ms doesn't wait for data"
    ]
    if found["fits"]:
        if (
            "from the disk" in rates
            and now["read_amplification"]
            and (now["read_amplification"] > _SOME_READING)
        ):
            lines.append(
                "rows came from the disk this time; from the second epoch on, or after "
                f"`memmap-train warm {dataset.path}`, they come from memory"
            )
        else:
            lines.append(
                "rows come from memory: copying them, and the cores that training needs too, are "
                "the limit"
            )
    else:
        lines.append(
            f"the disk is the limit: {in_bytes(dataset.feature_bytes)} in each epoch, for "
            f"{in_bytes(found['available_memory'])} of memory available"
        )
        lines += _what_fits(dataset, found["available_memory"])
    window_bytes = batches.window_size * (dataset.feature_bytes // dataset.n_rows)
    is_small = window_bytes < WINDOW_BYTES / 2 and batches.window_size < max(dataset.rows_per_era)
    if is_small and 2 * batches.pool_bytes > batches.placement.buffer_bytes / 2:
        lines.append(
            f"windows are small because memory is short, {in_bytes(2 * batches.pool_bytes)} in "
            "buffers: with more memory, or smaller batches, they would be larger and read faster"
        )
    return lines


def _what_fits(dataset: Dataset, available: int) -> list[str]:
    """Return the ways to make the dataset fit into memory, in sentences."""
    lines = []
    item = dataset.manifest.store_dtype.itemsize
    if item == 4:
        fits = " and fits" if Placement(dataset.feature_bytes // 4, available).fits else ""
        lines.append(
            "an int8 store takes a quarter of it"
            f"{fits}: memmap-train convert {dataset.path} --dtype int8 --out FOLDER"
        )
    sets = dataset.manifest.feature_sets
    fitting = [
        (len(names), name)
        for name, names in sets.items()
        if Placement(dataset.n_rows * len(names) * item, available).fits
    ]
    if fitting:
        size, name = max(fitting)
        lines.append(
            f"of feature set {name!r} ({size:,} features) a dataset of its own would fit: "
            f"memmap-train convert {dataset.path} --feature-set {name} --out FOLDER"
        )
    return lines


def bench_text(found: dict[str, Any]) -> str:
    """Return the results of `bench` as text."""
    disk = found["disk_bytes_per_second"]
    cached = found["resident_feature_bytes"]
    here = "" if cached is None else f"; {cached / found['feature_bytes']:.0%} are in memory now"
    lines = [
        f"machine     {counted(found['cores'], 'core')}; memory is copied at "
        f"{in_bytes(found['memcpy_bytes_per_second'])}/s, the disk is read at "
        + ("an unknown rate" if disk is None else f"{in_bytes(disk)}/s"),
        f"dataset     {in_bytes(found['feature_bytes'])} of features, {found['dtype']}{here}",
        f"shuffling   {found['shuffling']}",
        *(f"            {detail}" for detail in found["shuffling_details"]),
        f"reading     {found['reading']}",
        "",
        f"batches of {found['batch_size']:,} x {found['n_features']:,}",
        f"  {'':<26}{'rows/s':>10}{'of memcpy':>11}{'of disk':>9}{'CPU s/M rows':>14}"
        f"{'read/used':>11}{'faults':>8}{'idle':>6}",
    ]
    for name, rate in found["rates"].items():
        of_disk = "" if disk is None else f"{rate['stored_bytes_per_second'] / disk:.2f}"
        amplification = rate["read_amplification"]
        faults = rate["major_faults"]
        lines.append(
            f"  {name:<26}{rate['rows_per_second']:>10,.0f}"
            f"{rate['bytes_per_second'] / found['memcpy_bytes_per_second']:>11.2f}{of_disk:>9}"
            f"{rate['cpu_seconds_per_million_rows']:>14.2f}"
            f"{'' if amplification is None else f'{amplification:.2f}':>11}"
            f"{'' if faults is None else f'{faults:,}':>8}{rate['idle_share']:>6.0%}"
        )
    lines += ["", *(f"- {line}" for line in found["advice"])]
    return "\n".join(lines)
