"""The upsampler: twice the pixels, from a picture and the image embedding that it was made of."""

from __future__ import annotations

import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

FACTOR = 2
"""How much larger each side becomes."""


class Upsampler(ModelMixin, ConfigMixin):
    """Enlarges pictures twofold in one evaluation: what it adds to a bicubic enlargement.

    Convolutions over 2 x 2 pixels at a time, scaled and shifted by the embedding (FiLM, arXiv:1709.07871), with the
    pixels put back in place at the end (arXiv:1609.05158). Pictograms have flat colours and sharp edges, which one
    evaluation can draw: what is uncertain in them, the decoder has decided before.

    Args:
        embedding_dim: E, of the image embedding.
        width: Channels.
        layers: Residual blocks of two convolutions.

    Example:
        >>> import torch
        >>> upsampler = Upsampler(6, width=8, layers=1).eval()
        >>> upsampler(torch.zeros(2, 3, 16, 16), torch.randn(2, 6)).shape
        torch.Size([2, 3, 32, 32])
    """

    @register_to_config
    def __init__(self, embedding_dim: int, width: int = 48, layers: int = 6):
        super().__init__()
        self.inward = nn.Conv2d(3 * FACTOR**2, width, 3, padding=1)
        self.condition = nn.Linear(embedding_dim, width)
        self.blocks = nn.ModuleList(ModulatedConvolutions(width) for _ in range(layers))
        self.outward = nn.Conv2d(width, 3 * FACTOR**4, 3, padding=1)
        for parameter in self.outward.parameters():
            nn.init.zeros_(parameter)  # untrained, it is a bicubic enlargement

    def forward(self, pictures: Tensor, embeddings: Tensor) -> Tensor:
        """Enlarge.

        Args:
            pictures: (B, 3, H, W) in [-1, 1]; H and W are even.
            embeddings: (B, E), standardised.

        Returns:
            (B, 3, 2 H, 2 W), about in [-1, 1].
        """
        x, condition = self.inward(F.pixel_unshuffle(pictures, FACTOR)), F.gelu(self.condition(embeddings))
        for block in self.blocks:
            x = block(x, condition)
        return enlarge(pictures) + F.pixel_shuffle(self.outward(x), FACTOR**2)


class ModulatedConvolutions(nn.Module):
    """Two convolutions with a scale and a shift between them: (B, C, H, W) and (B, C) -> (B, C, H, W)."""

    def __init__(self, width: int):
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.modulation = nn.Linear(width, 2 * width)
        for parameter in self.modulation.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Return the sum of the input and what the block adds."""
        scale, shift = self.modulation(condition)[..., None, None].chunk(2, dim=1)
        return x + self.second(F.gelu(self.first(x) * (1 + scale) + shift))


def enlarge(pictures: Tensor) -> Tensor:
    """Enlarge pictures (B, 3, H, W) twofold by bicubic interpolation: what the upsampler starts from."""
    return F.interpolate(pictures, scale_factor=FACTOR, mode="bicubic", align_corners=False)
