"""The prior: embeddings of any modalities to a (standardised) image embedding, by diffusion.

The network is diffusers' ``PriorTransformer``, used within what it does well: its zero-initialised statistics are
frozen and unused, an attention mask is always given, and it predicts the clean sample.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from diffusers import PriorTransformer
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

from unclip_mm.embeddings import Embeddings


class MultimodalPrior(ModelMixin, ConfigMixin):
    """Predicts the clean image embedding from a noisy one and from whatever modalities are present.

    Each modality has a slot in the sequence; an absent one is masked and has no influence. Without any condition the
    prediction is unconditional, for guidance.

    Args:
        modalities: The slots, in order.
        aligned_dim: D, of the condition embeddings.
        embedding_dim: E, of the image embedding.
        heads, head_dim, layers: Of the transformer.

    Example:
        >>> prior = MultimodalPrior(("text", "audio"), 4, 6, heads=2, head_dim=8, layers=1).eval()
        >>> condition = Embeddings.from_dict({"text": torch.randn(3, 4)})
        >>> prior(torch.randn(3, 6), torch.full((3,), 500), prior.slots(condition)).shape
        torch.Size([3, 6])
    """

    @register_to_config
    def __init__(
        self,
        modalities: Sequence[str],
        aligned_dim: int,
        embedding_dim: int,
        heads: int = 4,
        head_dim: int = 64,
        layers: int = 5,
    ):
        super().__init__()
        width = heads * head_dim
        self.condition = nn.Sequential(nn.Linear(aligned_dim, width), nn.GELU(), nn.Linear(width, width))
        self.modality_embedding = nn.Parameter(torch.randn(len(modalities), width) * 0.02)
        self.transformer = PriorTransformer(
            num_attention_heads=heads,
            attention_head_dim=head_dim,
            num_layers=layers,
            embedding_dim=embedding_dim,
            embedding_proj_dim=width,
            num_embeddings=len(modalities),
            additional_embeddings=4,
            encoder_hid_proj_type=None,
            added_emb_type="prd",
        )
        self.transformer.clip_mean.requires_grad_(False)
        self.transformer.clip_std.requires_grad_(False).fill_(1.0)

    def slots(self, condition: Embeddings) -> Embeddings:
        """Put a condition's modalities into the prior's slots; slots of modalities that are not there are absent."""
        rows, device = len(condition), condition.vectors.device
        names = tuple(self.config.modalities)
        vectors = torch.zeros(rows, len(names), condition.dim, dtype=condition.vectors.dtype, device=device)
        present = torch.zeros(rows, len(names), dtype=torch.bool, device=device)
        for name in condition.modalities:
            slot, column = names.index(name), condition.index(name)
            vectors[:, slot], present[:, slot] = condition.vectors[:, column], condition.present[:, column]
        return Embeddings(vectors, present, names)

    def forward(self, noisy: Tensor, timesteps: Tensor, condition: Embeddings) -> Tensor:
        """Predict the clean image embedding.

        Args:
            noisy: (B, E), standardised.
            timesteps: int (B,), 0..999.
            condition: B rows, modalities as in :meth:`slots`.

        Returns:
            (B, E), standardised.
        """
        return self.predict(noisy, timesteps, condition.vectors, condition.present)

    def predict(self, noisy: Tensor, timesteps: Tensor, vectors_BMD: Tensor, present_BM: Tensor) -> Tensor:
        """As :meth:`forward`, from plain tensors, which may be noisy and so off the sphere."""
        scaled = vectors_BMD.to(self.modality_embedding) * self.config.aligned_dim**0.5
        tokens = (self.condition(scaled) + self.modality_embedding) * present_BM[..., None]
        pooled = tokens.sum(dim=1) / present_BM.sum(dim=1, keepdim=True).clamp(min=1)
        return self.transformer(
            noisy.to(tokens.dtype),
            timesteps,
            proj_embedding=pooled.to(tokens.dtype),
            encoder_hidden_states=tokens,
            attention_mask=present_BM,
        ).predicted_image_embedding
