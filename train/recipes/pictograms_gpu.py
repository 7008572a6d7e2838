"""The bundled model's recipe for one datacentre GPU: the same parts, larger and longer, meant for 25 minutes.

Every stage takes as many steps as fit into its minutes (:mod:`train.budget`), 18 in all; loading, caching and compiling
come on top. Not yet run on a GPU: on a CPU all stages but the upsampler's were, with 81 concepts, for seconds each.
From cached features one command trains everything:
``python -m train.run --recipe pictograms-gpu --run runs/gpu`` (copy runs/pictograms/cache to runs/gpu/cache to skip it).
"""

from __future__ import annotations

from dataclasses import replace

from train.config import LoopConfig
from train.recipes.pictograms import PICTOGRAMS, vit


def gpu_loop(
    loop: LoopConfig, minutes: float, batch_size: int, ema_decay: float = 0.999, steps: int = 20000
) -> LoopConfig:
    """Return a loop of the small recipe, stretched: larger batches, in bfloat16, for so many minutes."""
    return replace(
        loop,
        steps=steps,
        fit_minutes=minutes,
        batch_size=batch_size,
        warmup_steps=200,
        learning_rate=6e-4,
        ema_decay=ema_decay,
        compile=False,  # it may take a minute: as long as most stages have
        validate_every=1000,
    )


_SMALL = PICTOGRAMS

PICTOGRAMS_GPU = replace(
    _SMALL,
    name="pictograms-gpu",
    autoencoder=replace(_SMALL.autoencoder, loop=gpu_loop(_SMALL.autoencoder.loop, 1, 128)),
    encoder=replace(
        _SMALL.encoder,
        loop=gpu_loop(_SMALL.encoder.loop, 2.5, 512),
        later_loop=gpu_loop(_SMALL.encoder.later_loop, 1.5, 512),
        towers={
            **_SMALL.encoder.towers,
            "image": {"type": "vision", "backbone": vit(384, 6, 3), "detail": 384, "channels": 64},
            "sketch": {"type": "vision", "backbone": vit(256, 4, 1), "channels": 48, "thicken": 0.4},
        },
    ),
    decoder=replace(
        _SMALL.decoder,
        loop=replace(gpu_loop(_SMALL.decoder.loop, 5, 512, 0.9995, 40000), compile=True),
        patch_size=1,
        heads=6,
        layers=10,
        views=8,
    ),
    distill=replace(_SMALL.distill, loop=replace(gpu_loop(_SMALL.distill.loop, 1, 512), compile=True)),
    renderer=replace(_SMALL.renderer, loop=gpu_loop(_SMALL.renderer.loop, 1, 64)),
    finetune=replace(
        _SMALL.finetune,
        loop=replace(gpu_loop(_SMALL.finetune.loop, 3, 64), learning_rate=4e-4),
    ),
    upsampler=replace(_SMALL.upsampler, loop=gpu_loop(_SMALL.upsampler.loop, 1, 128)),
    complete=replace(_SMALL.complete, loop=gpu_loop(_SMALL.complete.loop, 0.5, 1024)),
    prior=replace(_SMALL.prior, loop=gpu_loop(_SMALL.prior.loop, 1.5, 1024), width=768, hidden=1536, layers=6),
    prefer=replace(_SMALL.prefer, loop=gpu_loop(_SMALL.prefer.loop, 0.5, 1024)),
)
