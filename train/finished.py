"""Finished pictures: how they are made in training, how far they are from what they should be, and what is drawn to make.

Gradients flow from the pixels through the renderer and all steps of the distilled decoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import AutoencoderDC, FlowMatchEulerDiscreteScheduler
from torch import Tensor, nn

from train.autoencoder import picture_losses
from train.config import FinetuneConfig
from train.decoder import FlowLoss
from train.loop import Losses
from train.perceptual import PerceptualFeatures
from train.pictures import Pictures
from unclip_mm.decoder import EmbeddingDecoder
from unclip_mm.errors import InputError
from unclip_mm.sampling import sample_decoder


class FinetuneLoss(nn.Module):
    """Errors of finished pictures, and of the paths that are to stay.

    Args:
        decoder: Distilled; trained here.
        autoencoder: Its decoder half, the renderer, is trained here.
        features: Of the perceptual loss; None leaves it out.
        config: Weights of the losses.
        steps: Evaluations of the decoder.
    """

    def __init__(
        self,
        decoder: EmbeddingDecoder,
        autoencoder: AutoencoderDC,
        features: PerceptualFeatures | None,
        config: FinetuneConfig,
        steps: int,
    ):
        super().__init__()
        self.flow = FlowLoss(decoder)
        self.renderer = autoencoder.decoder
        self.features, self.config, self.steps = features, config, steps
        self.scale = autoencoder.config.scaling_factor

    def noise(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw (count, C, S, S), what pictures are made of."""
        return noise_for(self.flow.decoder, count, generator)

    def make(self, embeddings: Tensor, noise: Tensor) -> Tensor:
        """Make the pictures (B, 3, P, P), not clamped, of embeddings (B, E) and noise (B, C, S, S)."""
        latents = sample_decoder(
            self.flow.decoder, FlowMatchEulerDiscreteScheduler(), embeddings, noise, self.steps, 1.0
        )
        return self.renderer(latents / self.scale).float()

    def errors(self, made: Tensor, pixels: Tensor, corners: Sequence[Sequence[int]] = ()) -> Tensor:
        """Return the perceptual error (B,) of each picture, or that of its pixels where no features are compared.

        Args:
            made, pixels: (B, 3, P, P).
            corners: Of the windows that are compared of the last pictures, see :func:`look_at`.
        """
        return self.distances(made, [pixels], corners)[0]

    def distances(self, made: Tensor, others: Sequence[Tensor], corners: Sequence[Sequence[int]] = ()) -> list[Tensor]:
        """Return the distances (B,) of pictures from each of some others; arguments as for :meth:`errors`."""
        if self.features is None:
            return [(made - other).abs().mean(dim=(1, 2, 3)) for other in others]
        seen, *compared = (look_at(part, corners, self.config.perceptual_scale) for part in (made, *others))
        return self.features.distances(seen, compared)

    def forward(
        self,
        embeddings: Tensor,
        noise: Tensor,
        pixels: Tensor,
        twins: Tensor,
        corners: Sequence[Sequence[int]],
        path: tuple[Tensor, ...],
    ) -> Losses:
        """Return the losses of a batch.

        Args:
            embeddings: (B, E), standardised.
            noise: (B, C, S, S).
            pixels: (B, 3, P, P): the pictures that are to come of them.
            twins: Like ``pixels``: what those are to be told from.
            corners: As for :meth:`errors`.
            path: Arguments of :class:`train.decoder.FlowLoss`.
        """
        made = self.make(embeddings, noise)
        losses = picture_losses(made, pixels, self.config.gradient_weight)
        error, *more = self.distances(made, [pixels, twins] if self.config.tell_apart else [pixels], corners)
        if self.features is not None:
            losses["perceptual_loss"] = self.config.perceptual_weight * error.mean()
        if more:
            # As of a softmax over the picture and its twin: what both have in common drops out of the gradient.
            nearer = F.softplus((error - more[0]) / self.config.tell_apart_within)
            losses["twin_loss"] = self.config.tell_apart * nearer.mean()
        return {**losses, "path_loss": self.flow(*path)["velocity_loss"]}


