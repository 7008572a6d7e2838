"""Train the image decoder: ``python -m train.decoder --recipe pictograms``.

Flow matching from noise to latents, conditioned on the image embedding alone, so that no new modality ever asks for a
new decoder. Some rows see nothing, for guidance.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers import AutoencoderDC
from torch import Tensor, nn

from train.config import DecoderConfig
from train.loop import Losses, Step, train
from train.normalizer import load_or_fit_normalizer
from train.stage import Stage, run_stage
from train.views import Views, encode_views
from unclip_mm.decoder import EmbeddingDecoder
from unclip_mm.diffusion import dropped, flow_pair, logit_normal_times
from unclip_mm.encoder import MultimodalEncoder
from unclip_mm.normalizer import EmbeddingNormalizer


class FlowLoss(nn.Module):
    """Squared error of the predicted velocity."""

    def __init__(self, decoder: EmbeddingDecoder):
        super().__init__()
        self.decoder = decoder

    def forward(self, latents: Tensor, noise: Tensor, times: Tensor, embeddings: Tensor, nothing: Tensor) -> Losses:
        """Return the losses of a batch."""
        noisy, velocity = flow_pair(latents, noise, times)
        predicted = self.decoder(noisy, times, embeddings, nothing)
        return {"velocity_loss": (predicted.float() - velocity).square().mean()}


class Batches:
    """Draws noisy latents and their conditions.

    Args:
        views: Pictures.
        config: How often a row sees what.
        normalizer: Of the run.
        device: Where the batches go.
    """

    def __init__(
        self,
        views: Views,
        config: DecoderConfig,
        normalizer: EmbeddingNormalizer,
        device: torch.device,
    ):
        self.views, self.config, self.normalizer, self.device = views, config, normalizer, device

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Return the arguments of :class:`FlowLoss`."""
        rows = torch.randint(len(self.views.embeddings), (count,), generator=generator)
        embeddings, latents = self.views.draw(rows, generator)
        assert latents is not None
        embeddings = self.normalizer.normalize(embeddings)
        strength = self.config.embedding_noise * torch.rand(count, 1, generator=generator)
        embeddings = embeddings + strength * torch.randn(embeddings.shape, generator=generator)
        parts = (
            latents,
            torch.randn(latents.shape, generator=generator),
            logit_normal_times(count, generator),
            embeddings,
            dropped(count, self.config.drop_condition, generator),
        )
        return tuple(part.to(self.device) for part in parts)


def architecture(config: DecoderConfig) -> dict[str, int]:
    """Return what a recipe says of a new decoder."""
    names = ("patch_size", "heads", "head_dim", "layers", "tokens", "layout_channels")
    return {name: getattr(config, name) for name in names}


def train_decoder(stage: Stage[DecoderConfig]) -> None:
    """Train and export to ``RUN/export/decoder``."""
    config, cache = stage.config, stage.caches("image")["image"]
    encoder = stage.trained("encoder", MultimodalEncoder)
    autoencoder = stage.trained("autoencoder", AutoencoderDC)
    normalizer = load_or_fit_normalizer(stage, encoder)
    views = encode_views(cache, cache.where(split="train"), encoder, autoencoder, config.views, config.loop.seed)
    held_out = encode_views(cache, cache.where(split="validation"), encoder, autoencoder, 1, config.loop.seed)
    assert views.latents is not None
    torch.manual_seed(config.loop.seed)
    sizes = {
        "embedding_dim": encoder.image_embedding_dim,
        "latent_channels": views.latents.shape[2],
        "latent_size": views.latents.shape[3],
    }
    decoder = stage.initial(EmbeddingDecoder, lambda: EmbeddingDecoder(**sizes, **architecture(config)), **sizes)
    batches = Batches(views, config, normalizer, stage.device)
    held_out_batches = Batches(held_out, config, normalizer, stage.device)

    def loss(prepared: nn.Module, step: Step) -> Losses:
        return prepared(*batches.draw(step.batch_size, step.generator))

    def validate(model: Any) -> dict[str, float]:
        batch = held_out_batches.draw(512, torch.Generator().manual_seed(0))
        return {"held_out_velocity": float(model(*batch)["velocity_loss"])}

    trained = train(config.loop, FlowLoss(decoder), loss, stage.folder, validate=validate, description="decoder")
    stage.save(trained.decoder)
    print({"exported": str(stage.export), **validate(trained)})


if __name__ == "__main__":
    run_stage("decoder", __doc__, train_decoder)
