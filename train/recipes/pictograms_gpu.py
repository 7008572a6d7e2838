"""The bundled model's recipe for one datacentre GPU: the same parts, larger and longer, within 25 minutes.

Written for a GPU and not yet run on one. From cached features one command trains everything:
``python -m train.run --recipe pictograms-gpu --run runs/gpu`` (copy runs/pictograms/cache to runs/gpu/cache to skip it).
"""

from __future__ import annotations

from dataclasses import replace

from train.config import LoopConfig
from train.recipes.pictograms import PICTOGRAMS, vit


def gpu_loop(loop: LoopConfig, steps: int, batch_size: int, ema_decay: float, max_minutes: float) -> LoopConfig:
    """Return a loop of the small recipe, stretched: more steps on larger batches, in bfloat16, compiled."""
    return replace(
        loop,
        steps=steps,
        batch_size=batch_size,
        warmup_steps=200,
        learning_rate=6e-4,
        ema_decay=ema_decay,
        compile=True,
        validate_every=1000,
        max_minutes=max_minutes,
    )


_SMALL = PICTOGRAMS

PICTOGRAMS_GPU = replace(
    _SMALL,
    name="pictograms-gpu",
    autoencoder=replace(_SMALL.autoencoder, loop=gpu_loop(_SMALL.autoencoder.loop, 6000, 128, 0.999, 2)),
    encoder=replace(
        _SMALL.encoder,
        loop=replace(gpu_loop(_SMALL.encoder.loop, 6000, 512, 0.999, 4), compile=False),
        towers={
            **_SMALL.encoder.towers,
            "image": {"type": "vision", "backbone": vit(384, 6, 3), "detail": 384, "channels": 64},
            "sketch": {"type": "vision", "backbone": vit(256, 4, 1), "channels": 48},
        },
    ),
    decoder=replace(
        _SMALL.decoder,
        loop=gpu_loop(_SMALL.decoder.loop, 40000, 512, 0.9995, 7),
        patch_size=1,
        heads=6,
        layers=10,
        views=8,
    ),
    distill=replace(_SMALL.distill, loop=gpu_loop(_SMALL.distill.loop, 6000, 512, 0.999, 2)),
    renderer=replace(_SMALL.renderer, loop=gpu_loop(_SMALL.renderer.loop, 8000, 64, 0.999, 2)),
    finetune=replace(
        _SMALL.finetune, loop=replace(gpu_loop(_SMALL.finetune.loop, 6000, 64, 0.999, 2), learning_rate=2e-4)
    ),
    upsampler=replace(_SMALL.upsampler, loop=gpu_loop(_SMALL.upsampler.loop, 6000, 128, 0.999, 2)),
    complete=replace(_SMALL.complete, loop=gpu_loop(_SMALL.complete.loop, 10000, 1024, 0.999, 1)),
    prior=replace(
        _SMALL.prior, loop=gpu_loop(_SMALL.prior.loop, 20000, 1024, 0.999, 3), width=768, hidden=1536, layers=6
    ),
    prefer=replace(_SMALL.prefer, loop=gpu_loop(_SMALL.prefer.loop, 5000, 1024, 0.999, 1)),
)
