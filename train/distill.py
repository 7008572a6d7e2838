"""Distil the image decoder: ``python -m train.distill --recipe pictograms``.

"Flow straight and fast" (arXiv:2209.03003): the trained decoder leads noise to latents along a bent path, in many steps,
guided. A copy of it is trained to go from the same noise to the same latents along a straight line, which a few steps follow
as well as many. What guidance did is in where the line ends, so that each step is one evaluation in place of two.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from diffusers import AutoencoderDC, FlowMatchEulerDiscreteScheduler
from torch import Tensor, nn
from tqdm import tqdm

from train.config import DistillConfig
from train.decoder import FlowLoss
from train.imagined import imagined_views
from train.kept import fingerprint, kept
from train.loop import Losses, Step, train
from train.normalizer import load_or_fit_normalizer
from train.stage import Stage, run_stage
from train.views import Views, encode_views
from unclip_mm.decoder import EmbeddingDecoder
from unclip_mm.diffusion import dropped
from unclip_mm.encoder import MultimodalEncoder
from unclip_mm.normalizer import EmbeddingNormalizer
from unclip_mm.sampling import sample_decoder

BATCH = 64


@dataclass
class Pairs:
    """Noise, and the latents that the teacher makes of it.

    Attributes:
        noise: Half precision (N, C, S, S).
        latents: Half precision (N, C, S, S).
        embeddings: Half precision (N, E), standardised: what they were made of.
    """

    noise: Tensor
    latents: Tensor
    embeddings: Tensor

    def __len__(self) -> int:
        return len(self.noise)


def conditions_of(
    views: Views, imagined: Views | None, normalizer: EmbeddingNormalizer, config: DistillConfig, seed: int
) -> Tensor:
    """Return what the teacher paints, standardised (N * V, E): embeddings of pictures, or what the prior made of them."""
    generator = torch.Generator().manual_seed(seed)
    embeddings = views.embeddings.flatten(0, 1)
    if imagined is not None:
        replaced = dropped(len(embeddings), config.imagined, generator)[:, None]
        embeddings = torch.where(replaced, imagined.embeddings.flatten(0, 1), embeddings)
    strength = config.embedding_noise * torch.rand(len(embeddings), 1, generator=generator)
    noise = torch.randn(embeddings.shape, generator=generator)
    return (normalizer.normalize(embeddings.float()) + strength * noise).half()


@torch.no_grad()
def make_pairs(teacher: EmbeddingDecoder, conditions: Tensor, config: DistillConfig, seed: int, title: str) -> Pairs:
    """Let the teacher paint embeddings (N, E)."""
    device = next(teacher.parameters()).device
    generator = torch.Generator().manual_seed(seed)
    scheduler = FlowMatchEulerDiscreteScheduler()
    shape = (teacher.config.latent_channels, teacher.config.latent_size, teacher.config.latent_size)
    noise = torch.randn(len(conditions), *shape, generator=generator).half()
    latents = []
    for start in tqdm(range(0, len(conditions), BATCH), desc=title, unit="batch"):
        part = slice(start, start + BATCH)
        with torch.autocast(device.type, dtype=torch.bfloat16):
            made = sample_decoder(
                teacher,
                scheduler,
                conditions[part].float().to(device),
                noise[part].float().to(device),
                config.teacher_steps,
                config.guidance_scale,
            )
        latents.append(made.half().cpu())
    return Pairs(noise, torch.cat(latents), conditions)


class Batches:
    """Draws pairs; some rows are pictures without a condition, as the teacher knew them, so that guidance still works."""

    def __init__(self, pairs: Pairs, views: Views, config: DistillConfig, device: torch.device):
        self.pairs, self.views, self.config, self.device = pairs, views, config, device

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Return the arguments of :class:`train.decoder.FlowLoss`."""
        rows = torch.randint(len(self.pairs), (count,), generator=generator)
        nothing = dropped(count, self.config.drop_condition, generator)
        _, pictures = self.views.draw(
            torch.randint(len(self.views.embeddings), (count,), generator=generator), generator
        )
        assert pictures is not None
        place = nothing[:, None, None, None]
        parts = (
            torch.where(place, pictures, self.pairs.latents[rows].float()),
            torch.where(place, torch.randn(pictures.shape, generator=generator), self.pairs.noise[rows].float()),
            torch.rand(count, generator=generator),
            self.pairs.embeddings[rows].float(),
            nothing,
        )
        return tuple(part.to(self.device) for part in parts)


@torch.no_grad()
def sampling_error(decoder: EmbeddingDecoder, pairs: Pairs, steps: int, guidance_scale: float) -> float:
    """Mean squared difference of latents made in a few steps from the teacher's, as a share of the variance of those."""
    device = next(decoder.parameters()).device
    noise, embeddings, wanted = (part.float() for part in (pairs.noise, pairs.embeddings, pairs.latents))
    made = sample_decoder(
        decoder,
        FlowMatchEulerDiscreteScheduler(),
        embeddings.to(device),
        noise.to(device),
        steps,
        guidance_scale,
    )
    return float((made.cpu() - wanted).square().mean() / wanted.var())


def train_distill(stage: Stage[DistillConfig]) -> None:
    """Train and export to ``RUN/export/distill``."""
    config, cache = stage.config, stage.caches("image")["image"]
    encoder = stage.trained("encoder", MultimodalEncoder)
    autoencoder = stage.trained("autoencoder", AutoencoderDC)
    normalizer = load_or_fit_normalizer(stage, encoder)
    teacher = stage.trained("decoder", EmbeddingDecoder)

    def prepare(split: str, versions: int) -> tuple[Pairs, Views]:
        seed = config.loop.seed
        views = encode_views(cache, cache.where(split=split), encoder, autoencoder, versions, seed)
        imagined = imagined_views(stage, encoder, normalizer, views, seed) if split == "train" else None
        conditions = conditions_of(views, imagined, normalizer, config, seed)
        made_of = fingerprint(teacher, conditions, config.teacher_steps, config.guidance_scale, seed)
        file = stage.folder / f"{split}-pairs.safetensors"
        pairs = kept(file, made_of, lambda: vars(make_pairs(teacher, conditions, config, seed, file.stem)))
        return Pairs(**pairs), views

    (pairs, views), (held_out, _) = prepare("train", config.views), prepare("validation", 1)
    student = stage.initial(EmbeddingDecoder, lambda: stage.trained("decoder", EmbeddingDecoder))
    batches = Batches(pairs, views, config, stage.device)

    def loss(prepared: nn.Module, step: Step) -> Losses:
        return prepared(*batches.draw(step.batch_size, step.generator))

    def validate(model: Any) -> dict[str, float]:
        return {"held_out_error": sampling_error(model.decoder, held_out, config.steps, 1.0)}

    before = sampling_error(teacher, held_out, config.steps, config.guidance_scale)
    print({"teacher": f"{config.steps} steps, guided", "held_out_error": before})
    trained = train(config.loop, FlowLoss(student), loss, stage.folder, validate=validate, description="distill")
    stage.save(trained.decoder)
    print({"exported": str(stage.export), **validate(trained)})


if __name__ == "__main__":
    run_stage("distill", __doc__, train_distill)
