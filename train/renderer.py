"""Train the renderer: ``python -m train.renderer --recipe pictograms``.

The renderer is a new decoder half for the autoencoder. It makes larger pictures than the encoder half takes, and it is
trained on latents that the image decoder made of training pictures' own embeddings as well as on encoded ones: what is
typically wrong with those, it learns to put right. The latents mean what they meant, so nothing else is trained again.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderDC, FlowMatchEulerDiscreteScheduler
from torch import Tensor, nn
from tqdm import tqdm

from train.augment import shift_and_scale
from train.autoencoder import peak_signal_to_noise, picture_losses
from train.config import RendererConfig
from train.embed import PICTURES
from train.kept import fingerprint, kept
from train.loop import Losses, Step, train
from train.normalizer import load_or_fit_normalizer
from train.pictures import shrink
from train.stage import Stage, final_decoder, load_part, run_stage
from unclip_mm.autoencoder import decode_latents, encode_latents, replace_decoder
from unclip_mm.data.cache import pixels_to_bytes, pixels_to_float
from unclip_mm.decoder import EmbeddingDecoder
from unclip_mm.encoder import MultimodalEncoder
from unclip_mm.normalizer import EmbeddingNormalizer
from unclip_mm.sampling import sample_decoder

BATCH = 64


class RenderingLoss(nn.Module):
    """L1 of the pixels, and of their gradients, that latents of unit variance become."""

    def __init__(self, autoencoder: AutoencoderDC, gradient_weight: float):
        super().__init__()
        self.renderer = autoencoder.decoder
        self.scale, self.gradient_weight = autoencoder.config.scaling_factor, gradient_weight

    def forward(self, latents: Tensor, pixels: Tensor) -> Losses:
        """Return the losses of a batch."""
        return picture_losses(self.renderer(latents / self.scale).float(), pixels, self.gradient_weight)


@dataclass
class Painter:
    """What stands before the renderer, trained: a picture's latents, encoded or made of its embedding."""

    encoder: MultimodalEncoder
    normalizer: EmbeddingNormalizer
    decoder: EmbeddingDecoder
    autoencoder: AutoencoderDC
    steps: int
    guidance_scale: float

    @torch.no_grad()
    def latents(self, pixels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return the encoded and the made latents (B, C, S, S) of pictures (B, 3, H, W) as the towers see them."""
        with torch.autocast(pixels.device.type, dtype=torch.bfloat16):
            encoded = encode_latents(self.autoencoder, pixels).float()
            embeddings = self.normalizer.normalize(self.encoder.image_embedding({"pixels": pixels}))
            noise = torch.randn(encoded.shape, generator=generator).to(pixels.device)
            made = sample_decoder(
                self.decoder, FlowMatchEulerDiscreteScheduler(), embeddings, noise, self.steps, self.guidance_scale
            )
        return encoded, made


@dataclass
class Pairs:
    """Pictures and the latents that are to become them.

    Attributes:
        pixels: uint8 (N, 3, P, P).
        latents: Half precision (N, 2, C, S, S): encoded, and made by the image decoder.
    """

    pixels: Tensor
    latents: Tensor

    def draw(self, count: int, config: RendererConfig, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return latents (B, C, S, S), noisy, and pictures (B, 3, P, P)."""
        rows = torch.randint(len(self.pixels), (count,), generator=generator)
        made = (torch.rand(count, generator=generator) < config.made).long()
        latents = self.latents[rows, made].float()
        strength = config.latent_noise * torch.rand(count, 1, 1, 1, generator=generator)
        noise = torch.randn(latents.shape, generator=generator)
        return latents + strength * noise, pixels_to_float(self.pixels[rows])


def versions_of(pixels: Tensor, views: int, seed: int) -> Tensor:
    """Return pictures (V * N, 3, P, P), uint8: as they are, and then shifted and scaled ``views - 1`` times."""
    shown = [pixels]
    for view in range(1, views):
        for number, part in enumerate(pixels.split(BATCH)):
            generator = torch.Generator().manual_seed(seed + 100_003 * view + number)
            shown.append(pixels_to_bytes(shift_and_scale(pixels_to_float(part), generator)))
    return torch.cat(shown)


def prepare_pairs(pixels: Tensor, size: int, views: int, painter: Painter, seed: int, file: Path) -> Pairs:
    """Shift and scale pictures, and find their latents at the size that the towers see; latents are kept in a file.

    Args:
        pixels: uint8 (N, 3, P, P).
        size: Side of what the towers see.
        views: Versions of each picture; the first is the picture as it is.
        painter: Makes the latents.
        seed: Of versions and noise.
        file: Where the latents are, or shall be; they are made anew when they were made by another painter.
    """
    device = next(painter.encoder.parameters()).device
    shown = versions_of(pixels, views, seed)

    def make() -> dict[str, Tensor]:
        generator, latents = torch.Generator().manual_seed(seed), []
        for part in tqdm(shown.split(BATCH), desc=file.stem, unit="batch"):
            small = shrink(pixels_to_float(part), size)
            latents.append(torch.stack(painter.latents(small.to(device), generator), dim=1).half().cpu())
        return {"latents": torch.cat(latents)}

    parts = (painter.encoder, painter.normalizer, painter.decoder, painter.autoencoder)
    made_of = fingerprint(*parts, painter.steps, painter.guidance_scale, shown, size, seed)
    return Pairs(shown, kept(file, made_of, make)["latents"])


def train_renderer(stage: Stage[RendererConfig]) -> None:
    """Train and export the whole autoencoder, with its new half, to ``RUN/export/renderer``."""
    config, cache = stage.config, stage.caches(PICTURES)[PICTURES]
    device = stage.device
    folder, sampling = final_decoder(stage.recipe, stage.run)
    encoder = stage.trained("encoder", MultimodalEncoder)
    autoencoder = stage.trained("autoencoder", AutoencoderDC)
    painter = Painter(
        encoder,
        load_or_fit_normalizer(stage, encoder).to(device),
        load_part(folder, EmbeddingDecoder).to(device).eval(),
        autoencoder,
        int(sampling["num_inference_steps"]),
        sampling["guidance_scale"],
    )

    def pairs(split: str, views: int) -> Pairs:
        rows = cache.where(split=split)
        file = stage.folder / f"{split}-latents.safetensors"
        size = stage.recipe.image_size
        return prepare_pairs(cache.tensors["pixels"][rows], size, views, painter, config.loop.seed, file)

    training, held_out = pairs("train", config.views), pairs("validation", 1)
    torch.manual_seed(config.loop.seed)
    finished = stage.initial(
        AutoencoderDC,
        lambda: replace_decoder(autoencoder, config.channels, config.layers),
        latent_channels=autoencoder.config.latent_channels,
    )
    model = RenderingLoss(finished, config.gradient_weight)

    def loss(prepared: nn.Module, step: Step) -> Losses:
        latents, pixels = training.draw(step.batch_size, config, step.generator)
        return prepared(latents.to(device), pixels.to(device))

    def validate(_: Any) -> dict[str, float]:
        pixels = pixels_to_float(held_out.pixels[:128]).to(device)
        figures = {}
        for number, kind in enumerate(("encoded", "made")):
            rendered = decode_latents(finished, held_out.latents[:128, number].float().to(device))
            figures[f"held_out_{kind}_psnr"] = peak_signal_to_noise(rendered, pixels)
        return figures

    train(config.loop, model, loss, stage.folder, validate=validate, description="renderer")
    stage.save(finished)
    print({"exported": str(stage.export), **validate(model)})


if __name__ == "__main__":
    run_stage("renderer", __doc__, train_renderer)
