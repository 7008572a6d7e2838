"""Embeddings: unit vectors of several modalities, with a mask of what is present. The one currency between modules.

Shapes, in the names and the docstrings: B rows, M modalities, D dimensions.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from unclip_mm.errors import InputError, first_line
from unclip_mm.vectors import arithmetic, as_vectors, check_names, check_unit, slerp, unit, unit_where, widen

__all__ = ["Embeddings", "arithmetic", "check_embeddings", "read_metadata", "slerp"]

_MODALITIES_KEY = "modalities"


@dataclass(frozen=True, eq=False)
class Embeddings:
    """Unit vectors of B rows in M modalities, and which of them are present.

    Temperature is never baked in, and an absent modality is masked: its vector is set to zero *and* `present` says so.
    A row may have every modality absent. Instances are not changed after they are made; gradients pass through.

    Attributes:
        vectors: (B, M, D) floating point, norm 1 where present (within 1e-3; 1e-2 in half precision), 0 where absent.
        present: (B, M) bool.
        modalities: M different names, in the order of the second dimension.

    Raises:
        InputError: wrong shapes, dtypes or devices; names that repeat; a present vector that is not finite or not unit.

    Example:
        >>> import torch
        >>> pair = Embeddings.from_dict({"text": torch.tensor([[3.0, 4.0]]), "audio": torch.tensor([[0.0, 2.0]])})
        >>> pair["text"]
        tensor([[0.6000, 0.8000]])
        >>> pair.mix({"text": 1.0}).shape, len(pair), pair.dim
        (torch.Size([1, 2]), 1, 2)
    """

    vectors: Tensor
    present: Tensor
    modalities: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "modalities", check_names(self.modalities))
        _check_tensors(self.vectors, self.present, self.modalities)
        if not bool(self.present.all()):
            object.__setattr__(self, "vectors", self.vectors.masked_fill(~self.present.unsqueeze(-1), 0.0))
        check_unit(self.vectors.detach(), self.present, self.modalities)

    @classmethod
    def from_dict(cls, vectors: Mapping[str, Any], present: Mapping[str, Any] | None = None) -> Embeddings:
        """Normalise and stack one (B, D) tensor a modality.

        Args:
            vectors: modality -> (B, D) floating point tensor or array of any non-zero norm. Half precision comes back
                as float32, mixed precisions as the widest.
            present: modality -> (B,) bool; a modality that is not named here is present in every row. What stands in
                `vectors` where a modality is absent is ignored, whatever it is.

        Raises:
            InputError: no modality, shapes that differ, or a present vector that is zero or not finite.

        Example:
            >>> import torch
            >>> some = Embeddings.from_dict({"text": torch.eye(2), "audio": torch.zeros(2, 2)},
            ...                             present={"audio": torch.tensor([False, False])})
            >>> some.present.tolist()
            [[True, False], [True, False]]
        """
        names = check_names(tuple(vectors))
        tensors = [as_vectors(name, vectors[name], 2) for name in names]
        shape, device = tensors[0].shape, tensors[0].device
        for name, tensor in zip(names, tensors, strict=True):
            if tensor.shape != shape or tensor.device != device:
                raise InputError(
                    f"embeddings {name!r}: shape {tuple(tensor.shape)} on {tensor.device}, but {names[0]!r} has "
                    f"{tuple(shape)} on {device}; give every modality the same"
                )
        unknown = sorted(set(present or {}) - set(names))
        if unknown:
            raise InputError(f"present: names {unknown[0]!r}, which has no vectors; known: {', '.join(names)}")
        masks = [_as_mask(name, (present or {}).get(name), shape[0], device) for name in names]
        units = [unit_where(name, tensor, mask) for name, tensor, mask in zip(names, tensors, masks, strict=True)]
        dtype = torch.float64 if any(unit.dtype == torch.float64 for unit in units) else torch.float32
        return cls(torch.stack([unit.to(dtype) for unit in units], dim=1), torch.stack(masks, dim=1), names)

    @classmethod
    def cat(cls, parts: Sequence[Embeddings]) -> Embeddings:
        """Put the rows of several `Embeddings` under each other.

        The modalities are the union, in order of first appearance; a part that lacks one has it absent in its rows.

        Raises:
            InputError: no parts, or dimensions, dtypes or devices that differ.

        Example:
            >>> import torch
            >>> a, b = (Embeddings.from_dict({name: torch.eye(2)}) for name in ("text", "audio"))
            >>> Embeddings.cat([a, b]).present.tolist()
            [[True, False], [True, False], [False, True], [False, True]]
        """
        if not parts:
            raise InputError("Embeddings.cat: got no parts; give at least one Embeddings")
        first = parts[0].vectors
        for k, part in enumerate(parts):
            own = part.vectors
            if (own.shape[-1], own.dtype, own.device) != (first.shape[-1], first.dtype, first.device):
                raise InputError(
                    f"Embeddings.cat: part {k} has dimension {part.dim}, {own.dtype} on {own.device}, but part 0 has "
                    f"{first.shape[-1]}, {first.dtype} on {first.device}; they must agree"
                )
        names = tuple(dict.fromkeys(name for part in parts for name in part.modalities))
        vectors = torch.cat([part._column_or_zeros(names) for part in parts])
        present = torch.cat([torch.stack([part._mask(name) for name in names], dim=1) for part in parts])
        return cls(vectors, present, names)

    def __len__(self) -> int:
        """Give the number of rows, B."""
        return self.vectors.shape[0]

    @property
    def dim(self) -> int:
        """The dimension D of the vectors."""
        return self.vectors.shape[-1]

    def __getitem__(self, modality: str) -> Tensor:
        """Give the vectors (B, D) of one modality; rows where it is absent are zero."""
        return self.vectors[:, self.index(modality)]

    def index(self, modality: str) -> int:
        """Give the position of a modality; InputError if there is none of that name."""
        if modality not in self.modalities:
            raise InputError(f"modality {modality!r}: not in these embeddings; known: {', '.join(self.modalities)}")
        return self.modalities.index(modality)

    def rows(self, index: int | slice | Sequence[int] | Tensor) -> Embeddings:
        """Take some rows: a position, a slice, positions, or a (B,) bool mask. One position gives one row."""
        if isinstance(index, int):
            index = [index]
        if not isinstance(index, slice):
            index = torch.as_tensor(index, device=self.vectors.device)
            if index.numel() == 0 and index.dtype != torch.bool:
                index = index.long()
        try:
            return Embeddings(self.vectors[index], self.present[index], self.modalities)
        except IndexError as error:
            raise InputError(f"rows: {error}; there are {len(self)} rows") from error

    def select(self, modalities: Sequence[str]) -> Embeddings:
        """Take some modalities, in the order given."""
        if isinstance(modalities, str):
            raise InputError(f"select: got the string {modalities!r}; give a list of modalities, [{modalities!r}]")
        columns = [self.index(name) for name in modalities]
        return Embeddings(self.vectors[:, columns], self.present[:, columns], tuple(modalities))

    def to(self, *args: Any, **options: Any) -> Embeddings:
        """Move to a device or a floating dtype, with the arguments of `torch.Tensor.to`."""
        vectors = self.vectors.to(*args, **options)
        return Embeddings(vectors, self.present.to(vectors.device), self.modalities)

    def detach(self) -> Embeddings:
        """Cut the gradient."""
        return Embeddings(self.vectors.detach(), self.present, self.modalities)

    def mix(self, weights: Mapping[str, float] | None = None) -> Tensor:
        """Average the present modalities of each row into one unit vector.

        Args:
            weights: modality -> weight, finite and not negative; those not named count 0. None weighs all
                alike. In a row where a weighed modality is absent the others carry on.

        Returns:
            (B, D), norm 1.

        Raises:
            InputError: a weight that is negative, NaN or infinite; all weights zero; a weight for a modality absent in
                every row; a row that has nothing left to mix, or whose vectors cancel out.

        Example:
            >>> import torch
            >>> pair = Embeddings.from_dict({"text": torch.tensor([[1.0, 0.0]]), "audio": torch.tensor([[0.0, 1.0]])})
            >>> pair.mix({"text": 3, "audio": 4})
            tensor([[0.6000, 0.8000]])
        """
        weight = self._weights(weights).to(self.vectors.device)
        wide = widen(self.vectors)
        share = weight.to(wide.dtype) * self.present
        empty = torch.nonzero(share.sum(dim=1) <= 0).flatten()
        if len(empty):
            raise InputError(f"mix: row {int(empty[0])} has none of the modalities to mix; give it one or leave it out")
        share = share / share.sum(dim=1, keepdim=True)
        return unit("mix", (share.unsqueeze(-1) * wide).sum(dim=1)).to(self.vectors.dtype)

    def save(self, path: str | Path, metadata: Mapping[str, str] | None = None) -> None:
        """Write a .safetensors file with `vectors` and `present`; the modalities and `metadata` go into its header.

        Raises:
            InputError: another suffix, a folder that does not exist, a file that cannot be written, or metadata that is
                not text or uses "modalities".
        """
        path = Path(path)
        if path.suffix != ".safetensors":
            raise InputError(f"{path}: embeddings are saved as safetensors; give a name that ends in .safetensors")
        if not path.parent.is_dir():
            raise InputError(f"{path}: the folder {path.parent} does not exist; create it first")
        header = dict(metadata or {})
        for key, value in header.items():
            if key == _MODALITIES_KEY or not isinstance(key, str) or not isinstance(value, str):
                raise InputError(f"metadata {key!r}: give text for text keys other than {_MODALITIES_KEY!r}")
        header[_MODALITIES_KEY] = json.dumps(self.modalities)
        tensors = {"vectors": self.vectors, "present": self.present}
        partial = path.with_name(path.name + ".partial")
        try:
            save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, partial, header)
            partial.replace(path)
        except (OSError, SafetensorError) as error:
            raise InputError(f"{path}: cannot be written ({first_line(error)}); give another file name") from error

    @classmethod
    def load(cls, path: str | Path) -> Embeddings:
        """Read what `save` wrote, onto the CPU (`read_metadata` gives the metadata).

        Raises:
            InputError: no such file, not safetensors, or not embeddings.
        """
        names = _read_names(read_metadata(path).get(_MODALITIES_KEY))
        with safe_open(path, framework="pt") as file:
            if names is None or set(file.keys()) != {"vectors", "present"}:
                raise InputError(f"{path}: holds no embeddings; give a file written by Embeddings.save")
            return cls(file.get_tensor("vectors"), file.get_tensor("present"), names)

    def _column_or_zeros(self, names: Sequence[str]) -> Tensor:
        zeros = self.vectors.new_zeros(len(self), self.dim)
        return torch.stack([self[name] if name in self.modalities else zeros for name in names], dim=1)

    def _mask(self, name: str) -> Tensor:
        if name in self.modalities:
            return self.present[:, self.index(name)]
        return self.present.new_zeros(len(self))

    def _weights(self, weights: Mapping[str, float] | None) -> Tensor:
        if weights is None:
            return torch.ones(len(self.modalities), dtype=torch.float64)
        weight = torch.zeros(len(self.modalities), dtype=torch.float64)
        for name, value in weights.items():
            column = self.index(name)
            try:
                weight[column] = float(value)
            except (TypeError, ValueError) as error:
                raise InputError(f"weight of {name!r}: {value!r} is no number; give one of 0 or more") from error
            if not bool(torch.isfinite(weight[column])) or weight[column] < 0:
                raise InputError(f"weight of {name!r}: {value} is not allowed; give a finite number of 0 or more")
            if weight[column] > 0 and not bool(self.present[:, column].any()):
                raise InputError(f"weight of {name!r}: the modality is absent in every row; leave the weight out")
        if not bool((weight > 0).any()):
            raise InputError("weights: all are zero; give at least one modality a positive weight")
        return weight


def check_embeddings(value: Any) -> Embeddings:
    """Give `value`; InputError if it is no `Embeddings`.

    Example:
        >>> import torch
        >>> check_embeddings(torch.eye(2))
        Traceback (most recent call last):
        ...
        unclip_mm.errors.InputError: embeddings: Tensor; give Embeddings, as Embeddings.from_dict makes them
    """
    if not isinstance(value, Embeddings):
        raise InputError(f"embeddings: {type(value).__name__}; give Embeddings, as Embeddings.from_dict makes them")
    return value


def read_metadata(path: str | Path) -> dict[str, str]:
    """Read the header of an embeddings file: the metadata given to `Embeddings.save`, and "modalities" as JSON."""
    if not Path(path).is_file():
        raise InputError(f"{path}: no such file; give a .safetensors file written by Embeddings.save")
    try:
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: not a readable safetensors file ({error}); write it again") from error


def _read_names(text: str | None) -> tuple[str, ...] | None:
    """Read the modalities of a header; None where it names none, or is no list."""
    try:
        names = json.loads(text or "null")
    except (ValueError, RecursionError):
        return None
    return tuple(names) if isinstance(names, list) else None


def _as_mask(name: str, value: Any, rows: int, device: torch.device) -> Tensor:
    if value is None:
        return torch.ones(rows, dtype=torch.bool, device=device)
    mask = torch.as_tensor(value, device=device)
    if mask.dtype != torch.bool or mask.shape != (rows,):
        raise InputError(f"present {name!r}: {mask.dtype} of shape {tuple(mask.shape)}; give bool of shape ({rows},)")
    return mask


def _check_tensors(vectors: Tensor, present: Tensor, names: tuple[str, ...]) -> None:
    if not isinstance(vectors, Tensor) or not vectors.is_floating_point() or vectors.ndim != 3 or vectors.shape[-1] < 1:
        what = f"{vectors.dtype} {tuple(vectors.shape)}" if isinstance(vectors, Tensor) else type(vectors).__name__
        raise InputError(f"embeddings: vectors are {what}; give a floating point tensor of shape (B, M, D)")
    if not isinstance(present, Tensor) or present.dtype != torch.bool or present.shape != vectors.shape[:2]:
        what = f"{present.dtype} {tuple(present.shape)}" if isinstance(present, Tensor) else type(present).__name__
        raise InputError(f"embeddings: present is {what}; give bool of shape {tuple(vectors.shape[:2])}")
    if present.device != vectors.device:
        raise InputError(f"embeddings: present is on {present.device}, vectors on {vectors.device}; give both on one")
    if len(names) != vectors.shape[1]:
        raise InputError(f"embeddings: {len(names)} modality names for {vectors.shape[1]} modalities; give one each")
