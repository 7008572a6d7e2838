"""What every objective shares: one batch from all processes, float32, checked inputs.

Shapes: B rows (all processes together), M modalities, D dimensions.
"""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unclip_mm.distributed import check_same_everywhere, gather_with_grad
from unclip_mm.embeddings import Embeddings, check_embeddings
from unclip_mm.errors import InputError
from unclip_mm.vectors import check_finite

__all__ = ["Batch", "Objective"]


@dataclass(frozen=True, eq=False)
class Batch:
    """The rows of all processes, at least float32, checked to be finite.

    Attributes:
        vectors: (B, M, D) float32 or float64, unit norm where present, zero elsewhere.
        present: (B, M) bool.
        modalities: M names.
        groups: (B,) int64; two rows are negatives of each other if and only if their groups differ. None: every row is a
            group of its own. The B x B mask of negatives is never held: it is compared into being where a chunk of it is
            needed.
    """

    vectors: Tensor
    present: Tensor
    modalities: tuple[str, ...]
    groups: Tensor | None

    @cached_property
    def columns(self) -> tuple[Tensor, ...]:
        """The vectors (B, D) of each modality, once: every other way to take them apart has a gradient of its own size."""
        return self.vectors.unbind(dim=1)

    def index(self, modality: str) -> int:
        """Give the position of a modality, as an anchor; InputError if there is none of that name."""
        if modality not in self.modalities:
            raise InputError(f"anchor {modality!r}: not among the modalities; give one of {', '.join(self.modalities)}")
        return self.modalities.index(modality)

    def tuples(self) -> Tensor:
        """Give the rows with two modalities or more, (B,) bool; InputError if there are none."""
        rows = self.present.sum(dim=1) >= 2
        if not bool(rows.any()):
            raise InputError("embeddings: no row has two modalities: nothing to align; mix such rows into every batch")
        return rows


class Objective(nn.Module, ABC):
    """Base of the objectives; a new one defines `terms`.

    `forward` gathers the rows of all processes (with gradients: see `unclip_mm.distributed.gather_with_grad`), leaves
    autocast, and detaches whatever is only logged. Every process therefore returns the same loss, the loss that one
    process would have with the whole batch.

    Attributes:
        gathers: False for an objective that is to see the rows of its own process only.

    Example:
        >>> import torch
        >>> class Spread(Objective):
        ...     def terms(self, batch):
        ...         rows = torch.tensor(len(batch.vectors))
        ...         return {"spread_loss": batch.vectors.mean(dim=0).square().sum(), "rows": rows}
        >>> sorted(Spread()(Embeddings.from_dict({"text": torch.eye(3), "audio": torch.eye(3)})))
        ['rows', 'spread_loss']
    """

    gathers: bool = True

    def forward(self, embeddings: Embeddings, groups: Tensor | None = None) -> dict[str, Tensor]:
        """Compute the terms of the objective.

        Args:
            embeddings: this process' rows; the same number of rows, modalities and dtype on every process.
            groups: (B,) integers; rows with the same number show the same thing and are not each other's negatives.
                The numbers mean the same on every process. None: every row is a group of its own.

        Returns:
            scalars. Those whose name ends in `_loss` are weighted, to be summed and minimised; the others are for the
            log and carry no gradient.

        Raises:
            InputError: no `Embeddings`; fewer than two rows, or one group, or one modality, or nothing to align; values
                not finite.
        """
        check_embeddings(embeddings)
        with torch.autocast(embeddings.vectors.device.type, enabled=False):
            terms = self.terms(gather_batch(embeddings, groups, gather=self.gathers))
        return {name: term if name.endswith("_loss") else term.detach() for name, term in terms.items()}

    @abstractmethod
    def terms(self, batch: Batch) -> dict[str, Tensor]:
        """Compute the terms on the rows of all processes."""


def gather_batch(embeddings: Embeddings, groups: Tensor | None, gather: bool = True) -> Batch:
    """Bring together and check the rows of all processes. If it raises, it does on every process."""
    vectors, present = embeddings.vectors, embeddings.present
    fault = "" if groups is None else _fault_of_groups(groups, embeddings)
    if torch.finfo(vectors.dtype).bits < 32:  # rounding has moved the norms
        vectors = F.normalize(vectors.float(), dim=-1)
    if gather:
        names = zlib.crc32("/".join(embeddings.modalities).encode())
        width = torch.finfo(embeddings.vectors.dtype).bits
        layout = (*vectors.shape, width, names, int(groups is not None))
        what = "embeddings (rows, modalities, dimension, bits, names, groups)"
        check_same_everywhere(what, layout, vectors.device, fault)
    elif fault:
        raise InputError(fault)
    groups = None if groups is None else groups.to(vectors.device, torch.int64)
    if gather:
        vectors, present = gather_with_grad(vectors), gather_with_grad(present)
        groups = None if groups is None else gather_with_grad(groups)
    check_finite(vectors)
    if len(embeddings.modalities) < 2:
        raise InputError(f"embeddings: {embeddings.modalities[0]!r} is the only modality; objectives need two or more")
    used = present.any(dim=1)
    if int(used.sum()) < 2:
        raise InputError(f"embeddings: {int(used.sum())} rows with a modality; give two or more in a batch")
    if groups is not None and len(groups.unique()) == len(groups):
        groups = None
    if groups is not None and bool((groups[used] == groups[used][0]).all()):
        raise InputError("groups: all rows are of one group, so there are no negatives; mix groups in a batch")
    return Batch(vectors, present, embeddings.modalities, groups)


def _fault_of_groups(groups: Tensor, embeddings: Embeddings) -> str:
    """Say what is wrong with them, if anything."""
    integer = isinstance(groups, Tensor) and not groups.is_floating_point() and groups.dtype != torch.bool
    if integer and groups.shape == (len(embeddings),):
        return ""
    what = f"{groups.dtype} {tuple(groups.shape)}" if isinstance(groups, Tensor) else type(groups).__name__
    return f"groups: {what}; give an integer tensor of shape ({len(embeddings)},), one number a row"
