"""The image decoder: image embedding to latents, by flow matching.

The denoiser is diffusers' ``PixArtTransformer2DModel``. Two things join the embedding to it: the embedding is cut into
a few tokens for cross-attention, and a map that is linear in it is laid beside the noisy latents, so that every place
of the picture is told directly what the embedding says of it.
"""

from __future__ import annotations

import torch
from diffusers import PixArtTransformer2DModel
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

from unclip_mm.errors import InputError


class EmbeddingDecoder(ModelMixin, ConfigMixin):
    """Predicts the velocity of noisy latents, given standardised image embeddings.

    Args:
        embedding_dim: Dimensions E = D + detail of the image embedding.
        latent_channels, latent_size: C and S of the latents (B, C, S, S).
        patch_size: Side of the latent patches that are one token.
        heads, head_dim, layers: Of the transformer.
        tokens: Condition tokens that the embedding is cut into; must divide E.
        layout_channels: Channels of the map beside the noisy latents.

    Example:
        >>> decoder = EmbeddingDecoder(12, 4, 4, heads=2, head_dim=8, layers=1, tokens=3, layout_channels=2).eval()
        >>> decoder(torch.randn(2, 4, 4, 4), torch.tensor([0.5, 0.9]), torch.randn(2, 12)).shape
        torch.Size([2, 4, 4, 4])
    """

    _no_split_modules = ["PixArtTransformer2DModel"]

    @register_to_config
    def __init__(
        self,
        embedding_dim: int,
        latent_channels: int = 16,
        latent_size: int = 8,
        patch_size: int = 2,
        heads: int = 4,
        head_dim: int = 64,
        layers: int = 7,
        tokens: int = 8,
        layout_channels: int = 16,
    ):
        super().__init__()
        if embedding_dim % tokens:
            raise InputError(f"tokens: {tokens} does not divide the embedding's {embedding_dim} dimensions")
        self.layout = nn.Linear(embedding_dim, layout_channels * latent_size**2)
        self.no_condition = nn.Parameter(torch.zeros(embedding_dim))
        self.transformer = PixArtTransformer2DModel(
            num_attention_heads=heads,
            attention_head_dim=head_dim,
            in_channels=latent_channels + layout_channels,
            out_channels=latent_channels,
            num_layers=layers,
            cross_attention_dim=heads * head_dim,
            activation_fn="gelu",  # the default, its tanh approximation, takes five times as long on a CPU
            caption_channels=embedding_dim // tokens,
            sample_size=latent_size,
            patch_size=patch_size,
            use_additional_conditions=False,
            interpolation_scale=1,
        )

    def forward(
        self,
        latents: Tensor,
        times: Tensor,
        embeddings: Tensor,
        without_condition: Tensor | None = None,
    ) -> Tensor:
        """Predict the velocity.

        Args:
            latents: (B, C, S, S), noisy.
            times: (B,) in [0, 1], 1 is noise.
            embeddings: (B, E), standardised.
            without_condition: bool (B,): rows of which nothing is used.

        Returns:
            (B, C, S, S).
        """
        embeddings = embeddings.to(self.layout.weight.dtype)
        if without_condition is not None:
            embeddings = torch.where(without_condition[:, None], self.no_condition, embeddings)
        layout = self.layout(embeddings).unflatten(1, (-1, *latents.shape[2:]))
        tokens = embeddings.unflatten(1, (self.config.tokens, -1))
        return self.transformer(
            torch.cat([latents.to(layout), layout], dim=1),
            encoder_hidden_states=tokens,
            timestep=1000 * times,
            added_cond_kwargs={"resolution": None, "aspect_ratio": None},
            return_dict=False,
        )[0]
