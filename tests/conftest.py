"""What several test files share: a small pipeline of the real classes, untrained, saved as a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

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
