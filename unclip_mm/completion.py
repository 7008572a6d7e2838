"""The completion: what a prompt means to a whole image embedding, in one evaluation and without noise.

An image embedding has a part that is aligned with the other modalities and a part of detail that no prompt has. A prior
imagines both, differently with each seed. Where none is wanted, the completion takes what is meant to the one picture
that it has settled on for it (:mod:`train.complete`), so that the decoder is never asked for half an embedding.
"""

from __future__ import annotations

from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn


class EmbeddingCompletion(ModelMixin, ConfigMixin):
    """A residual MLP from the shared space to standardised image embeddings.

    Args:
        aligned_dim: D, of the shared space.
        embedding_dim: E, of the image embedding.
        width: Of the residual stream.
        layers: Blocks.

    Example:
        >>> import torch
        >>> completion = EmbeddingCompletion(4, 6, width=16, layers=1).eval()
        >>> completion(torch.nn.functional.normalize(torch.randn(3, 4), dim=-1)).shape
        torch.Size([3, 6])
    """

    @register_to_config
    def __init__(self, aligned_dim: int, embedding_dim: int, width: int = 256, layers: int = 2):
        super().__init__()
        self.inward = nn.Linear(aligned_dim, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))
            for _ in range(layers)
        )
        self.outward = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, embedding_dim))

    def forward(self, condition: Tensor) -> Tensor:
        """Return whole image embeddings (B, E), standardised.

        Args:
            condition: (B, D), as a prior is asked: each as long as its cosine to the truth may be expected to be.
        """
        x = self.inward(condition.to(self.inward.weight) * self.config.aligned_dim**0.5)
        for block in self.blocks:
            x = x + block(x)
        return self.outward(x)
