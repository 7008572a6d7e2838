"""How well a run's decoder makes its training pictures.

``train.finetune`` trains on those that it makes badly more often, and ``train.prefer`` asks rather for the others.
"""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderDC
from torch import Tensor
from tqdm import tqdm

from train.embed import PICTURES
from train.finished import FinetuneLoss
from train.kept import fingerprint, kept
from train.perceptual import PerceptualFeatures
from train.pictures import BATCH, Pictures, embed_pictures
from train.stage import Stage, load_part
from unclip_mm.data.cache import pixels_to_float
from unclip_mm.decoder import EmbeddingDecoder
from unclip_mm.encoder import MultimodalEncoder
from unclip_mm.errors import CheckpointError, InputError
from unclip_mm.normalizer import EmbeddingNormalizer

SEED = 0
FILE = "errors.safetensors"


@torch.no_grad()
def errors_of(model: FinetuneLoss, pictures: Pictures, count: int) -> Tensor:
    """Return the errors (count,) of the first pictures, made of their own embeddings."""
    generator, device, found = torch.Generator().manual_seed(SEED), model.flow.decoder.device, []
    parts = zip(pictures.embeddings[:count].split(BATCH), pictures.pixels[:count].split(BATCH), strict=True)
    for embeddings, pixels in tqdm(list(parts), desc="errors", unit="batch"):
        with torch.autocast(device.type, dtype=torch.bfloat16):
            made = model.make(embeddings.to(device), model.noise(len(pixels), generator))
            found.append(model.errors(made.clamp(-1, 1), pixels_to_float(pixels).to(device)).float().cpu())
    return torch.cat(found)


def kept_errors(run: Path, model: FinetuneLoss, pictures: Pictures, count: int) -> Tensor:
    """Return the errors (count,) of the first pictures, from a file in the run where they were computed before."""
    made_of = fingerprint(model, pictures.pixels[:count], pictures.embeddings[:count], SEED)
    return kept(run / FILE, made_of, lambda: {"errors": errors_of(model, pictures, count)})["errors"]


def finished_errors(
    stage: Stage[Any], encoder: MultimodalEncoder, normalizer: EmbeddingNormalizer, rows: list[str]
) -> Tensor:
    """Return how badly what ``train.finetune`` exported makes some pictures (N,).

    Args:
        stage: Any of the run.
        encoder: Of the run.
        normalizer: Of the run, on the CPU.
        rows: Names of N pictures that the stage trains on.

    Raises:
        CheckpointError: It exported nothing yet.
        InputError: A picture is not among those that ``train.embed`` cached in full size.
    """
    folder, config, cache = stage.exported("finetune"), stage.recipe.finetune, stage.caches(PICTURES)[PICTURES]
    if not folder.is_dir():
        raise CheckpointError(f"{folder}: not there yet; run train.finetune first")
    cached = cache.where(split=stage.trained_on)
    places = {cache.items[row]["row"]: place for place, row in enumerate(cached)}
    lacking = [row for row in rows if row not in places]
    if lacking:
        raise InputError(f"{stage.run / 'cache'}: {lacking[0]!r} is not among its pictures; run train.embed again")
    decoder = load_part(folder / "decoder", EmbeddingDecoder)
    autoencoder = load_part(folder / "autoencoder", AutoencoderDC)
    features = PerceptualFeatures.from_archives(Path(config.archives)) if config.perceptual_weight else None
    model = FinetuneLoss(decoder, autoencoder, features, config, stage.recipe.distill.steps).to(stage.device).eval()
    on_device = deepcopy(normalizer).to(stage.device)
    pictures = embed_pictures(cache.tensors["pixels"][cached], stage.recipe.image_size, encoder, on_device)
    return kept_errors(stage.run, model, pictures, len(cached))[[places[row] for row in rows]]
