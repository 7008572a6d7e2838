"""Make the head of a text tower smooth between what it was taught: ``python -m train.smooth --recipe pictograms``.

A head fits the captions that it is trained on and goes where it likes between them. Kernel ridge regression of its own
outputs, on the features that it sees, agrees with it on the captions and takes the shortest way between; it becomes the
head. What was trained on its space stays valid, and words that it was never taught land nearer to their pictures.
"""

from __future__ import annotations

from typing import Any

import torch

from train.config import SmoothConfig
from train.normalizer import embed_all
from train.stage import Stage, run_stage, save_whole
from unclip_mm.encoder import MultimodalEncoder


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
    encoder.smooth(modality, cache.features(rows), said, config.width, config.ridge)
    agreement = (embed_all(encoder, cache, modality, rows) * said).sum(dim=-1)
    print({"smooth": modality, "captions": len(rows), "cosine to the head before": float(agreement.mean())})


def train_smooth(stage: Stage[SmoothConfig]) -> None:
    """Smooth the heads that the recipe names, in the encoder that is exported already, or in that of ``--start``."""
    encoder = stage.initial(MultimodalEncoder, lambda: stage.trained("encoder", MultimodalEncoder)).eval()
    for modality in stage.config.modalities:
        smooth_head(stage, stage.config, encoder, modality)
    save_whole(stage.exported("encoder"), {".": encoder})
    print({"exported": str(stage.exported("encoder"))})


if __name__ == "__main__":
    run_stage("smooth", __doc__, train_smooth)
