"""Batches for PyTorch: an `IterableDataset` of tensors that share memory with the batches.

Only this module imports torch, which is an extra. A tensor keeps its buffer from being reused for
as long as it lives. An iteration takes its epoch when its first batch is asked for: loaders make
more iterators than they use.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from ..dataset.dataset import Dataset
from ..errors import BatchError, DependencyError
from ..text import in_bytes
from .batches import MIN_AVAILABLE, Batches, as_batches
from .ranks import check_same_order, checked_rank
from .sampler import whole

try:
    import torch
    from torch.utils.data import IterableDataset, get_worker_info
    from torch.utils.data._utils.collate import default_collate_fn_map
except ImportError as error:
    _import_error: ImportError | None = error
    IterableDataset = object
else:
    _import_error = None

MAX_WORKERS = 512
_MAX_STEP = 2**62  # a step and the epoch after it are int64
_OF_WORKERS = ("worker", "num_workers", "epoch_end")  # keys of a worker's state


def torch_batches(
    data: Batches | Dataset, *, rank: int = 0, world_size: int = 1, **arguments: Any
) -> "TorchBatches":
    """Return batches as an `IterableDataset` of pairs of tensors, ``(x, y)``.

    Parameters
    ----------
    data : Batches or Dataset
    rank, world_size : int
        Rank and number of ranks of a distributed training; each rank gets a part of the steps of
        every epoch. Give them to `Batches` instead to share the rows of each batch.
    **arguments
        Arguments of `Batches`, allowed only if a dataset is given.

    Returns
    -------
    TorchBatches
        Each iteration is one epoch; the next iteration is the next epoch.

    Raises
    ------
    DependencyError
        PyTorch isn't installed.
    BatchError, DatasetError
        The same errors as `Batches`; or the rank isn't in the world, there are fewer batches than
        ranks, or each rank would choose its own windows.

    Examples
    --------
    ::

        loader = mt.torch_batches(train, batch_size=4096, seed=7, targets=["target"])
        for epoch in range(3):
            for x, y in loader:  # or a DataLoader(loader, batch_size=None)
                ...
        state = loader.state_dict()  # later: loader.load_state_dict(state)
    """
    if _import_error is not None:
        raise DependencyError(
            f"torch_batches needs PyTorch, which can't be imported ({_import_error}): "
            "pip install 'memmap-train[torch]'"
        )
    return TorchBatches(as_batches(data, arguments), rank, world_size)


class TorchBatches(IterableDataset):  # type: ignore[misc]  # torch may be absent
    """The batches of one rank as tensors; made by `torch_batches`.

    `len` is the number of batches that a rank gets in an epoch, ``len(batches) // world_size``. The
    rank with number r gets the r-th part of an epoch's steps, so that all ranks together read each
    row once. The last ``len(batches) % world_size`` batches of an epoch are left out: other rows in
    each epoch.

    Notes
    -----
    - ``DataLoader(loader, batch_size=None)`` hands the batches on as they are, the only sensible
      size here. With ``num_workers=n`` the workers take turns and the order stays the same; but
      each worker has pools of its own, and tensors are copied between processes. The threads of
      ``num_workers=0`` read ahead already: that is the faster choice.
    - The position is a step of this rank, counted over all epochs. `state_dict` and
      `load_state_dict` save and restore it exactly, in the middle of an epoch too. Workers are
      ahead of what was handed out: with them, torchdata's `StatefulDataLoader` keeps the state.
    - Each iteration is the next epoch, in the main process or in workers. Another number of workers
      than before is an error until `set_epoch` is called: workers don't know of each other.
    - An iteration that is left early is over: the next one is the next epoch. With workers, call
      `set_epoch` then, since some workers may not have begun.
    - Missing targets are NaN; choose labelled eras (``dataset.labelled_eras(target)``), or mask
      them in the loss.
    """

    def __init__(self, batches: Batches, rank: int = 0, world_size: int = 1) -> None:
        super().__init__()
        rank, world_size = checked_rank(rank, world_size)
        if len(batches) < world_size:
            raise BatchError(
                f"world_size: an epoch has {len(batches):,} batches, too few for {world_size:,} "
                "ranks; choose a smaller batch_size"
            )
        if world_size > 1:
            check_same_order(batches.sampler, batches.reasons)
            self._check_all_ranks(batches)
        self.batches = batches
        self.rank, self.world_size = rank, world_size
        # The step with which the next iteration begins, of the main process and of each worker.
        # Shared: a DataLoader's workers are other processes, new ones in each iteration.
        self._next = torch.zeros(1 + MAX_WORKERS, dtype=torch.int64).share_memory_()
        # How many workers read the last iteration, as each of them knows it; 0 if none did.
        self._n_workers = torch.zeros(1 + MAX_WORKERS, dtype=torch.int64).share_memory_()
        self._is_set = False  # whether a worker has itself called `set_epoch`
        self._remaining: range | None = None  # of a worker's epoch, restored by `load_state_dict`
        self._position: int | None = None  # of the present iteration

    def __len__(self) -> int:
        """Return the batches that this rank gets in an epoch."""
        return len(self.batches) // self.world_size

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        """Iterate over the rest of an epoch after `load_state_dict`, else over the next epoch."""
        self._position = None
        return self._tensors()

    def set_epoch(self, epoch: int) -> None:
        """Let the next iteration be an epoch, from 0; also where workers iterate."""
        most = _MAX_STEP // len(self)
        self._set(whole("epoch", epoch, least=0, most=most) * len(self))

    def state_dict(self) -> dict[str, int]:
        """Return the position: the step of this rank that comes next.

        Raises
        ------
        BatchError
            Workers of a `DataLoader` have read, and only torchdata's `StatefulDataLoader` knows
            which of their batches were handed out.
        """
        slot, worker, n_workers = _consumer()
        state = {"steps_per_epoch": len(self), "world_size": self.world_size}
        if slot == 0 and bool(self._n_workers.any()):
            raise BatchError(
                "state_dict: workers read these batches, and how many of theirs were handed out "
                "isn't known here; use torchdata's StatefulDataLoader, or num_workers=0"
            )
        begin = int(self._next[slot])
        step = begin + worker if self._position is None else self._position
        if slot == 0:
            return {"step": step, **state}
        epoch_end = self._epoch_end(begin) if self._position is None else begin
        if self._remaining is not None:
            step, epoch_end = self._remaining.start, self._remaining.stop
        return {
            "step": step,
            "epoch_end": epoch_end,
            "worker": worker,
            "num_workers": n_workers,
            **state,
        }

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Let the next iteration continue at a position that `state_dict` has returned.

        Raises
        ------
        BatchError
            The state isn't one of such batches, or of another number of ranks or workers.
        """
        try:
            step, steps = state["step"], int(state["steps_per_epoch"])
            world_size = int(state["world_size"])
            of_worker = [state[key] for key in _OF_WORKERS] if _OF_WORKERS[0] in state else None
        except (KeyError, TypeError, ValueError):
            raise BatchError(
                f"load_state_dict: expected what state_dict has returned, found {state!r:.80}"
            ) from None
        if (steps, world_size) != (len(self), self.world_size):
            raise BatchError(
                f"load_state_dict: expected the state of {len(self):,} batches in each epoch of "
                f"{self.world_size} ranks, found one of {steps:,} batches of {world_size} ranks; "
                "resume with the same data, batch_size and world_size"
            )
        step = whole("step", step, least=0, most=_MAX_STEP)
        if of_worker is None:
            self._set(step)
            return
        slot, worker, n_workers = _consumer()
        epoch_end = whole("epoch_end", of_worker.pop(), least=0, most=_MAX_STEP + len(self))
        if of_worker != [worker, n_workers]:
            raise BatchError(
                f"load_state_dict: expected the state of worker {worker} of {n_workers}, found "
                f"that of {of_worker[0]} of {of_worker[1]}; resume with the same number of workers"
            )
        self._remaining = range(step, epoch_end, n_workers)
        self._note_next(epoch_end, n_workers if slot else 0)

    def _set(self, step: int) -> None:
        self._note_next(step, n_workers=0)
        self._is_set, self._remaining, self._position = True, None, None

    def _note_next(self, step: int, n_workers: int) -> None:
        """Note the step that the next iteration begins with: for all, or for a worker alone."""
        slot, _, _ = _consumer()
        where = slice(None) if slot == 0 else slot
        self._next[where], self._n_workers[where] = step, n_workers

    def _epoch_end(self, step: int) -> int:
        return (step // len(self) + 1) * len(self)

    def _tensors(self) -> Iterator[tuple[Any, Any]]:
        slot, worker, n_workers = _consumer()
        self._check_memory(n_workers)
        steps = self._remaining
        if steps is None:
            begin = int(self._next[slot] if slot else self._next.max())
            if slot and not self._is_set:
                self._check_n_workers(n_workers)
            steps = range(begin + worker, self._epoch_end(begin), n_workers)
            self._note_next(steps.stop, n_workers if slot else 0)
        self._is_set, self._remaining, self._position = False, None, steps.start
        if not steps:
            return
        # Of this rank's steps in an epoch to those of all ranks.
        epoch = steps.start // len(self)
        shift = epoch * (len(self.batches) - len(self)) + self.rank * len(self)
        with self.batches.stream(steps.start + shift, steps.stop + shift, n_workers) as stream:
            for step in steps:
                x, y = next(stream)
                self._position = step + n_workers
                yield _Pair((torch.from_numpy(x), torch.from_numpy(y)))
                del x, y  # the stream reuses what the caller has let go of

    def _check_all_ranks(self, batches: Batches) -> None:
        """Raise an error if the batches are shared out already."""
        if batches.world_size > 1:
            raise BatchError(
                f"world_size: expected batches of all ranks, found those of rank {batches.rank} of "
                f"{batches.world_size}: Batches shares out the rows of each batch, torch_batches "
                "the steps of an epoch; give rank and world_size to one of them"
            )

    def _check_n_workers(self, n_workers: int) -> None:
        """Raise an error if other workers than these have read the last iteration."""
        others = self._n_workers[(self._n_workers != 0) & (self._n_workers != n_workers)]
        if len(others):
            epoch = int(self._next.max()) // len(self)
            raise BatchError(
                f"num_workers: expected {int(others[0])} again, as in the epoch before, found "
                f"{n_workers}; call set_epoch({epoch}) before another number of workers reads"
            )

    def _check_memory(self, n_workers: int) -> None:
        needed = n_workers * 2 * self.batches.pool_bytes
        available = max(self.batches.placement.available, MIN_AVAILABLE)
        if n_workers > MAX_WORKERS or needed > available:
            raise BatchError(
                f"num_workers: {n_workers} workers have two pools of "
                f"{in_bytes(self.batches.pool_bytes)} each; expected {in_bytes(available)} at "
                f"most, the memory available, and {MAX_WORKERS} workers at most: take num_workers=0"
            )


class _Pair(tuple[Any, Any]):
    """A batch ``(x, y)`` of tensors, known by its type to a `DataLoader`."""

    __slots__ = ()


def _refuse_collation(*_: object, **__: object) -> None:
    """Raise an error if a `DataLoader` would make batches of batches."""
    raise BatchError(
        "a DataLoader would make batches of these batches: expected DataLoader(loader, "
        "batch_size=None), which hands them on as they are"
    )


if _import_error is None:
    default_collate_fn_map[_Pair] = _refuse_collation


def _consumer() -> tuple[int, int, int]:
    """Return a consumer's slot, and which of how many workers this is; slot 0 is no worker."""
    worker = get_worker_info()
    return (0, 0, 1) if worker is None else (1 + worker.id, worker.id, worker.num_workers)
