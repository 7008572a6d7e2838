"""Train decoder and renderer together: ``python -m train.finetune --recipe pictograms``.

What the decoder learnt was to match latents, number by number, and what the renderer learnt was to make the best of them.
Here gradients flow from the pixels of the finished picture through the renderer and all steps of the distilled decoder, so
both learn what is seen of a picture: its pixels, its edges, and the features of a published network.

Only pictures asked for by their whole embedding are trained on so, as those alone have one answer: by a picture's own, and
by what the prior imagines when it is asked as it will be, with the training picture that this comes nearest to as the
answer. From the aligned part alone, or from nothing, the decoder is held on the paths that it came with.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import AutoencoderDC, FlowMatchEulerDiscreteScheduler
from torch import Tensor, nn
from tqdm import tqdm

from train.autoencoder import peak_signal_to_noise, picture_losses
from train.conditions import Conditions
from train.config import FinetuneConfig
from train.decoder import FlowLoss
from train.embed import PICTURES
from train.imagined import recognise
from train.loop import Losses, Step, train
from train.normalizer import load_or_fit_normalizer
from train.perceptual import PerceptualFeatures
from train.renderer import versions_of
from train.stage import Stage, load_part, run_stage
from unclip_mm.autoencoder import decode_latents
from unclip_mm.data.cache import pixels_to_float
from unclip_mm.decoder import EmbeddingDecoder
from unclip_mm.diffusion import dropped
from unclip_mm.encoder import MultimodalEncoder
from unclip_mm.normalizer import EmbeddingNormalizer
from unclip_mm.prior import MultimodalPrior
from unclip_mm.sampling import sample_decoder

BATCH = 64


@dataclass
class Pictures:
    """Pictures with what they are asked for by.

    Attributes:
        pixels: uint8 (P, 3, S, S).
        embeddings: (N, E), standardised.
        shown: int64 (N,): the picture that is to come of each embedding.
    """

    pixels: Tensor
    embeddings: Tensor
    shown: Tensor

    def draw(self, count: int, noise: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return embeddings (B, E), with noise up to so many of their standard deviations, and pictures (B, 3, S, S)."""
        rows = torch.randint(len(self.embeddings), (count,), generator=generator)
        strength = noise * torch.rand(count, 1, generator=generator)
        embeddings = self.embeddings[rows]
        return (
            embeddings + strength * torch.randn(embeddings.shape, generator=generator),
            pixels_to_float(self.pixels[self.shown[rows]]),
        )


@torch.no_grad()
def embed_pictures(pixels: Tensor, size: int, encoder: MultimodalEncoder, normalizer: EmbeddingNormalizer) -> Pictures:
    """Embed pictures, uint8 (N, 3, P, P), at the size that the towers see."""
    device, embeddings = next(encoder.parameters()).device, []
    for part in tqdm(pixels.split(BATCH), desc="embed", unit="batch"):
        small = F.interpolate(pixels_to_float(part), size, mode="bicubic", antialias=True).clamp(-1, 1)
        embedded = encoder.image_embedding({"pixels": small.to(device)})
        embeddings.append(normalizer.normalize(embedded).cpu())
    return Pictures(pixels, torch.cat(embeddings), torch.arange(len(pixels)))


def with_imagined(stage: Stage[FinetuneConfig], pictures: Pictures, encoder: MultimodalEncoder) -> Pictures:
    """Add what the run's prior imagines of the same concepts; each is to become the picture that it comes nearest to.

    A run without a prior leaves the pictures as they are.
    """
    config, recipe = stage.config, stage.recipe
    if not config.imagined or not stage.exported("prior").is_dir():
        return pictures
    normalizer = load_or_fit_normalizer(stage, encoder)
    caches = stage.caches(*encoder.modalities, PICTURES)
    items = caches.pop(PICTURES)
    concepts = [items.items[row]["concept"] for row in items.where(split="train")]
    conditions = Conditions(caches, encoder, normalizer, "train", recipe.prior)
    own = pictures.embeddings[: len(concepts)]
    prior = stage.trained("prior", MultimodalPrior)
    made, nearest = recognise(
        prior,
        conditions,
        concepts,
        own,
        normalizer,
        recipe.prior_sampling,
        config.imagined,
        config.recognised,
        config.loop.seed,
    )
    print({"imagined": config.imagined * len(concepts), "recognised": len(made)})
    return Pictures(pictures.pixels, torch.cat([pictures.embeddings, made]), torch.cat([pictures.shown, nearest]))


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
        if config.compile_renderer:
            self.renderer.compile()
        self.features, self.config, self.steps = features, config, steps
        self.scale = autoencoder.config.scaling_factor

    def forward(self, embeddings: Tensor, noise: Tensor, pixels: Tensor, path: tuple[Tensor, ...]) -> Losses:
        """Return the losses of a batch.

        Args:
            embeddings: (B, E), standardised.
            noise: (B, C, S, S).
            pixels: (B, 3, P, P): the pictures that are to come of them.
            path: Arguments of :class:`train.decoder.FlowLoss`.
        """
        latents = sample_decoder(
            self.flow.decoder, FlowMatchEulerDiscreteScheduler(), embeddings, noise, self.steps, guidance_scale=1.0
        )
        made = self.renderer(latents / self.scale).float()
        losses = picture_losses(made, pixels, self.config.gradient_weight)
        if self.features is not None:
            seen, wanted = (F.avg_pool2d(picture, self.config.perceptual_scale) for picture in (made, pixels))
            losses["perceptual_loss"] = self.config.perceptual_weight * self.features.error(seen, wanted)
        return {**losses, "path_loss": self.flow(*path)["velocity_loss"]}


