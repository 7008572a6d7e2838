"""Train the upsampler, an optional stage: ``python -m train.upsampler --recipe pictograms``.

It learns from pictures of twice the size (``python -m train.embed --data LARGE --modalities large``), cut into pieces, what
their small versions lack. Those are blurred, each as much as is drawn: what the model makes is softer than what is real,
and edges are to become sharp. It never sees what the image decoder makes, so a better decoder needs no new upsampler.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from train.autoencoder import peak_signal_to_noise, picture_losses
from train.config import UpsamplerConfig
from train.embed import LARGE
from train.loop import Losses, Step, train
from train.normalizer import load_or_fit_normalizer
from train.pictures import embed_pictures, shrink
from train.stage import Stage, run_stage
from unclip_mm.data.cache import pixels_to_float
from unclip_mm.encoder import MultimodalEncoder
from unclip_mm.upsampler import FACTOR, Upsampler, enlarge

VALIDATED = 64
"""Held-out pictures that the log is about."""


def blur(pictures: Tensor, widths: Tensor) -> Tensor:
    """Blur every picture by a Gaussian of its own width.

    Args:
        pictures: (B, C, H, W).
        widths: (B,) standard deviations in pixels; 0 leaves the picture as it is.

    Returns:
        (B, C, H, W); beyond its edges a picture goes on as it ends.

    Example:
        >>> edge = torch.tensor([0.0, 0.0, 1.0, 1.0]).expand(2, 1, 4, 4)
        >>> blur(edge, torch.tensor([0.0, 1.0]))[:, 0, 0].round(decimals=2)
        tensor([[0.0000, 0.0000, 1.0000, 1.0000],
                [0.0600, 0.3000, 0.7000, 0.9400]])
    """
    count, channels = pictures.shape[:2]
    radius = math.ceil(3 * float(widths.max()))
    places = torch.arange(-radius, radius + 1, dtype=pictures.dtype, device=pictures.device)
    kernels = torch.exp(-0.5 * (places / widths.clamp(min=1e-3)[:, None]).square())
    kernels = (kernels / kernels.sum(dim=1, keepdim=True)).repeat_interleave(channels, dim=0)[:, None, None]
    rows = F.pad(pictures, (radius,) * 4, mode="replicate").flatten(0, 1)[None]
    rows = F.conv2d(rows, kernels, groups=count * channels)
    return F.conv2d(rows, kernels.mT, groups=count * channels)[0].unflatten(0, (count, channels))


@dataclass
class Pieces:
    """Pictures that are cut into pieces.

    Attributes:
        large: uint8 (N, 3, 2 P, 2 P).
        embeddings: Half precision (N, E), standardised.
    """

    large: Tensor
    embeddings: Tensor

    def draw(self, count: int, config: UpsamplerConfig, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Return small pieces (B, 3, C, C), embeddings (B, E), and what the pieces are to become (B, 3, 2 C, 2 C)."""
        rows = torch.randint(len(self.large), (count,), generator=generator)
        side = min(FACTOR * config.crop, self.large.shape[-1])
        corners = torch.randint(self.large.shape[-1] - side + 1, (count, 2), generator=generator).tolist()
        large = pixels_to_float(
            torch.stack(
                [
                    self.large[row, :, top : top + side, left : left + side]
                    for row, (top, left) in zip(rows.tolist(), corners, strict=True)
                ]
            )
        )
        small = blur(shrink(large, side // FACTOR), config.blur * torch.rand(count, generator=generator))
        noise = config.noise * torch.rand(count, 1, 1, 1, generator=generator)
        small = small + noise * torch.randn(small.shape, generator=generator)
        return small, self.embeddings[rows].float(), large


class UpsamplingLoss(nn.Module):
    """L1 of the pixels and of their gradients."""

    def __init__(self, upsampler: Upsampler, gradient_weight: float):
        super().__init__()
        self.upsampler, self.gradient_weight = upsampler, gradient_weight

    def forward(self, small: Tensor, embeddings: Tensor, large: Tensor) -> Losses:
        """Return the losses of a batch."""
        return picture_losses(self.upsampler(small, embeddings).float(), large, self.gradient_weight)


def train_upsampler(stage: Stage[UpsamplerConfig]) -> None:
    """Train and export to ``RUN/export/upsampler``."""
    config, device, cache = stage.config, stage.device, stage.caches(LARGE)[LARGE]
    encoder = stage.trained("encoder", MultimodalEncoder)
    normalizer = load_or_fit_normalizer(stage, encoder).to(device)

    def prepare(split: str) -> Pieces:
        large = cache.tensors["pixels"][cache.where(split=split)]
        embedded = embed_pictures(large, stage.recipe.image_size, encoder, normalizer).embeddings
        return Pieces(large, embedded.half())

    pieces, held_out = prepare("train"), prepare("validation")
    torch.manual_seed(config.loop.seed)
    sizes = {"embedding_dim": encoder.image_embedding_dim}
    upsampler = stage.initial(Upsampler, lambda: Upsampler(**sizes, width=config.width, layers=config.layers), **sizes)
    model = UpsamplingLoss(upsampler, config.gradient_weight)

    def loss(prepared: nn.Module, step: Step) -> Losses:
        return prepared(*(part.to(device) for part in pieces.draw(step.batch_size, config, step.generator)))

    def validate(model: Any) -> dict[str, float]:
        large = pixels_to_float(held_out.large[:VALIDATED])
        small = shrink(large, large.shape[-1] // FACTOR)
        embeddings = held_out.embeddings[:VALIDATED].float().to(device)
        figures = {}
        for name, share in (("sharp", 0.0), ("soft", 0.5)):
            given = blur(small, torch.full((len(small),), share * config.blur)).to(device)
            with torch.no_grad():
                made = model.upsampler(given, embeddings)
            figures[f"held_out_{name}_psnr"] = peak_signal_to_noise(made, large.to(device))
            figures[f"held_out_{name}_bicubic_psnr"] = peak_signal_to_noise(enlarge(given), large.to(device))
        return figures

    trained = train(config.loop, model, loss, stage.folder, validate=validate, description="upsampler")
    stage.save(trained.upsampler)
    print({"exported": str(stage.export), **validate(trained)})


if __name__ == "__main__":
    run_stage("upsampler", __doc__, train_upsampler)
