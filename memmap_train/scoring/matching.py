"""Rows of predictions matched to the rows of a dataset, by era and id or by id alone.

Takes ids, values and perhaps eras in any order, and a dataset; returns the values in the dataset's
order, NaN where a row has none. Rows that the dataset lacks are counted. Nothing is guessed: an id
that could stand for two rows is an error.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ..arrays import Float64, Ids, Int32, Positions
from ..dataset.dataset import Dataset
from ..dataset.eras import era_identity
from ..dataset.ids import order_of, positions_in_sorted
from ..errors import DatasetError, SourceError, listed
from ..progress import Progress
from ..text import counted


class Rows(Protocol):
    """Consecutive rows of predictions, with the attributes of the reader's `PredictionRows`."""

    @property
    def era_labels(self) -> Sequence[str]:
        """Distinct eras of these rows; none if the predictions have no eras."""

    @property
    def era_codes(self) -> Int32:
        """Position of each row's era in `era_labels`."""

    @property
    def ids(self) -> Ids:
        """The id of each row."""

    @property
    def values(self) -> Float64:
        """The prediction of each row."""


@dataclass(frozen=True, slots=True, eq=False)
class MatchedRows:
    """Predictions in the order of a dataset's rows.

    Attributes
    ----------
    values : mapping of str to ndarray of float64, shape (rows,)
        The predictions of each era that has one at least, in the dataset's order; NaN where a row
        has none.
    n_surplus_rows : int
        Rows of predictions that the dataset doesn't have.
    surplus_eras : tuple of str
        Eras of the predictions that the dataset doesn't have.
    """

    values: Mapping[str, Float64]
    n_surplus_rows: int
    surplus_eras: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _AllRows:
    """All rows of predictions, as columns; `eras` is empty if they have none."""

    eras: list[str]
    codes: Int32
    ids: Ids
    values: Float64


def match_rows(
    blocks: Iterable[Rows], dataset: Dataset, where: str, report: Progress
) -> MatchedRows:
    """Match rows of predictions to those of a dataset.

    Parameters
    ----------
    blocks : iterable of Rows
        All rows of the predictions, in any order.
    dataset : Dataset
        It needs ids.
    where : str
        The name of the predictions, for errors.
    report : callable(what, done, total)
        Called with rows of the dataset.

    Raises
    ------
    SourceError
        None of the ids is in the dataset, an id stands twice, or it could mean two rows.
    DatasetError
        The dataset has no ids.
    """
    without_ids = [era for era in dataset.eras if "ids" not in dataset.entry(era).files]
    if without_ids:
        raise DatasetError(
            f"{dataset.path}: era {listed(without_ids, most=3)} has no ids, by which the "
            f"predictions of {where} are matched; convert again, with --id-column NAME if the "
            "column isn't called 'id'"
        )
    rows = _collected(blocks)
    if rows.eras:
        return _match_by_era(rows, dataset, where, report)
    return _match_by_id(rows, dataset, where, report)


def _collected(blocks: Iterable[Rows]) -> _AllRows:
    """Return the rows of all blocks as one."""
    positions: dict[str, int] = {}
    codes, ids, values = list[Int32](), list[Ids](), list[Float64]()
    for block in blocks:
        known = [positions.setdefault(label, len(positions)) for label in block.era_labels]
        codes.append(np.array(known, np.int32)[block.era_codes] if known else block.era_codes)
        ids.append(block.ids)
        values.append(block.values)
    return _AllRows(
        list(positions), np.concatenate(codes), np.concatenate(ids), np.concatenate(values)
    )


def _match_by_era(rows: _AllRows, dataset: Dataset, where: str, report: Progress) -> MatchedRows:
    era_of_label = _same_eras(rows.eras, dataset.eras, where)
    if not era_of_label:
        raise SourceError(
            f"{where}: none of its eras is in {dataset.path}: found {listed(rows.eras, most=3)}, "
            f"expected {dataset.eras[0]!r} to {dataset.eras[-1]!r}; name the dataset that the "
            "predictions are of"
        )
    n_of_label = np.bincount(rows.codes, minlength=len(rows.eras))
    order = np.argsort(rows.codes, kind="stable")
    ends = np.cumsum(n_of_label)
    found: dict[str, Float64] = {}
    n_used, done, total = 0, 0, sum(dataset.entry(era).rows for era in era_of_label.values())
    for code, era in era_of_label.items():
        chosen = order[ends[code] - n_of_label[code] : ends[code]]
        ids, values = rows.ids[chosen], rows.values[chosen]
        by_id = order_of(ids)
        ids, values = ids[by_id], values[by_id]
        _check_unique(ids, f"{where}: era {rows.eras[code]!r}")
        matched, hits = _looked_up(ids, values, dataset, era)
        if len(hits):
            found[era] = matched
            n_used += len(hits)
        done += dataset.entry(era).rows
        report(f"matching {where}", done, total)
    _check_any(bool(found), rows, dataset, where)
    unknown = [label for code, label in enumerate(rows.eras) if code not in era_of_label]
    return MatchedRows(_in_order(found, dataset), len(rows.ids) - n_used, tuple(unknown))


