"""Stored features as float32: the same bits from either store dtype. Arrays only, no files."""

from typing import Any

import numpy as np

from ..arrays import Array, Float32
from ..errors import ArgumentError, shown
from .manifest import Manifest


def decode(stored: Array, manifest: Manifest, out: Float32 | None, *, where: str) -> Float32:
    """Return stored features as float32, as `Dataset.decode` describes it.

    Parameters
    ----------
    stored, out
        See `Dataset.decode`.
    manifest : Manifest
        It has the store dtype and the scale.
    where : str
        The dataset's path, for messages.

    Raises
    ------
    ArgumentError
        The arrays aren't of the dtypes and the shape that are expected.
    """
    _check(stored, out, manifest.store_dtype, where)
    if out is None:
        out = np.empty(stored.shape, np.float32)
    np.copyto(out, stored)  # apart from the product: twice as fast as a buffered cast
    scale = manifest.scale
    if scale is not None:
        np.multiply(out, np.float32(scale.multiply), out=out)
        if scale.add:
            np.add(out, np.float32(scale.add), out=out)
    return out


def _check(stored: object, out: object, dtype: np.dtype[Any], where: str) -> None:
    if not isinstance(stored, np.ndarray):
        raise ArgumentError(
            f"{where}: decode: expected an array of {dtype}, as dataset[era].features, found "
            f"{shown(stored)}"
        )
    if stored.dtype != dtype:
        raise ArgumentError(
            f"{where}: decode: expected features as they are stored, {dtype}, found "
            f"{stored.dtype}; what is decoded already needs no decoding"
        )
    if out is not None and not (
        isinstance(out, np.ndarray)
        and (out.dtype, out.shape) == (np.float32, stored.shape)
        and out.flags.writeable
    ):
        found = f"{out.dtype} {out.shape}" if isinstance(out, np.ndarray) else shown(out)
        raise ArgumentError(
            f"{where}: decode: out: expected a writeable array of float32 and shape "
            f"{stored.shape}, found {found}"
        )
