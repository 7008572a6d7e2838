"""Text: a sentence encoder, mean-pooled, and an MLP head, or the regression of one on what it was taught."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from unclip_mm.errors import InputError
from unclip_mm.towers.base import Features, Tower, build_backbone
from unclip_mm.towers.heads import MLPHead
from unclip_mm.towers.kernel import KernelHead


class TextTower(Tower):
    """``input_ids`` and ``attention_mask`` (B, L) -> (B, D).

    Args:
        dim: D.
        backbone: Configuration of a transformers text encoder (``bert``, ``mpnet``, ...).
        frozen: Leave the backbone as it came.
        width, depth, dropout: Of the head.
        bumps: Captions whose regression is the head, in the place of the MLP (see :meth:`smooth`); 0 is the MLP.
        bump_width, bump_aside: Of that regression, its width and how many directions it leaves aside.
    """

    def __init__(
        self,
        dim: int,
        backbone: dict[str, Any],
        frozen: bool = True,
        width: int = 512,
        depth: int = 1,
        dropout: float = 0.1,
        bumps: int = 0,
        bump_width: float = 2.0,
        bump_aside: int = 0,
    ):
        super().__init__(build_backbone(backbone), frozen)
        if getattr(self.backbone, "pooler", None) is not None:
            self.backbone.pooler = None  # the mean of the tokens is used, and a pooler would be dead weight
        features = self.backbone.config.hidden_size
        if bumps:
            self.kernel = KernelHead(features, bumps, dim, bump_width, bump_aside)
        else:
            self.mlp = MLPHead(features, width, depth, dim, dropout)
        self.bumps = bumps

    def smooth(
        self, features: Features, vectors: Tensor, width: float, ridge: float, aside: Tensor | None = None
    ) -> dict[str, float]:
        """Put the regression from ``pooled`` (N, F) to unit vectors (N, D) in the place of the head.

        Returns:
            The options with which such a tower is built.

        Raises:
            InputError: The backbone is trained, so that its features will not stay; or a number is not allowed.
        """
        if not self.frozen:
            raise InputError(
                "smooth: the text tower has no frozen backbone, so the features of its captions do not stay"
            )
        self.kernel = KernelHead.fit(features["pooled"], vectors, width, ridge, aside)
        if self.quantized:
            self.kernel.quantize()
        self.bumps = len(vectors)
        if hasattr(self, "mlp"):
            del self.mlp
        return {"bumps": self.bumps, "bump_width": width, "bump_aside": len(self.kernel.aside)}

    def quantize(self) -> None:
        """Round the matrices of the backbone, and the captions of the regression, to 8 bits."""
        super().quantize()
        if self.bumps:
            self.kernel.quantize()

    def run_backbone(self, inputs: Features) -> Features:
        """Return ``pooled`` (B, F): the mean of the last hidden states over the tokens that are there."""
        states = self.backbone(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).last_hidden_state
        mask = inputs["attention_mask"][..., None].to(states)
        return {"pooled": (states * mask).sum(dim=1) / mask.sum(dim=1)}

    def head(self, features: Features) -> Tensor:
        """Map the pooled states to (B, D)."""
        return (self.kernel if self.bumps else self.mlp)(features["pooled"])
