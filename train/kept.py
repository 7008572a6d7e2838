"""Tensors that take long to make, kept in a file together with what they were made of."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

MADE_OF = "made_of"


def fingerprint(*ingredients: object) -> str:
    """Return a hash of modules (their weights), tensors, and whatever else prints the same when it is the same.

    Example:
        >>> layer = nn.Linear(2, 2)
        >>> before = fingerprint(layer, 3)
        >>> fingerprint(layer, 3) == before, fingerprint(layer, 4) == before
        (True, False)
        >>> nn.init.zeros_(layer.weight).sum().item(), fingerprint(layer, 3) == before
        (0.0, False)
    """
    digest = blake2b(digest_size=16)
    for ingredient in ingredients:
        if isinstance(ingredient, nn.Module):
            tensors = dict(ingredient.state_dict())
        elif isinstance(ingredient, Tensor):
            tensors = {"": ingredient}
        else:
            tensors = {}
            digest.update(repr(ingredient).encode())
        for name, tensor in tensors.items():
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def kept(file: Path, made_of: str, make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """Return the tensors in a file, or, if it is not there or was made of something else, make them and write it."""
    if file.is_file():
        with safe_open(file, framework="pt") as opened:
            found = (opened.metadata() or {}).get(MADE_OF)
        if found == made_of:
            return load_file(file)
    tensors = make()
    file.parent.mkdir(parents=True, exist_ok=True)
    incomplete = file.with_suffix(".incomplete")
    save_file(tensors, incomplete, metadata={MADE_OF: made_of})
    incomplete.replace(file)  # a kill while it is written leaves nothing under this name
    return tensors
