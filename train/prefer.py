"""Let the prior answer with what the decoder makes well: ``python -m train.prefer --recipe pictograms``.

Of the pictures of a thing some are simple and some are intricate, and the finished decoder makes the ones well and the
others badly. A prompt that shows no picture leaves open which is meant. So the prior, once the decoder is finished
(``train.finetune``), is trained on for a while to answer it rather with the former. What is asked with a picture is
answered as before. ``train.assemble`` takes this prior if it is there, and ``train.finetune --start`` trains on what it
imagines.
"""

from __future__ import annotations

from dataclasses import replace

from train.config import PreferConfig
from train.fidelity import finished_errors
from train.normalizer import load_or_fit_normalizer
from train.preferred import well_made
from train.prior import train_prior
from train.stage import Stage, run_stage
from unclip_mm.encoder import MultimodalEncoder
from unclip_mm.prior import MultimodalPrior


def train_prefer(stage: Stage[PreferConfig]) -> None:
    """Train on from the run's prior, or from ``--start``, and export to ``RUN/export/prefer``."""
    encoder = stage.trained("encoder", MultimodalEncoder)
    if stage.start is None:
        stage.trained("prior", MultimodalPrior)
        stage = replace(stage, start=stage.exported("prior"))
    cache = stage.caches("image")["image"]
    rows = [cache.items[row]["row"] for row in cache.where(split=stage.trained_on)]
    errors = finished_errors(stage, encoder, load_or_fit_normalizer(stage, encoder), rows)
    train_prior(stage, well_made(errors, stage.config.well_made, stage.config.enough))


if __name__ == "__main__":
    run_stage("prefer", __doc__, train_prefer)
