"""Make the head of a text tower smooth between what it was taught: ``python -m train.smooth --recipe pictograms``.

A head fits the captions that it is trained on and goes where it likes between them. Kernel ridge regression of its own
outputs, on the features that it sees, agrees with it on the captions and takes the shortest way between; it becomes the
head. What was trained on its space stays valid, and words that it was never taught land nearer to their pictures.

People ask for a thing in words that are no part of it: "draw me a dog". A sentence encoder takes them for a part of what is
meant, and all of them move its features much alike. So the directions of such moves, which the recipe's ``frames`` show,
are left aside, and a framed caption lies where the caption does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from train.config import SmoothConfig
from train.normalizer import embed_all
from train.stage import Stage, run_stage, save_whole
from unclip_mm.encoder import MultimodalEncoder
from unclip_mm.errors import InputError
from unclip_mm.processing import MultimodalProcessor

BATCH = 64
FRAMED = 300
"""How many captions are framed."""


@torch.no_grad()
def smooth_head(stage: Stage[Any], config: SmoothConfig, encoder: MultimodalEncoder, modality: str) -> None:
    """Let the head of one text tower of an encoder be the regression of what it says of captions.

    Of those that it was trained on; those set aside for validation come to lie as new ones do.

    Raises:
        InputError: The tower takes no text, or its backbone is trained as well, so that there are no features that stay.
    """
    cache = stage.caches(modality)[modality]
    rows = cache.where(split="train")
    said = embed_all(encoder, cache, modality, rows)
    aside = None
    if config.frames:
        captions = list(dict.fromkeys(cache.items[row]["text"] for row in rows))
        processor = MultimodalProcessor.from_pretrained(stage.exported("processor"))
        aside = directions_of_frames(encoder, processor, modality, captions, config)
    encoder.smooth(modality, cache.features(rows), said, config.width, config.ridge, aside)
    agreement = (embed_all(encoder, cache, modality, rows) * said).sum(dim=-1)
    print({"smooth": modality, "captions": len(rows), "cosine to the head before": float(agreement.mean())})


@torch.no_grad()
def directions_of_frames(
    encoder: MultimodalEncoder,
    processor: MultimodalProcessor,
    modality: str,
    captions: Sequence[str],
    config: SmoothConfig,
) -> Tensor:
    """Return the orthonormal directions (r, F) in which frames move the features of captions most.

    Args:
        encoder, processor, modality: Whose features.
        captions: Some hundreds of them, evenly taken, are framed.
        config: Says with what, and r.

    Raises:
        InputError: A frame has no ``{}`` in it, or there are fewer moves than directions.
    """
    for frame in config.frames:
        if frame.count("{}") != 1:
            raise InputError(f"frames: {frame!r} does not say where the thing is; put one {{}} in it")
    framed = captions[:: max(1, len(captions) // FRAMED)]

    device = next(encoder.parameters()).device

    def pooled(texts: Sequence[str]) -> Tensor:
        inputs = [processor({modality: texts[i : i + BATCH]})[modality] for i in range(0, len(texts), BATCH)]
        moved = [{name: values.to(device) for name, values in part.items()} for part in inputs]
        return torch.cat([encoder.features(modality, part)["pooled"].float().cpu() for part in moved])

    plain = pooled(framed)
    moves = torch.cat([pooled([frame.replace("{}", text) for text in framed]) - plain for frame in config.frames])
    if not 0 < config.frame_directions <= min(moves.shape):
        raise InputError(f"frame-directions: {config.frame_directions} is not from 1 to {min(moves.shape)}")
    return torch.linalg.svd(moves, full_matrices=False).Vh[: config.frame_directions]


def train_smooth(stage: Stage[SmoothConfig]) -> None:
    """Smooth the heads that the recipe names, in the encoder that is exported already, or in that of ``--start``."""
    encoder = stage.initial(MultimodalEncoder, lambda: stage.trained("encoder", MultimodalEncoder)).eval()
    for modality in stage.config.modalities:
        smooth_head(stage, stage.config, encoder, modality)
    save_whole(stage.exported("encoder"), {".": encoder})
    print({"exported": str(stage.exported("encoder"))})


if __name__ == "__main__":
    run_stage("smooth", __doc__, train_smooth)
