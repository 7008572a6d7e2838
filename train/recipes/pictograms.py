"""The bundled model: pictograms of everyday things at 128 px, trained on two CPU cores in about twenty-three hours."""

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
    SmoothConfig,
    UpsamplerConfig,
)


def vit(width: int, layers: int, channels: int, image_size: int = 64) -> dict:
    """A small vision transformer from scratch over a 4 x 4 grid of patches."""
    return {
        "model_type": "vit",
        "image_size": image_size,
        "patch_size": image_size // 4,
        "num_channels": channels,
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": width // 32,
        "intermediate_size": 4 * width,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
    }


_ENCODER_LOOP = LoopConfig(
    steps=2000,
    batch_size=128,
    learning_rate=1.5e-3,
    warmup_steps=50,
    decay_fraction=0.7,
    weight_decay=0.05,
    ema_decay=0.99,
    mixed_precision="bf16",
    validate_every=250,
)

_FRAMES = (
    "a drawing of a {}",
    "draw me a {}",
    "draw a {}",
    "a picture of a {}",
    "an image of a {}",
    "a photo of a {}",
    "an icon of a {}",
    "a {} icon",
    "a {} emoji",
    "show me a {}",
    "please draw a {}",
    "a sketch of a {}",
    "make a picture of a {}",
    "I want a {}",
)

_PRIOR_LOOP = LoopConfig(
    steps=20000,
    batch_size=1024,
    learning_rate=1.5e-3,
    warmup_steps=100,
    decay_fraction=0.7,
    weight_decay=0.02,
    ema_decay=0.999,
    mixed_precision="bf16",
    validate_every=1000,
)

_PIXEL_LOOP = LoopConfig(
    batch_size=32,
    learning_rate=1.5e-3,
    warmup_steps=50,
    decay_fraction=0.7,
    weight_decay=0.0,
    ema_decay=0.995,
    mixed_precision="bf16",
    compile=True,
)
"""Of what makes pictures in one evaluation: autoencoder, renderer and upsampler."""

PICTOGRAMS = Recipe(
    name="pictograms",
    data="pictograms",
    image_size=64,
    autoencoder=AutoencoderConfig(
        loop=replace(_PIXEL_LOOP, steps=1300, learning_rate=2e-3, ema_decay=0.99),
    ),
    encoder=EncoderConfig(
        loop=_ENCODER_LOOP,
        dim=256,
        towers={
            "text": {"type": "text", "backbone": "data/backbones/minilm", "width": 768, "depth": 1},
            "audio": {
                "type": "audio",
                "backbone": "data/backbones/whisper-tiny-en",
                "width": 192,
                "depth": 2,
                "dropout": 0.0,
                "layers": [1],
                "spectrum": True,
                "sounds": "data/backbones/yamnet",
            },
            "image": {"type": "vision", "backbone": vit(256, 4, 3), "detail": 384, "channels": 64},
            "sketch": {"type": "vision", "backbone": vit(192, 3, 1), "channels": 48, "thicken": 0.4},
        },
        objective="unialign",
        objective_options={"lambda_align": 10.0},
        later=("audio",),
        later_loop=replace(_ENCODER_LOOP, steps=4000, batch_size=256),
        hide_tokens=0.3,
        later_shares={"audio": {"sound": 0.5}},
        versions={"sound": 5},
    ),
    smooth=SmoothConfig(modalities=("text",), frames=_FRAMES),
    decoder=DecoderConfig(
        loop=LoopConfig(
            steps=30000,
            batch_size=128,
            learning_rate=1e-3,
            warmup_steps=100,
            decay_fraction=0.6,
            weight_decay=0.02,
            ema_decay=0.999,
            mixed_precision="bf16",
            compile=True,
            validate_every=500,
        ),
        views=4,
    ),
    prior=PriorConfig(
        loop=_PRIOR_LOOP,
        width=512,
        hidden=1536,
        condition_noise=0.5,
        everything=True,
    ),
    prefer=PreferConfig(loop=replace(_PRIOR_LOOP, learning_rate=1e-3), condition_noise=0.5, everything=True),
    complete=CompletionConfig(
        loop=replace(
            _PRIOR_LOOP,
            steps=13000,
            learning_rate=1e-3,
            decay_fraction=0.9,
            weight_decay=0.01,
            ema_decay=0.995,
            validate_every=500,
        ),
        width=1024,
        condition_noise=0.5,
        everything=True,
    ),
    distill=DistillConfig(
        loop=LoopConfig(
            steps=1000,
            batch_size=128,
            learning_rate=5e-4,
            warmup_steps=50,
            decay_fraction=0.7,
            weight_decay=0.02,
            ema_decay=0.998,
            mixed_precision="bf16",
            compile=True,
            validate_every=500,
        ),
    ),
    renderer=RendererConfig(loop=replace(_PIXEL_LOOP, steps=2000), picture_size=128),
    finetune=FinetuneConfig(
        loop=replace(
            _PIXEL_LOOP,
            steps=47000,
            batch_size=20,
            learning_rate=4e-4,
            decay_fraction=1.0,
            ema_decay=0.998,
            compile=False,
            validate_every=250,
        ),
        perceptual_weight=2.0,
        tell_apart=0.1,
        imagined=24,
        compile_parts=True,
        everything=True,
    ),
    upsampler=UpsamplerConfig(loop=replace(_PIXEL_LOOP, steps=1500, validate_every=500)),
    prior_sampling={"prior_steps": 10, "prior_guidance_scale": 1.5},
    recall={"text": ("text", 0.02), "audio": ("text", 0.01), "sketch": ("image", 0.01)},
    examples={"audio": "sound"},
)
