"""What several test files share: a small untrained pipeline of the real classes, and a folder of good and bad files."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

CAPTIONS = ["a red circle", "a blue square", "a green star", "a yellow triangle with a big black outline"]


@pytest.fixture(scope="session")
def pipeline_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline as the ``tiny`` recipe builds it (text, audio, image, sketch; 32 px), before any training."""
    import torch
    from diffusers import FlowMatchEulerDiscreteScheduler

    from train.models import build_processor
    from train.prior import prior_scheduler
    from train.recipes.tiny import TINY
    from unclip_mm import UnCLIPMultimodalPipeline
    from unclip_mm.autoencoder import build_autoencoder
    from unclip_mm.data.shapes import STYLES
    from unclip_mm.decoder import EmbeddingDecoder
    from unclip_mm.encoder import build_encoder
    from unclip_mm.normalizer import EmbeddingNormalizer
    from unclip_mm.prior import MultimodalPrior
    from unclip_mm.upsampler import Upsampler

    torch.manual_seed(0)
    encoder = build_encoder(TINY.encoder.dim, TINY.encoder.towers).eval()
    whole, aligned = encoder.image_embedding_dim, encoder.dim
    autoencoder, decoder, prior = TINY.autoencoder, TINY.decoder, TINY.prior
    upsampler = Upsampler(whole, width=8, layers=1).eval()
    for parameter in upsampler.parameters():
        torch.nn.init.normal_(parameter, std=0.1)  # as after some training: at first it is a bicubic enlargement
    pipeline = UnCLIPMultimodalPipeline(
        processor=build_processor(TINY, CAPTIONS),
        encoder=encoder,
        normalizer=EmbeddingNormalizer(whole, aligned, encoder.modalities),
        decoder=EmbeddingDecoder(
            embedding_dim=whole,
            latent_channels=autoencoder.latent_channels,
            latent_size=TINY.image_size >> (len(autoencoder.channels) - 1),
            patch_size=decoder.patch_size,
            heads=decoder.heads,
            head_dim=decoder.head_dim,
            layers=decoder.layers,
            tokens=decoder.tokens,
            layout_channels=decoder.layout_channels,
        ).eval(),
        scheduler=FlowMatchEulerDiscreteScheduler(),
        autoencoder=build_autoencoder(autoencoder.latent_channels, autoencoder.channels, autoencoder.layers).eval(),
        prior=MultimodalPrior(aligned, whole, prior.width, prior.hidden, prior.layers, STYLES).eval(),
        prior_scheduler=prior_scheduler(),
        upsampler=upsampler,
        image_size=TINY.image_size,
        num_inference_steps=TINY.distill.teacher_steps,
        guidance_scale=TINY.distill.guidance_scale,
        **TINY.prior_sampling,
    )
    torch.nn.init.normal_(pipeline.prior.style.weight[1:])  # as after some training: at first no style has a say
    folder = tmp_path_factory.mktemp("pipelines") / "shapes"
    pipeline.save_pretrained(folder)
    return folder


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder of a test, with good and bad files in it."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    Path("empty.png").touch()
    Path("noise.bin").write_bytes(rng.bytes(5000))
    Path("broken.mp3").write_bytes(b"\xff\xfb\x90\x00" + rng.bytes(5000))
    Path("words.png").write_text("not a picture")
    Image.new("RGB", (32, 32), "white").save("blank.png")
    Image.new("RGBA", (32, 32)).save("clear.png")
    drawing = Image.new("L", (64, 64), "white")
    ImageDraw.Draw(drawing).ellipse((12, 12, 52, 52), outline="black", width=3)
    drawing.save("circle.png")
    Image.new("RGB", (48, 32), "white").save("wide.png")
    picture = Image.new("RGB", (48, 32), "white")
    ImageDraw.Draw(picture).ellipse((8, 4, 36, 28), fill="red")
    picture.save("red.png")
    time = np.arange(8000) / 8000
    write_wave("tone.wav", (np.sin(2 * np.pi * 440 * time) * 20000).astype("<i2"), 8000)
    write_wave("silence.wav", np.zeros(8000, "<i2"), 8000)
    write_wave("nothing.wav", np.zeros(0, "<i2"), 8000)
    write_wave("hour.wav", np.zeros(3600 * 1000, "<i2"), 1000)
    folder = Path("first-look")  # enough for the first look at a checkpoint; loading it would fail
    folder.mkdir()
    (folder / "model_index.json").write_text('{"_class_name": "UnCLIPMultimodalPipeline"}')
    return tmp_path


def write_wave(name: str, samples: np.ndarray, rate: int) -> None:
    with wave.open(name, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.tobytes())
