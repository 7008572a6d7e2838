"""Train decoder and renderer together: ``python -m train.finetune --recipe pictograms``.

What the decoder learnt was to match latents, number by number, and what the renderer learnt was to make the best of them.
Here gradients flow from the pixels of the finished picture through the renderer and all steps of the distilled decoder, so
both learn what is seen of a picture: its pixels, its edges, and the features of a published network.

What asks for pictures is their own embedding; what the prior imagines when it is asked as it will be, with the training
picture that this comes nearest to as the answer; and, for when there is no prior, a prompt's own embedding, with the
answer left open between the pictures of its concept (:mod:`train.pictures`). From nothing, the decoder is held on the
paths that it came with.
"""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import AutoencoderDC, FlowMatchEulerDiscreteScheduler
from torch import Tensor, nn

from train.autoencoder import peak_signal_to_noise, picture_losses
from train.conditions import Conditions
from train.config import FinetuneConfig
from train.decoder import FlowLoss
from train.embed import PICTURES
from train.imagined import recognise
from train.loop import Losses, Step, train
from train.normalizer import load_or_fit_normalizer
from train.perceptual import PerceptualFeatures
from train.pictures import Pictures, Prompts, embed_pictures, nearest
from train.renderer import versions_of
from train.stage import Stage, load_part, run_stage
from unclip_mm.autoencoder import decode_latents
from unclip_mm.data.cache import pixels_to_float
from unclip_mm.decoder import EmbeddingDecoder
from unclip_mm.encoder import MultimodalEncoder
from unclip_mm.errors import InputError
from unclip_mm.normalizer import EmbeddingNormalizer
from unclip_mm.prior import MultimodalPrior
from unclip_mm.sampling import sample_decoder


def with_imagined(
    stage: Stage[FinetuneConfig],
    pictures: Pictures,
    concepts: list[str],
    asked: Conditions,
    normalizer: EmbeddingNormalizer,
) -> Pictures:
    """Add what the run's prior imagines of the same concepts; each is to become the picture that it comes nearest to.

    A run without a prior leaves the pictures as they are.
    """
    config, sampling = stage.config, stage.recipe.prior_sampling
    if not config.imagined or not stage.exported("prior").is_dir():
        return pictures
    prior, own = stage.trained("prior", MultimodalPrior), pictures.embeddings[: len(concepts)]
    made, shown = recognise(
        prior, asked, concepts, own, normalizer, sampling, config.imagined, config.recognised, config.loop.seed
    )
    print({"imagined": config.imagined * len(concepts), "recognised": len(made)})
    return Pictures(pictures.pixels, torch.cat([pictures.embeddings, made]), torch.cat([pictures.shown, shown]))


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

    def forward(
        self, embeddings: Tensor, noise: Tensor, pixels: Tensor, choices: Tensor, path: tuple[Tensor, ...]
    ) -> Losses:
        """Return the losses of a batch.

        Args:
            embeddings: (B, E), standardised; the last A of them are of prompts alone, without detail.
            noise: (B, C, S, S).
            pixels: (B - A, 3, P, P): the pictures that are to come of the others.
            choices: (A, K, 3, P, P): those of which one is to come of a prompt.
            path: Arguments of :class:`train.decoder.FlowLoss`.
        """
        whole = len(pixels)
        made = self._pictures(embeddings, noise, torch.arange(len(embeddings), device=noise.device) >= whole)
        pixels = torch.cat([pixels, nearest(made[whole:], choices)])
        losses = picture_losses(made, pixels, self.config.gradient_weight)
        if self.features is not None:
            seen, wanted = (F.avg_pool2d(picture, self.config.perceptual_scale) for picture in (made, pixels))
            losses["perceptual_loss"] = self.config.perceptual_weight * self.features.error(seen, wanted)
        return {**losses, "path_loss": self.flow(*path)["velocity_loss"]}

    def _pictures(self, embeddings: Tensor, noise: Tensor, aligned_only: Tensor) -> Tensor:
        latents = sample_decoder(
            self.flow.decoder, FlowMatchEulerDiscreteScheduler(), embeddings, noise, self.steps, 1.0, aligned_only
        )
        return self.renderer(latents / self.scale).float()


class Batches:
    """Draws the arguments of :class:`FinetuneLoss`.

    Args:
        pictures: To train on.
        prompts: Of their concepts.
        before: The decoder as it came; its paths from nothing are kept.
        config: How much a batch has of what.
        steps: Evaluations of the decoder.
        device: Where the batches go.

    Raises:
        InputError: A share of the rows is not in [0, 1].
    """

    def __init__(
        self,
        pictures: Pictures,
        prompts: Prompts,
        before: EmbeddingDecoder,
        config: FinetuneConfig,
        steps: int,
        device: torch.device,
    ):
        for name, share in (("prompts", config.prompts), ("nothing", config.nothing)):
            if not 0 <= share <= 1:
                raise InputError(f"--{name}: {share} is not allowed; give a number from 0 to 1")
        self.pictures, self.prompts, self.config, self.steps, self.device = pictures, prompts, config, steps, device
        self.before = before.eval().requires_grad_(False)

    def draw(self, count: int, generator: torch.Generator) -> tuple[Any, ...]:
        """Return the arguments for so many rows."""
        alone = round(count * self.config.prompts)
        embeddings, pixels = self.pictures.draw(count - alone, self.config.embedding_noise, generator)
        asked, choices = self.prompts.draw(alone, generator)
        path = self._path(max(round(count * self.config.nothing), 1), generator)
        rows = (torch.cat([embeddings, asked]), self.noise(count, generator), pixels, choices)
        return *(part.to(self.device) for part in rows), path

    def noise(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw (count, C, S, S), what the decoder begins with."""
        config = self.before.config
        shape = (count, config.latent_channels, config.latent_size, config.latent_size)
        return torch.randn(shape, generator=generator).to(self.device)

    @torch.no_grad()
    def _path(self, count: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Let the decoder as it came lead noise to latents, asked for nothing."""
        embeddings = self.pictures.embeddings[:1].expand(count, -1).to(self.device)
        nothing = torch.ones(count, dtype=torch.bool, device=self.device)
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
    normalizer = load_or_fit_normalizer(stage, encoder)
    on_device = deepcopy(normalizer).to(stage.device)
    decoder, autoencoder = begin_with(stage)
    features = PerceptualFeatures.from_archives(Path(config.archives)) if config.perceptual_weight else None
    steps, seed = recipe.distill.steps, config.loop.seed

    def pictures(split: str, views: int) -> Pictures:
        shown = versions_of(cache.tensors["pixels"][cache.where(split=split)], views, seed)
        return embed_pictures(shown, recipe.image_size, encoder, on_device)

    before, training = stage.trained("distill", EmbeddingDecoder), pictures("train", config.views)
    concepts = [cache.items[row]["concept"] for row in cache.where(split="train")]
    asked = Conditions(stage.caches(*encoder.modalities), encoder, normalizer, "train", recipe.prior)
    prompts = Prompts(training, concepts, asked, normalizer, config.condition_noise)
    training = with_imagined(stage, training, concepts, asked, normalizer)
    batches = Batches(training, prompts, before, config, steps, stage.device)
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
