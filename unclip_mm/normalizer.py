"""Between the sphere, where embeddings live, and the standardised space, where prior and decoder work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor

from unclip_mm.embeddings import Embeddings


class EmbeddingNormalizer(ModelMixin, ConfigMixin):
    """Standardises image embeddings, and moves other modalities' embeddings to where images lie.

    Modalities occupy shifted regions of a shared space (the modality gap). ``to_image`` closes the part of the gap
    that is a shift of the means: ``z - mean_m + mean_image``, back on the sphere. Everything is fitted on training
    data and saved.

    Args:
        embedding_dim: Dimensions E of the image embedding.
        aligned_dim: Dimensions D of its aligned part.
        modalities: The modalities whose means are kept.

    Example:
        >>> normalizer = EmbeddingNormalizer(6, 4, ("text",))
        >>> x = torch.randn(100, 6) * 3 + 1
        >>> normalizer.fit(x, {"text": torch.randn(50, 4)})
        >>> bool(torch.allclose(normalizer.denormalize(normalizer.normalize(x)), x, atol=1e-4))
        True
    """

    @register_to_config
    def __init__(self, embedding_dim: int, aligned_dim: int, modalities: Sequence[str]):
        super().__init__()
        self.register_buffer("mean", torch.zeros(embedding_dim))
        self.register_buffer("std", torch.ones(embedding_dim))
        self.register_buffer("modality_means", torch.zeros(len(modalities), aligned_dim))

    @torch.no_grad()
    def fit(self, image_embeddings: Tensor, aligned: Mapping[str, Tensor]) -> None:
        """Fit to image embeddings (N, E) and to each modality's aligned unit vectors (n, D)."""
        self.mean.copy_(image_embeddings.float().mean(dim=0))
        self.std.copy_(image_embeddings.float().std(dim=0).clamp(min=1e-3))
        for name, vectors in aligned.items():
            self.modality_means[list(self.config.modalities).index(name)] = vectors.float().mean(dim=0)

    def normalize(self, image_embeddings: Tensor) -> Tensor:
        """Standardise image embeddings (..., E)."""
        return (image_embeddings - self.mean) / self.std

    def denormalize(self, standardised: Tensor) -> Tensor:
        """Undo :meth:`normalize`."""
        return standardised * self.std + self.mean

    def to_image(self, vectors: Tensor, modality: str) -> Tensor:
        """Move a modality's aligned unit vectors (B, D) into the region of images; unit vectors again."""
        aligned_dim = self.config.aligned_dim
        if modality not in self.config.modalities:
            return vectors
        shift = self.mean[:aligned_dim] / aligned_dim**0.5 - self.modality_means[self.config.modalities.index(modality)]
        return F.normalize(vectors + shift, dim=-1)

    def moved(self, embeddings: Embeddings) -> Embeddings:
        """Move every modality to where images lie."""
        moved = {name: self.to_image(embeddings[name], name) for name in embeddings.modalities}
        present = {name: embeddings.present[:, column] for column, name in enumerate(embeddings.modalities)}
        return Embeddings.from_dict(moved, present)

    def condition(self, embeddings: Embeddings, weights: Mapping[str, float] | None = None) -> Tensor:
        """Average the modalities of each row, each moved to where images lie: unit vectors (B, D).

        Args:
            embeddings: B rows, in which any modality may be absent.
            weights: As for :meth:`unclip_mm.embeddings.Embeddings.mix`.

        Raises:
            InputError: A row has nothing to average.
        """
        return self.moved(embeddings).mix(weights)

    def normalize_aligned(self, vectors: Tensor) -> Tensor:
        """Turn aligned unit vectors (B, D) into the aligned parts (B, D) of standardised image embeddings."""
        aligned_dim = self.config.aligned_dim
        return (vectors * aligned_dim**0.5 - self.mean[:aligned_dim]) / self.std[:aligned_dim]
