"""What tells made pictures from real ones, and so teaches their maker what errors of pixels do not ask for: sharpness.

A discriminator over the features of a published network that stays as it is, "Projected GANs converge faster"
(arXiv:2111.01007), with the hinge loss of "Geometric GAN" (arXiv:1705.02894).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm


class Adversary(nn.Module):
    """One small network per block of features, which says of every place how real it looks.

    Args:
        channels: Of the features that each block gives.
        width: Channels within.

    Example:
        >>> adversary = Adversary([4, 8], width=2)
        >>> features = [torch.randn(3, 4, 8, 8), torch.randn(3, 8, 4, 4)]
        >>> [logits.shape for logits in adversary(features)]
        [torch.Size([3, 1, 8, 8]), torch.Size([3, 1, 4, 4])]
        >>> float(adversary.error(features, features)) >= 2.0
        True
    """

    def __init__(self, channels: Sequence[int], width: int = 64):
        super().__init__()
        self.heads = nn.ModuleList(
            nn.Sequential(
                spectral_norm(nn.Conv2d(count, width, 1)),
                nn.LeakyReLU(0.2),
                spectral_norm(nn.Conv2d(width, width, 3, padding=1)),
                nn.LeakyReLU(0.2),
                spectral_norm(nn.Conv2d(width, 1, 3, padding=1)),
            )
            for count in channels
        )

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Return how real the places of features (B, C, H, W) look, (B, 1, H, W), for each block: any number."""
        return [head(part) for head, part in zip(self.heads, features, strict=True)]

    def error(self, made: Sequence[Tensor], real: Sequence[Tensor]) -> Tensor:
        """Its own loss, a scalar of 0 or more; no gradient flows into the features.

        ``mean max(0, 1 - D(real)) + mean max(0, 1 + D(made))``, and the mean of that over the blocks.
        """
        seen = ([part.detach() for part in features] for features in (made, real))
        pairs = zip(*(self(features) for features in seen), strict=True)
        return torch.stack([F.relu(1 + a.float()).mean() + F.relu(1 - b.float()).mean() for a, b in pairs]).mean()

    def blame(self, made: Sequence[Tensor]) -> Tensor:
        """The loss of what made the pictures, ``-mean D(made)``: a scalar, of any sign; no gradient flows into D."""
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        for parameter in trained:
            parameter.requires_grad_(False)
        logits = self(made)
        for parameter in trained:
            parameter.requires_grad_(True)
        return torch.stack([-part.float().mean() for part in logits]).mean()
