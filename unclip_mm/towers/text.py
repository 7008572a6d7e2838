"""Text: a sentence encoder, mean-pooled, and an MLP head."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from unclip_mm.towers.base import Features, Tower, build_backbone
from unclip_mm.towers.heads import MLPHead


class TextTower(Tower):
    """``input_ids`` and ``attention_mask`` (B, L) -> (B, D).

    Args:
        dim: D.
        backbone: Configuration of a transformers text encoder (``bert``, ``mpnet``, ...).
        frozen: Leave the backbone as it came.
        width, depth, dropout: Of the head.
    """

    def __init__(
        self,
        dim: int,
        backbone: dict[str, Any],
        frozen: bool = True,
        width: int = 512,
        depth: int = 1,
        dropout: float = 0.1,
    ):
        super().__init__(build_backbone(backbone), frozen)
        if getattr(self.backbone, "pooler", None) is not None:
            self.backbone.pooler = None  # the mean of the tokens is used, and a pooler would be dead weight
        self.mlp = MLPHead(self.backbone.config.hidden_size, width, depth, dim, dropout)

    def run_backbone(self, inputs: Features) -> Features:
        """Return ``pooled`` (B, F): the mean of the last hidden states over the tokens that are there."""
        states = self.backbone(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).last_hidden_state
        mask = inputs["attention_mask"][..., None].to(states)
        return {"pooled": (states * mask).sum(dim=1) / mask.sum(dim=1)}

    def head(self, features: Features) -> Tensor:
        """Map the pooled states to (B, D)."""
        return self.mlp(features["pooled"])
