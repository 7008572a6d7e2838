"""Image and sketch: a vision transformer and a head that keeps the layout."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unclip_mm.errors import InputError
from unclip_mm.towers.base import Features, Tower, build_backbone
from unclip_mm.towers.heads import GridHead


class VisionTower(Tower):
    """``pixels`` (B, C, S, S) in [-1, 1] -> (B, D + detail).

    With ``detail > 0`` the head gives more numbers than the shared space has: the first D are aligned with the other
    modalities, the others are free to say what no caption says (layout, pose, style), for the decoder.

    Args:
        dim: D.
        backbone: Configuration of a transformers vision encoder with ``last_hidden_state``: tokens (``vit``, ``dinov2``,
            ...) or a map of features (``convnext``, ``convnextv2``), each place of which is then a token.
        frozen: Leave the backbone as it came.
        detail: Free dimensions beside the aligned ones.
        channels: Channels to which each token is squeezed.
        thicken: For drawings: how much thicker the lines are seen in use than they are, as :func:`thicker` takes it.
            In training drawings are turned, stretched, thickened and mixed with the edges of pictures, so the lines
            that the tower learns are wider than those that it is given afterwards.

    Raises:
        InputError: ``thicken`` is not from 0 to 1.
    """

    def __init__(
        self,
        dim: int,
        backbone: dict[str, Any],
        frozen: bool = False,
        detail: int = 0,
        channels: int = 24,
        thicken: float = 0.0,
    ):
        if not 0 <= thicken <= 1:
            raise InputError(f"thicken: lines cannot be thicker by {thicken}; give a number from 0 to 1")
        super().__init__(build_backbone(backbone), frozen)
        self.thicken = thicken
        config = self.backbone.config
        with torch.no_grad():
            device = next(self.backbone.parameters()).device  # "meta" while a checkpoint is being loaded
            blank = torch.zeros(1, config.num_channels, config.image_size, config.image_size, device=device)
            seen = self.backbone(pixel_values=blank).last_hidden_state
            count, width = as_tokens(seen).shape[1:]
        # The grid head takes the tokens, and what makes one vector of them would be dead weight.
        if getattr(self.backbone, "pooler", None) is not None:
            self.backbone.pooler = None
        if seen.ndim == 4 and hasattr(self.backbone, "layernorm"):
            self.backbone.layernorm = nn.Identity()  # ConvNeXt has it after the mean over its map
        self.grid = GridHead(count, width, channels, dim + detail)

    def run_backbone(self, inputs: Features) -> Features:
        """Return ``tokens`` (B, N, F)."""
        pixels = inputs["pixels"]
        if self.thicken and not self.training:
            pixels = thicker(pixels, self.thicken)
        return {"tokens": as_tokens(self.backbone(pixel_values=pixels).last_hidden_state)}

    def head(self, features: Features) -> Tensor:
        """Map the tokens to (B, D + detail)."""
        return self.grid(features["tokens"])


def thicker(pixels: Tensor, share: float | Tensor) -> Tensor:
    """Draw lines thicker, by up to one pixel on every side.

    Args:
        pixels: (B, C, H, W), dark lines on a brighter ground.
        share: How dark the added pixels are, from 0 (as they were) to 1 (as dark as the line); one number, or (B, 1, 1, 1).

    Example:
        >>> line = torch.tensor([[[[1.0, 1.0, -1.0, 1.0, 1.0]]]])
        >>> thicker(line, 0.5)
        tensor([[[[ 1.,  0., -1.,  0.,  1.]]]])
    """
    wide = -F.max_pool2d(-pixels, 3, 1, 1)
    return torch.lerp(pixels, wide, share)


def as_tokens(seen: Tensor) -> Tensor:
    """Turn a map of features (B, F, H, W) into tokens (B, H * W, F); tokens stay as they are.

    Example:
        >>> as_tokens(torch.zeros(2, 8, 4, 4)).shape, as_tokens(torch.zeros(2, 5, 8)).shape
        (torch.Size([2, 16, 8]), torch.Size([2, 5, 8]))
    """
    return seen if seen.ndim == 3 else seen.flatten(2).mT
