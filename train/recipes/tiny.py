"""All stages in a few minutes on two cores, on the synthetic world: for tests, and as a first step."""

from __future__ import annotations

from dataclasses import replace

from train.config import (
    AutoencoderConfig,
    CompletionConfig,
    DecoderConfig,
    DistillConfig,
    EncoderConfig,
    FinetuneConfig,
    LoopConfig,
    PreferConfig,
    PriorConfig,
    Recipe,
    RendererConfig,
)
from train.recipes.pictograms import vit

_PRIOR_LOOP = LoopConfig(
    steps=400,
    batch_size=64,
    learning_rate=2e-3,
    warmup_steps=20,
    decay_fraction=0.7,
    ema_decay=0.98,
    validate_every=400,
)

TINY = Recipe(
    name="tiny",
    data="synthetic",
    image_size=32,
    autoencoder=AutoencoderConfig(
        loop=LoopConfig(
            steps=250, batch_size=16, learning_rate=3e-3, warmup_steps=20, decay_fraction=0.7, validate_every=250
        ),
        latent_channels=8,
        channels=(16, 16, 32),
        layers=(0, 1, 1),
    ),
    encoder=EncoderConfig(
        loop=LoopConfig(
            steps=250, batch_size=32, learning_rate=2e-3, warmup_steps=20, decay_fraction=0.7, validate_every=250
        ),
        dim=32,
        towers={
            "text": {
                "type": "text",
                "backbone": {
                    "model_type": "bert",
                    "vocab_size": 400,
                    "hidden_size": 32,
                    "num_hidden_layers": 1,
                    "num_attention_heads": 2,
                    "intermediate_size": 64,
                    "max_position_embeddings": 64,
                },
                "frozen": False,
                "width": 32,
            },
            "audio": {
                "type": "audio",
                "backbone": {
                    "model_type": "whisper",
                    "d_model": 32,
                    "encoder_layers": 1,
                    "encoder_attention_heads": 2,
                    "encoder_ffn_dim": 64,
                    "num_mel_bins": 80,
                    "max_source_positions": 50,
                },
                "frozen": False,
                "width": 32,
                "depth": 1,
            },
            "image": {"type": "vision", "backbone": vit(32, 2, 3, 32) | {"num_attention_heads": 2}, "detail": 32},
            "sketch": {"type": "vision", "backbone": vit(32, 2, 1, 32) | {"num_attention_heads": 2}},
        },
        objective="unialign",
        reconstruction_width=32,
        reconstruction_depth=1,
    ),
    decoder=DecoderConfig(
        loop=LoopConfig(
            steps=400,
            batch_size=32,
            learning_rate=2e-3,
            warmup_steps=20,
            decay_fraction=0.7,
            ema_decay=0.98,
            validate_every=400,
        ),
        heads=2,
        head_dim=32,
        layers=2,
        tokens=4,
        layout_channels=8,
    ),
    prior=PriorConfig(
        loop=_PRIOR_LOOP,
        width=64,
        hidden=128,
        layers=2,
    ),
    prefer=PreferConfig(loop=replace(_PRIOR_LOOP, steps=100, learning_rate=1e-3, validate_every=100)),
    complete=CompletionConfig(loop=replace(_PRIOR_LOOP, steps=300, validate_every=300), width=64),
    distill=DistillConfig(
        loop=LoopConfig(
            steps=150,
            batch_size=32,
            learning_rate=1e-3,
            warmup_steps=20,
            decay_fraction=0.7,
            ema_decay=0.98,
            validate_every=150,
        ),
        teacher_steps=8,
    ),
    renderer=RendererConfig(
        loop=LoopConfig(
            steps=150, batch_size=16, learning_rate=2e-3, warmup_steps=20, decay_fraction=0.7, validate_every=150
        ),
        picture_size=64,
        channels=(16, 16, 16, 32),
        layers=(0, 1, 1, 1),
        views=1,
    ),
    finetune=FinetuneConfig(
        loop=LoopConfig(
            steps=100, batch_size=16, learning_rate=3e-4, warmup_steps=20, decay_fraction=0.7, validate_every=100
        ),
        views=1,
        perceptual_weight=0.0,
        imagined=2,
        completed=1,
        recognised=0.0,
    ),
    prior_sampling={"prior_steps": 8, "prior_guidance_scale": 1.5},
    recall={"audio": ("text", 0.1), "sketch": ("image", 0.05)},
    examples={"audio": "sound"},
)
