"""Fit the statistics that lie between encoder, prior and decoder, once for every encoder."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from train.stage import Stage, save_whole
from unclip_mm.data.cache import ModalityCache
from unclip_mm.encoder import MultimodalEncoder, aligned_part
from unclip_mm.normalizer import EmbeddingNormalizer


@torch.no_grad()
def embed_all(
    encoder: MultimodalEncoder, cache: ModalityCache, modality: str, rows: list[int], batch_size: int = 256
) -> Tensor:
    """Return a modality's aligned unit vectors (N, D) of some items; for images, the whole image embedding (N, E)."""
    device = next(encoder.parameters()).device
    parts = [torch.zeros(0, encoder.image_embedding_dim if modality == "image" else encoder.dim)]
    for start in range(0, len(rows), batch_size):
        features = {k: v.to(device) for k, v in cache.features(rows[start : start + batch_size]).items()}
        embedded = encoder.image_embedding(features) if modality == "image" else encoder.embed(modality, features)
        parts.append(embedded.float().cpu())
    return torch.cat(parts)


def load_or_fit_normalizer(stage: Stage[Any], encoder: MultimodalEncoder) -> EmbeddingNormalizer:
    """Return the run's normalizer, fitted when it is not there yet."""
    folder = stage.exported("normalizer")
    return EmbeddingNormalizer.from_pretrained(folder) if folder.is_dir() else fit_normalizer(stage, encoder)


def fit_normalizer(stage: Stage[Any], encoder: MultimodalEncoder, most: int = 4000) -> EmbeddingNormalizer:
    """Fit the run's normalizer to at most ``most`` training items a modality, and export it.

    Once more whenever an encoder was trained; a tower that trains alone changes where its modality lies, nothing else.
    """
    normalizer = EmbeddingNormalizer(encoder.image_embedding_dim, encoder.dim, encoder.modalities)
    aligned: dict[str, Tensor] = {}
    for modality, cache in stage.caches(*encoder.modalities).items():
        rows = torch.tensor(cache.where(split="train"))
        rows = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))[:most]]
        embedded = embed_all(encoder, cache, modality, rows.tolist())
        if modality == "image":
            image_embeddings = embedded
            embedded = aligned_part(embedded, encoder.dim)
        aligned[modality] = embedded
    normalizer.fit(image_embeddings, aligned)
    save_whole(stage.exported("normalizer"), {".": normalizer})
    return normalizer