def look_at(pictures: Tensor, corners: Sequence[Sequence[int]], scale: int) -> Tensor:
    """Make pictures (B, 3, P, P) as small as P / scale: the first ones as a whole, of the last ones windows.

    A perceptual loss of the whole picture, made smaller, asks for no detail; one of the whole as it is takes scale^2
    times as long.

    Args:
        pictures: In [-1, 1].
        corners: Upper left ones (row, column) of windows, for the last len(corners) pictures.
        scale: A divisor of P.

    Example:
        >>> picture = torch.arange(16.0).view(1, 1, 4, 4).expand(2, 3, 4, 4)
        >>> look_at(picture, [(2, 1)], 2)[:, 0].tolist()
        [[[2.5, 4.5], [10.5, 12.5]], [[9.0, 10.0], [13.0, 14.0]]]
    """
    side, wholes = pictures.shape[-1] // scale, len(pictures) - len(corners)
    seen = [F.avg_pool2d(pictures[:wholes], scale)] if wholes else []
    windows = [
        picture[:, row : row + side, column : column + side]
        for picture, (row, column) in zip(pictures[wholes:], corners, strict=True)
    ]
    return torch.cat([*seen, *(window[None] for window in windows)])


def noise_for(decoder: EmbeddingDecoder, count: int, generator: torch.Generator) -> Tensor:
    """Draw (count, C, S, S), what a decoder begins with, on its device."""
    config = decoder.config
    shape = (count, config.latent_channels, config.latent_size, config.latent_size)
    return torch.randn(shape, generator=generator).to(decoder.device)


class Batches:
    """Draws the arguments of :class:`FinetuneLoss`.

    Args:
        pictures: To train on.
        before: The decoder as it came; its paths from nothing are kept.
        config: How much a batch has of what.
        steps: Evaluations of the decoder.
        device: Where the batches go.

    Raises:
        InputError: A share of rows is not in [0, 1].
    """

    def __init__(
        self,
        pictures: Pictures,
        before: EmbeddingDecoder,
        config: FinetuneConfig,
        steps: int,
        device: torch.device,
    ):
        for name in ("nothing", "hard", "closely"):
            if not 0 <= getattr(config, name) <= 1:
                raise InputError(f"--{name}: {getattr(config, name)} is not allowed; give a number from 0 to 1")
        if not config.tell_apart_within > 0:
            raise InputError(f"--tell-apart-within: {config.tell_apart_within} is not allowed; give a number above 0")
        self.pictures, self.config, self.steps, self.device = pictures, config, steps, device
        self.before = before.eval().requires_grad_(False)

    def draw(self, count: int, generator: torch.Generator) -> tuple[Any, ...]:
        """Return the arguments for so many rows."""
        embeddings, pixels, twins = self.pictures.draw(count, self.config.embedding_noise, generator)
        path = self._path(max(round(count * self.config.nothing), 1), generator)
        side, windows = pixels.shape[-1], round(count * self.config.closely)
        last = side - side // self.config.perceptual_scale
        corners = torch.randint(last + 1, (windows, 2), generator=generator).tolist()
        rows = (embeddings, noise_for(self.before, count, generator), pixels, twins)
        return *(part.to(self.device) for part in rows), corners, path

    @torch.no_grad()
    def _path(self, count: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Let the decoder as it came lead noise to latents, asked for nothing."""
        embeddings = self.pictures.embeddings[:1].expand(count, -1).to(self.device)
        nothing = torch.ones(count, dtype=torch.bool, device=self.device)
        noise, times = noise_for(self.before, count, generator), torch.rand(count, generator=generator).to(self.device)
        latents = noise
        for index in range(self.steps):
            now = torch.full((count,), 1 - index / self.steps, device=self.device)
            latents = latents - self.before(latents, now, embeddings, nothing).float() / self.steps
        return latents, noise, times, embeddings, nothing


def compile_parts(decoder: EmbeddingDecoder, autoencoder: AutoencoderDC) -> None:
    """Compile the renderer and each block of the decoder: all steps as one graph would take minutes to compile."""
    autoencoder.decoder.compile()
    for block in decoder.transformer.transformer_blocks:
        block.compile()
