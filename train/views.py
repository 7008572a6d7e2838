"""Views: shifted and scaled versions of every training picture, encoded once, for decoder and prior."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from diffusers import AutoencoderDC
from torch import Tensor
from tqdm import tqdm

from train.augment import shift_and_scale
from unclip_mm.autoencoder import encode_latents
from unclip_mm.data.cache import ModalityCache
from unclip_mm.encoder import MultimodalEncoder


@dataclass
class Views:
    """Encoded pictures, V versions each; the first is the picture as it is.

    Attributes:
        embeddings: Image embeddings (N, V, E), half precision.
        latents: (N, V, C, S, S), half precision; None where no autoencoder was given.
    """

    embeddings: Tensor
    latents: Tensor | None

    def draw(self, rows: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor | None]:
        """Return one random version of some pictures: embeddings (B, E) and latents (B, C, S, S), in float32."""
        version = torch.randint(self.embeddings.shape[1], (len(rows),), generator=generator)
        latents = None if self.latents is None else self.latents[rows, version].float()
        return self.embeddings[rows, version].float(), latents


@torch.no_grad()
def encode_views(
    cache: ModalityCache,
    rows: list[int],
    encoder: MultimodalEncoder,
    autoencoder: AutoencoderDC | None,
    count: int,
    seed: int,
    batch_size: int = 128,
) -> Views:
    """Encode ``count`` versions of the pictures ``rows``; the augmentation is a function of the seed."""
    device = next(encoder.parameters()).device
    generator = torch.Generator().manual_seed(seed)
    embeddings: list[Tensor] = []
    latents: list[Tensor] = []
    for start in tqdm(range(0, len(rows), batch_size), desc="views", unit="batch"):
        pixels = cache.features(rows[start : start + batch_size])["pixels"]
        versions = [pixels] + [shift_and_scale(pixels, generator) for _ in range(count - 1)]
        with torch.autocast(device.type, dtype=torch.bfloat16):
            batch = torch.stack(versions, dim=1).flatten(0, 1).to(device)
            embeddings.append(encoder.image_embedding({"pixels": batch}).cpu().half().unflatten(0, (-1, count)))
            if autoencoder is not None:
                latents.append(encode_latents(autoencoder, batch).cpu().half().unflatten(0, (-1, count)))
    return Views(torch.cat(embeddings), torch.cat(latents) if latents else None)
