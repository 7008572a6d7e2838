"""Image and sketch: a vision transformer and a head that keeps the layout."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PretrainedConfig

from unclip_mm.errors import CheckpointError, InputError, first_line
from unclip_mm.towers.base import Features, Tower, build_backbone, loading_from
from unclip_mm.towers.heads import GridHead

SIDE = 224
"""Of the pictures that a network sees whose configuration does not say."""


class VisionTower(Tower):
    """``pixels`` (B, C, S, S) in [-1, 1] -> (B, D + detail).

    The network sees them as it was made to: in its own size, of as many channels as it has (a drawing's one channel is
    repeated), with its own mean and deviation. What a frozen one says of a picture is not cached, as pictures are shifted
    and scaled in training: it runs every time.

    With ``detail > 0`` the head gives more numbers than the shared space has: the first D are aligned with the other
    modalities, the others are free to say what no caption says (layout, pose, style), for the decoder.

    Args:
        dim: D.
        backbone: Configuration of a transformers vision encoder with ``last_hidden_state``: tokens (``vit``, ``dinov2``,
            ...) or a map of features (``convnext``, ``convnextv2``), each place of which is then a token. Of a network of
            pictures and texts (``clip``, ``siglip``) :func:`unclip_mm.encoder.build_encoder` takes the half that sees.
        frozen: Leave the backbone as it came.
        detail: Free dimensions beside the aligned ones.
        channels: Channels to which each token is squeezed.
        thicken: For drawings: how much thicker the lines are seen in use than they are, as :func:`thicker` takes it.
            In training drawings are turned, stretched, thickened and mixed with the edges of pictures, so the lines
            that the tower learns are wider than those that it is given afterwards.
        mean, std: Of a colour, or of all of them, in [0, 1], which the network takes away and divides by; those of a
            pretrained one are read from its ``preprocessor_config.json``.

    Raises:
        InputError: ``thicken`` is not from 0 to 1.
    """

    augmented = True

    def __init__(
        self,
        dim: int,
        backbone: dict[str, Any],
        frozen: bool = False,
        detail: int = 0,
        channels: int = 24,
        thicken: float = 0.0,
        mean: Sequence[float] = (0.5,),
        std: Sequence[float] = (0.5,),
    ):
        if not 0 <= thicken <= 1:
            raise InputError(f"thicken: lines cannot be thicker by {thicken}; give a number from 0 to 1")
        super().__init__(build_backbone(backbone), frozen)
        self.thicken, self.mean, self.std = thicken, tuple(mean), tuple(std)
        self.side, self.channels = _side(self.backbone.config), getattr(self.backbone.config, "num_channels", 3)
        with torch.no_grad():
            device = next(self.backbone.parameters()).device  # "meta" while a checkpoint is being loaded
            blank = torch.zeros(1, self.channels, self.side, self.side, device=device)
            seen = self.backbone(pixel_values=blank).last_hidden_state
            count, width = as_tokens(seen).shape[1:]
        # The grid head takes the tokens, and what makes one vector of them would be dead weight.
        if getattr(self.backbone, "pooler", None) is not None:
            self.backbone.pooler = None
        if getattr(self.backbone, "use_head", False):  # SigLIP's pooler
            self.backbone.use_head = False
            del self.backbone.head
        if seen.ndim == 4 and hasattr(self.backbone, "layernorm"):
            self.backbone.layernorm = nn.Identity()  # ConvNeXt has it after the mean over its map
        self.grid = GridHead(count, width, channels, dim + detail)

    @classmethod
    def options_of(cls, source: str) -> dict[str, Any]:
        """Return the mean and the deviation that a pretrained network was trained with; a folder may lack them.

        Raises:
            CheckpointError: They cannot be read: of the hub, what is not there cannot be told from what was not fetched.
        """
        from transformers.image_processing_base import ImageProcessingMixin  # a third of a second that few need

        try:
            options, _ = ImageProcessingMixin.get_image_processor_dict(source)
        except OSError as error:
            if Path(source).is_dir() and not (Path(source) / "preprocessor_config.json").is_file():
                return {}
            raise CheckpointError(
                f"backbone {source}: its preprocessor_config.json cannot be read ({first_line(error)}); "
                "give the tower's mean and std in the recipe"
            ) from error
        if not options.get("do_normalize", True):
            return {"mean": [0.0], "std": [1.0]}
        found = {"mean": options.get("image_mean"), "std": options.get("image_std")}
        return {name: value for name, value in found.items() if value is not None}

    @classmethod
    def load_backbone(cls, source: str) -> nn.Module:
        """Load a pretrained network from a local folder or a hub id, in float32; of two halves the one that sees.

        Raises:
            CheckpointError: There is no such network, or its weights do not fit.
        """

        def load() -> nn.Module:
            seeing = getattr(AutoConfig.from_pretrained(source), "vision_config", None)
            kind: Any = AutoModel
            if seeing is not None:
                with torch.device("meta"):
                    kind = type(AutoModel.from_config(seeing))
            return kind.from_pretrained(source, dtype=torch.float32)

        return loading_from(source, load)

    def run_backbone(self, inputs: Features) -> Features:
        """Return ``tokens`` (B, N, F)."""
        pixels = inputs["pixels"]
        if self.thicken and not self.training:
            pixels = thicker(pixels, self.thicken)
        return {"tokens": as_tokens(self.backbone(pixel_values=self._as_wanted(pixels)).last_hidden_state)}

    def _as_wanted(self, pixels: Tensor) -> Tensor:
        """Bring pixels (B, C, S, S) in [-1, 1] to the network's size, channels, mean and deviation."""
        if pixels.shape[-1] != self.side:
            size = (self.side, self.side)
            enlarged = F.interpolate(pixels.float(), size, mode="bicubic", antialias=True, align_corners=False)
            pixels = enlarged.clamp(-1, 1).to(pixels.dtype)
        pixels = pixels.expand(-1, self.channels, -1, -1)
        if self.mean == self.std == (0.5,):
            return pixels
        mean, std = (pixels.new_tensor(values).view(1, -1, 1, 1) for values in (self.mean, self.std))
        return ((pixels + 1) / 2 - mean) / std

    def head(self, features: Features) -> Tensor:
        """Map the tokens to (B, D + detail)."""
        return self.grid(features["tokens"])


def _side(config: PretrainedConfig) -> int:
    """Return the side of the square pictures that a network sees."""
    size: Any = getattr(config, "image_size", None) or SIDE
    sides = [size] if isinstance(size, int) else list(size)
    if len(set(sides)) != 1:
        raise InputError(f"backbone: sees pictures of {' x '.join(map(str, sides))}; give one that sees squares")
    return sides[0]


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
