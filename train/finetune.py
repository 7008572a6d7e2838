"""Train decoder and renderer together: ``python -m train.finetune --recipe pictograms``.

What the decoder learnt was to match latents, number by number, and what the renderer learnt was to make the best of them.
Here gradients flow from the pixels of the finished picture through the renderer and all steps of the distilled decoder, so
both learn what is seen of a picture: its pixels, its edges, and the features of a published network.

Pictures are to come of their own embedding, and of what prior and completion make of prompts, with the training picture
that this comes nearest to as the answer (:mod:`train.pictures`); those that are made badly come up more often. From
nothing, the decoder is held on the paths that it came with. What tells a picture from the most similar one of another
thing, such as the hands of a clock, may count more than the rest (``--tell-apart``).
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderDC
from torch import Tensor, nn

from train.autoencoder import peak_signal_to_noise
from train.conditions import Conditions
from train.config import FinetuneConfig
from train.embed import PICTURES
from train.fidelity import kept_errors
from train.finished import Batches, FinetuneLoss, compile_parts
from train.imagined import imagine
from train.loop import Losses, Step, train
from train.memorise import memorise
from train.normalizer import load_or_fit_normalizer
from train.perceptual import PerceptualFeatures
from train.pictures import Pictures, embed_pictures
from train.renderer import versions_of
from train.stage import Stage, final_prior, load_part, run_stage
from unclip_mm.completion import EmbeddingCompletion
from unclip_mm.data.cache import pixels_to_float
from unclip_mm.decoder import EmbeddingDecoder
from unclip_mm.encoder import MultimodalEncoder
from unclip_mm.normalizer import EmbeddingNormalizer
from unclip_mm.prior import MultimodalPrior


def asked_for(
    stage: Stage[FinetuneConfig],
    concepts: list[str],
    styles: list[str | None],
    own: Tensor,
    normalizer: EmbeddingNormalizer,
) -> list[Tensor]:
    """Return what the run's prior and completion make of prompts: embeddings (N, E), standardised, of each.

    Concepts are asked for equally often, however many pictures they have, and as the pipeline asks: what the recipe
    recalls is. The prior is asked for a picture's style as often as it was told one. A run without either has none of
    it.

    Args:
        stage: Says how often.
        concepts: Of the P pictures.
        styles: Of the P pictures.
        own: Their own embeddings (P, E), standardised.
        normalizer: Of the run, on the CPU.
    """
    config, recipe, seed = stage.config, stage.recipe, stage.config.loop.seed
    encoder = stage.trained("encoder", MultimodalEncoder)
    memory = memorise(recipe, stage.run, encoder, normalizer)
    caches = stage.caches(*encoder.modalities)
    conditions = Conditions(caches, encoder, normalizer, stage.trained_on, recipe.prior, memory, recipe.recall)
    generator = torch.Generator().manual_seed(seed)

    def once() -> tuple[Tensor, list[str | None]]:
        one = {concepts[row]: row for row in torch.randperm(len(concepts), generator=generator).tolist()}
        told = (torch.rand(len(one), generator=generator) < recipe.prior.tell_style).tolist()
        named = [styles[row] if named else None for row, named in zip(one.values(), told, strict=True)]
        return conditions.draw([*one], normalizer.denormalize(own[[*one.values()]]), 0.0, generator), named

    def asked(times: int) -> tuple[Tensor, list[str | None]]:
        drawn = [once() for _ in range(times)]
        return torch.cat([vectors for vectors, _ in drawn]), [name for _, names in drawn for name in names]

    made = []
    if config.imagined and final_prior(stage.run).is_dir():
        prior = load_part(final_prior(stage.run), MultimodalPrior).to(stage.device).eval()
        made.append(imagine(prior, *asked(config.imagined), recipe.prior_sampling, seed))
    if config.completed and stage.exported("complete").is_dir():
        completion = stage.trained("complete", EmbeddingCompletion)
        with torch.no_grad():
            made.append(completion(asked(config.completed)[0].to(stage.device)).cpu())
    return made


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
    model = FinetuneLoss(decoder, autoencoder, features, config, steps).to(stage.device)

    def pictures(split: str | Sequence[str], views: int) -> Pictures:
        shown = versions_of(cache.tensors["pixels"][cache.where(split=split)], views, seed)
        return embed_pictures(shown, recipe.image_size, encoder, on_device)

    before, training = stage.trained("distill", EmbeddingDecoder), pictures(stage.trained_on, config.views)
    items = [cache.items[row] for row in cache.where(split=stage.trained_on)]
    concepts, styles = [item["concept"] for item in items], [item.get("style") for item in items]
    if config.tell_apart:
        training = training.with_twins(concepts)
    for made in asked_for(stage, concepts, styles, training.embeddings[: len(concepts)], normalizer):
        more = training.with_recognised(made, len(concepts), config.recognised)
        print({"made of prompts": len(made), "recognised": len(more.shown) - len(training.shown)})
        training = more
    batches = Batches(training, before, config, steps, stage.device)
    if config.hard:
        batches.pictures = training.favouring(kept_errors(stage.run, model, training, len(concepts)), config.hard)
    held_out = pictures("validation", 1)
    if config.compile_parts:
        compile_parts(decoder, autoencoder)

    def loss(prepared: nn.Module, step: Step) -> Losses:
        return prepared(*batches.draw(step.batch_size, step.generator))

    def validate(model: Any) -> dict[str, float]:
        embeddings, pixels = (part[:128].to(stage.device) for part in (held_out.embeddings, held_out.pixels))
        noise = model.noise(len(pixels), torch.Generator().manual_seed(0))
        made, wanted = model.make(embeddings, noise).clamp(-1, 1), pixels_to_float(pixels)
        figures = {"held_out_psnr": peak_signal_to_noise(made, wanted)}
        if features is not None:
            middle = made.shape[-1] * (config.perceptual_scale - 1) // (2 * config.perceptual_scale)
            corners = [(middle, middle)] * len(made)
            figures["held_out_perceptual"] = float(model.errors(made, wanted).mean())
            figures["held_out_perceptual_closely"] = float(model.errors(made, wanted, corners).mean())
        return figures

    train(config.loop, model, loss, stage.folder, validate=validate, description="finetune")
    stage.save(decoder=decoder, autoencoder=autoencoder)
    print({"exported": str(stage.export), **validate(model)})


if __name__ == "__main__":
    run_stage("finetune", __doc__, train_finetune)
