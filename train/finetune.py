"""Train decoder and renderer together: ``python -m train.finetune --recipe pictograms``.

What the decoder learnt was to match latents, number by number, and what the renderer learnt was to make the best of them.
Here gradients flow from the pixels of the finished picture through the renderer and all steps of the distilled decoder, so
both learn what is seen of a picture: its pixels, its edges, and the features of a published network.

Pictures are to come of their own embedding, and of what prior and completion make of prompts, with the training picture
that this comes nearest to as the answer (:mod:`train.pictures`). From nothing, the decoder is held on the paths that it
came with.
"""

from __future__ import annotations

from collections.abc import Sequence
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
from train.imagined import imagine
from train.loop import Losses, Step, train
from train.memorise import memorise
from train.normalizer import load_or_fit_normalizer
from train.perceptual import PerceptualFeatures
from train.pictures import Pictures, embed_pictures
from train.renderer import versions_of
from train.stage import Stage, load_part, run_stage
from unclip_mm.autoencoder import decode_latents
from unclip_mm.completion import EmbeddingCompletion
from unclip_mm.data.cache import pixels_to_float
from unclip_mm.decoder import EmbeddingDecoder
from unclip_mm.encoder import MultimodalEncoder
from unclip_mm.errors import InputError
from unclip_mm.normalizer import EmbeddingNormalizer
from unclip_mm.prior import MultimodalPrior
from unclip_mm.sampling import sample_decoder


def asked_for(
    stage: Stage[FinetuneConfig], concepts: list[str], own: Tensor, normalizer: EmbeddingNormalizer
) -> list[Tensor]:
    """Return what the run's prior and completion make of prompts: embeddings (N, E), standardised, of each.

    Concepts are asked for equally often, however many pictures they have, and as the pipeline asks: what the recipe
    recalls is. A run without either has none of it.

    Args:
        stage: Says how often.
        concepts: Of the P pictures.
        own: Their own embeddings (P, E), standardised.
        normalizer: Of the run, on the CPU.
    """
    config, recipe, seed = stage.config, stage.recipe, stage.config.loop.seed
    encoder = stage.trained("encoder", MultimodalEncoder)
    memory = memorise(recipe, stage.run, encoder, normalizer)
    caches = stage.caches(*encoder.modalities)
    conditions = Conditions(caches, encoder, normalizer, stage.trained_on, recipe.prior, memory, recipe.recall)
    generator = torch.Generator().manual_seed(seed)

    def once() -> Tensor:
        one = {concepts[row]: row for row in torch.randperm(len(concepts), generator=generator).tolist()}
        return conditions.draw([*one], normalizer.denormalize(own[[*one.values()]]), 0.0, generator)

    def asked(times: int) -> Tensor:
        return torch.cat([once() for _ in range(times)])

    made = []
    if config.imagined and stage.exported("prior").is_dir():
        prior = stage.trained("prior", MultimodalPrior)
        made.append(imagine(prior, asked(config.imagined), recipe.prior_sampling, seed))
    if config.completed and stage.exported("complete").is_dir():
        completion = stage.trained("complete", EmbeddingCompletion)
        with torch.no_grad():
            made.append(completion(asked(config.completed).to(stage.device)).cpu())
    return made


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
        if config.compile_parts:
            compile_parts(decoder, autoencoder)
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
            self.flow.decoder, FlowMatchEulerDiscreteScheduler(), embeddings, noise, self.steps, 1.0
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
        before: The decoder as it came; its paths from nothing are kept.
        config: How much a batch has of what.
        steps: Evaluations of the decoder.
        device: Where the batches go.

    Raises:
        InputError: The share of rows from nothing is not in [0, 1].
    """

    def __init__(
        self,
        pictures: Pictures,
        before: EmbeddingDecoder,
        config: FinetuneConfig,
        steps: int,
        device: torch.device,
    ):
        if not 0 <= config.nothing <= 1:
            raise InputError(f"--nothing: {config.nothing} is not allowed; give a number from 0 to 1")
        self.pictures, self.config, self.steps, self.device = pictures, config, steps, device
        self.before = before.eval().requires_grad_(False)

    def draw(self, count: int, generator: torch.Generator) -> tuple[Any, ...]:
        """Return the arguments for so many rows."""
        embeddings, pixels = self.pictures.draw(count, self.config.embedding_noise, generator)
        path = self._path(max(round(count * self.config.nothing), 1), generator)
        rows = (embeddings, self.noise(count, generator), pixels)
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
            latents = latents - self.before(latents, now, embeddings, nothing).float() / self.steps
        return latents, noise, times, embeddings, nothing


def compile_parts(decoder: EmbeddingDecoder, autoencoder: AutoencoderDC) -> None:
    """Compile the renderer and each block of the decoder: all steps as one graph would take minutes to compile."""
    autoencoder.decoder.compile()
    for block in decoder.transformer.transformer_blocks:
        block.compile()


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

    def pictures(split: str | Sequence[str], views: int) -> Pictures:
        shown = versions_of(cache.tensors["pixels"][cache.where(split=split)], views, seed)
        return embed_pictures(shown, recipe.image_size, encoder, on_device)

    before, training = stage.trained("distill", EmbeddingDecoder), pictures(stage.trained_on, config.views)
    concepts = [cache.items[row]["concept"] for row in cache.where(split=stage.trained_on)]
    for made in asked_for(stage, concepts, training.embeddings[: len(concepts)], normalizer):
        more = training.with_recognised(made, len(concepts), config.recognised)
        print({"made of prompts": len(made), "recognised": len(more.shown) - len(training.shown)})
        training = more
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