def _match_by_id(rows: _AllRows, dataset: Dataset, where: str, report: Progress) -> MatchedRows:
    order = order_of(rows.ids)
    ids, values = rows.ids[order], rows.values[order]
    _check_unique(
        ids, where, "; write the eras too, as a column 'era', if ids repeat in other eras"
    )
    era_of_row = np.full(len(ids), -1, np.int32)  # the era in which each row was found
    found: dict[str, Float64] = {}
    done = 0
    for number, era in enumerate(dataset.eras):
        matched, hits = _looked_up(ids, values, dataset, era)
        if len(hits):
            before = era_of_row[hits]
            if (before >= 0).any():
                first = int(np.argmax(before >= 0))
                raise SourceError(
                    f"{where}: the id {_text(ids[hits[first]])!r} is in several eras of "
                    f"{dataset.path}, such as {dataset.eras[before[first]]!r} and {era!r}, and the "
                    "predictions have no eras; write the eras too, as a column 'era'"
                )
            era_of_row[hits] = number
            found[era] = matched
        done += len(matched)
        report(f"matching {where}", done, dataset.n_rows)
    _check_any(bool(found), rows, dataset, where)
    return MatchedRows(found, int(np.count_nonzero(era_of_row < 0)), ())


def _looked_up(ids: Ids, values: Float64, dataset: Dataset, era: str) -> tuple[Float64, Positions]:
    """Return the predictions of an era's rows, and their positions among sorted ids."""
    era_ids = np.asarray(dataset[era].ids)
    positions = positions_in_sorted(era_ids, ids)
    is_hit = positions >= 0
    hits = positions[is_hit]
    ordered = np.sort(hits)
    repeated = ordered[1:][ordered[1:] == ordered[:-1]]
    if len(repeated):
        raise SourceError(
            f"{dataset.path}: era {era!r} has the id {_text(ids[repeated[0]])!r} more than once, "
            "so predictions can't be matched to its rows"
        )
    matched = np.full(len(era_ids), np.nan)
    matched[is_hit] = values[hits]
    return matched, hits


def _same_eras(labels: Sequence[str], eras: Sequence[str], where: str) -> dict[int, str]:
    """Return the era of the dataset that each label means, by the label's position.

    A label is an era's own, or another spelling of it, such as 575 of 0575. Those of eras that the
    dataset lacks are left out.

    >>> _same_eras(["575", "0576", "9"], ["0575", "0576"], "a.csv")
    {0: '0575', 1: '0576'}
    """
    known, spelled = set(eras), dict[tuple[str, int | None], str]()
    for era in eras:
        spelled.setdefault(era_identity(era), era)
    found: dict[int, str] = {}
    for code, label in enumerate(labels):
        same = label if label in known else spelled.get(era_identity(label))
        if same is None:
            continue
        if same in found.values():
            raise SourceError(
                f"{where}: era {same!r} is written in two ways, one of them {label!r}; write one"
            )
        found[code] = same
    return found


def _check_unique(ids: Ids, where: str, advice: str = "") -> None:
    """Raise a SourceError if sorted ids aren't unique."""
    repeated = np.flatnonzero(ids[1:] == ids[:-1])
    if len(repeated):
        raise SourceError(
            f"{where}: {counted(len(repeated), 'row')} with the id of another row, such as "
            f"{_text(ids[repeated[0]])!r}; expected every id once{advice}"
        )


def _check_any(is_any: bool, rows: _AllRows, dataset: Dataset, where: str) -> None:
    if not is_any:
        eras = f" of the eras {rows.eras[0]!r} to {rows.eras[-1]!r}" if rows.eras else ""
        own = _text(np.asarray(dataset[dataset.eras[0]].ids)[0])
        raise SourceError(
            f"{where}: none of its {len(rows.ids):,} rows{eras} is in {dataset.path}: found ids "
            f"such as {_text(rows.ids[0])!r}, expected ids such as {own!r}; name the dataset that "
            "the predictions are of"
        )


def _in_order(values: Mapping[str, Float64], dataset: Dataset) -> dict[str, Float64]:
    return {era: values[era] for era in dataset.eras if era in values}


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")
