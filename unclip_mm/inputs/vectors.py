"""Vectors and sequences of vectors, from files or memory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unclip_mm.errors import InputError
from unclip_mm.inputs.files import name_of, readable_path, reason

if TYPE_CHECKING:
    import torch


def load_vector(
    source: Any, *, ranks: tuple[int, ...] = (1, 2), dim: int | None = None, name: str | None = None
) -> np.ndarray:
    """Load a vector or a sequence of vectors: sensor readings, features of another model, stored embeddings.

    Args:
        source: The path of a ``.npy`` file, or of a ``.safetensors`` file with one tensor or one called ``vectors``; an
            array; or a tensor. Real numbers of any type.
        ranks: The numbers of axes that are right: 1 for (D,), 2 for (T, D), 3 for (B, M, D).
        dim: The size that the last axis must have, or None for any.
        name: What an error calls it.

    Returns:
        A float32 array, finite, with no axis of size 0.

    Raises:
        InputError: A missing, empty or damaged file, another kind of file, no numbers, NaN, infinity, or a wrong shape.

    Example:
        >>> load_vector(np.arange(3)).dtype
        dtype('float32')
        >>> load_vector(np.ones(3), dim=4, name="imu")
        Traceback (most recent call last):
        ...
        unclip_mm.errors.InputError: imu: has 3 numbers in its last axis; give 4
    """
    name = name or name_of(source, "vector")
    if isinstance(source, (str, os.PathLike)):
        source = _read_vector(readable_path(source, name), name)
    if hasattr(source, "detach"):  # a torch tensor
        source = source.detach().cpu()
        source = (source if source.is_complex() else source.float()).numpy()
    if not isinstance(source, np.ndarray):
        kind = type(source).__name__
        raise InputError(f"{name}: is a {kind}; give a .npy or .safetensors file, an array or a tensor")
    if source.dtype.kind not in "fiub":
        raise InputError(f"{name}: holds {source.dtype.name} values; give real numbers")
    if source.ndim not in ranks or source.size == 0:
        wanted = " or ".join(str(rank) for rank in ranks)
        raise InputError(f"{name}: has shape {source.shape}; give {wanted} axes, none of size 0")
    if dim is not None and source.shape[-1] != dim:
        raise InputError(f"{name}: has {source.shape[-1]} numbers in its last axis; give {dim}")
    with np.errstate(over="ignore"):
        vector = np.asarray(source, dtype=np.float32)
    if not np.isfinite(vector).all():
        raise InputError(f"{name}: holds NaN, infinite or too large numbers; give finite ones")
    return vector


def _read_vector(path: Path, name: str) -> Any:
    try:
        if path.suffix == ".npy":
            return np.load(path, allow_pickle=False)
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            tensors: dict[str, torch.Tensor] = load_file(path)
            if len(tensors) == 1:
                return next(iter(tensors.values()))
            if "vectors" in tensors:
                return tensors["vectors"]
            raise InputError(f"{name}: holds {len(tensors)} tensors; give a file with one, or one called 'vectors'")
    except InputError:
        raise
    except Exception as error:  # whatever damaged data makes the reader raise
        raise InputError(f"{name}: is damaged or no {path.suffix} ({reason(error)}); save it again") from error
    raise InputError(f"{name}: ends in {path.suffix or 'nothing'!r}; give a .npy or .safetensors file")
