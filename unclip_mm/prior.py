"""The prior: an embedding of the shared space to a (standardised) image embedding, by diffusion.

It does not know modalities. Whatever a prompt consists of is moved to where images lie and averaged to one vector
(:meth:`unclip_mm.normalizer.EmbeddingNormalizer.condition`), and the prior is asked for a picture of that. So what it
learns of one modality serves all of them, and one that joins the space later works without training the prior again.

What no prompt says, the style that a picture is made in, may be asked for by name: the styles are those that the data
names.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

TIME_FREQUENCIES = 256
ANY_STYLE = 0


class MultimodalPrior(ModelMixin, ConfigMixin):
    """Predicts the clean image embedding from a noisy one and from the condition, or from nothing, for guidance.

    A residual MLP whose normalisations are scaled and shifted by condition and time, as in the transformers of
    "Scalable diffusion models with transformers" (arXiv:2212.09748), with one modulation for all blocks (adaLN-single,
    arXiv:2310.00426): a single vector needs no attention.

    Args:
        aligned_dim: D, of the condition.
        embedding_dim: E, of the image embedding.
        width: Of the residual stream.
        hidden: Of the blocks' inner layer.
        layers: Blocks.
        styles: Names of the styles that may be asked for; none by default.

    Example:
        >>> prior = MultimodalPrior(4, 6, width=16, hidden=32, layers=1, styles=["flat", "shaded"]).eval()
        >>> condition = F.normalize(torch.randn(3, 4), dim=-1)
        >>> asked = condition, torch.ones(3, dtype=torch.bool)
        >>> prior(torch.randn(3, 6), torch.full((3,), 500), *asked, prior.style_numbers([None, "flat", "shaded"])).shape
        torch.Size([3, 6])
    """

    @register_to_config
    def __init__(
        self,
        aligned_dim: int,
        embedding_dim: int,
        width: int = 384,
        hidden: int = 768,
        layers: int = 4,
        styles: Sequence[str] = (),
    ):
        super().__init__()
        self.frequencies = Timesteps(TIME_FREQUENCIES, flip_sin_to_cos=True, downscale_freq_shift=0)
        self.time = TimestepEmbedding(TIME_FREQUENCIES, width)
        self.condition = nn.Sequential(nn.Linear(aligned_dim, width), nn.GELU(), nn.Linear(width, width))
        self.style = nn.Embedding(1 + len(styles), width, padding_idx=ANY_STYLE) if styles else None
        if self.style is not None:
            nn.init.zeros_(self.style.weight)
        self.inward = nn.Linear(embedding_dim, width)
        self.modulation = nn.Linear(width, 3 * width)
        self.blocks = nn.ModuleList(ModulatedBlock(width, hidden) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.outward = nn.Linear(width, embedding_dim)

    def style_numbers(self, names: Sequence[str | None]) -> Tensor:
        """Return the numbers of styles, int64 (B,): 0 for None, any style, and for one that the prior does not know."""
        number = {name: place for place, name in enumerate(self.config.styles, start=1)}
        return torch.tensor([number.get(name, ANY_STYLE) for name in names], device=self.device)

    def forward(
        self, noisy: Tensor, timesteps: Tensor, condition: Tensor, known: Tensor, style: Tensor | None = None
    ) -> Tensor:
        """Predict the clean image embedding.

        Args:
            noisy: (B, E), standardised.
            timesteps: int (B,), 0..999.
            condition: (B, D), each as long as its cosine to the truth may be expected to be: of length 1 where it is
                exact, shorter where the prior is to choose more freely.
            known: bool (B,); a row where it is False has no condition, whatever vector and style say.
            style: int64 (B,), see :meth:`style_numbers`; None leaves all styles open.

        Returns:
            (B, E), standardised.
        """
        scaled = condition.to(self.inward.weight) * self.config.aligned_dim**0.5
        asked = self.condition(scaled)
        if style is not None and self.style is not None:
            asked = asked + self.style(style)
        asked = asked * known[:, None]
        time = self.time(self.frequencies(timesteps).to(asked))
        modulation = self.modulation(F.gelu(asked + time))
        x = self.inward(noisy.to(asked)) + asked + time
        for block in self.blocks:
            x = block(x, modulation)
        return self.outward(self.norm(x))


class ModulatedBlock(nn.Module):
    """Normalise, scale and shift, two layers, scale, add: (B, W) and a modulation (B, 3 W) -> (B, W)."""

    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.modulation = nn.Parameter(torch.zeros(3 * width))
        self.layers = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def forward(self, x: Tensor, modulation: Tensor) -> Tensor:
        """Return the sum of the input and what the block adds."""
        scale, shift, gate = (modulation + self.modulation).chunk(3, dim=-1)
        return x + (1 + gate) * self.layers(self.norm(x) * (1 + scale) + shift)