class Batches:
    """Draws the arguments of :class:`FinetuneLoss`.

    Args:
        pictures: To train on.
        before: The decoder as it came; its paths are kept.
        config: How often a row of the path sees nothing.
        steps: Evaluations of the decoder.
        device: Where the batches go.
    """

    def __init__(
        self, pictures: Pictures, before: EmbeddingDecoder, config: FinetuneConfig, steps: int, device: torch.device
    ):
        self.pictures, self.config, self.steps, self.device = pictures, config, steps, device
        self.before = before.eval().requires_grad_(False)

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor, tuple[Tensor, ...]]:
        """Return embeddings, noise and pictures of so many rows, and a path of half as many."""
        embeddings, pixels = self.pictures.draw(count, self.config.embedding_noise, generator)
        return (
            embeddings.to(self.device),
            self.noise(count, generator),
            pixels.to(self.device),
            self._path((count + 1) // 2, generator),
        )

    def noise(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw (count, C, S, S), what the decoder begins with."""
        config = self.before.config
        shape = (count, config.latent_channels, config.latent_size, config.latent_size)
        return torch.randn(shape, generator=generator).to(self.device)

    @torch.no_grad()
    def _path(self, count: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Let the decoder as it came lead noise to latents, by less than a whole embedding."""
        rows = torch.randint(len(self.pictures.embeddings), (count,), generator=generator)
        embeddings = self.pictures.embeddings[rows].to(self.device)
        nothing = dropped(count, self.config.nothing, generator).to(self.device)
        noise, times = self.noise(count, generator), torch.rand(count, generator=generator).to(self.device)
        latents = noise
        for index in range(self.steps):
            now = torch.full((count,), 1 - index / self.steps, device=self.device)
            latents = latents - self.before(latents, now, embeddings, ~nothing, nothing).float() / self.steps
        return latents, noise, times, embeddings, ~nothing, nothing


def begin_with(stage: Stage[FinetuneConfig]) -> tuple[EmbeddingDecoder, AutoencoderDC]:
    """Return what was distilled and rendered, or, where ``--start`` names a folder that this stage exported, its parts."""
    if stage.start is None:
        return stage.trained("distill", EmbeddingDecoder), stage.trained("renderer", AutoencoderDC)
    decoder = load_part(stage.start / "decoder", EmbeddingDecoder)
    return decoder.to(stage.device), load_part(stage.start / "autoencoder", AutoencoderDC).to(stage.device)


def train_finetune(stage: Stage[FinetuneConfig]) -> None:
    """Train and export to ``RUN/export/finetune``: the decoder, and the autoencoder with its renderer."""
    config, recipe, cache = stage.config, stage.recipe, stage.caches(PICTURES)[PICTURES]
    encoder = stage.trained("encoder", MultimodalEncoder)
    normalizer = load_or_fit_normalizer(stage, encoder).to(stage.device)
    decoder, autoencoder = begin_with(stage)
    features = PerceptualFeatures.from_archives(Path(config.archives)) if config.perceptual_weight else None
    steps, seed = recipe.distill.steps, config.loop.seed

    def pictures(split: str, views: int) -> Pictures:
        shown = versions_of(cache.tensors["pixels"][cache.where(split=split)], views, seed)
        return embed_pictures(shown, recipe.image_size, encoder, normalizer)

    before = stage.trained("distill", EmbeddingDecoder)
    training = with_imagined(stage, pictures("train", config.views), encoder)
    batches = Batches(training, before, config, steps, stage.device)
    held_out = pictures("validation", 1)
    model = FinetuneLoss(decoder, autoencoder, features, config, steps)

    def loss(prepared: nn.Module, step: Step) -> Losses:
        return prepared(*batches.draw(step.batch_size, step.generator))

    def validate(model: Any) -> dict[str, float]:
        embeddings, pixels = (part[:128].to(stage.device) for part in (held_out.embeddings, held_out.pixels))
        noise = batches.noise(len(pixels), torch.Generator().manual_seed(0))
        latents = sample_decoder(decoder, FlowMatchEulerDiscreteScheduler(), embeddings, noise, steps, 1.0)
        made, wanted = decode_latents(autoencoder, latents).float(), pixels_to_float(pixels)
        figures = {"held_out_psnr": peak_signal_to_noise(made, wanted)}
        if features is not None:
            seen = (F.avg_pool2d(picture, config.perceptual_scale) for picture in (made, wanted))
            figures["held_out_perceptual"] = float(features.error(*seen))
        return figures

    train(config.loop, model, loss, stage.folder, validate=validate, description="finetune")
    decoder.save_pretrained(stage.export / "decoder")
    autoencoder.save_pretrained(stage.export / "autoencoder")
    print({"exported": str(stage.export), **validate(model)})


if __name__ == "__main__":
    run_stage("finetune", __doc__, train_finetune)
