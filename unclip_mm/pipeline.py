"""The whole flow behind one call: prompts of any modality -> embeddings -> (prior) -> decoder -> pictures."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderDC, DDIMScheduler, DiffusionPipeline, FlowMatchEulerDiscreteScheduler
from diffusers.utils import BaseOutput
from PIL import Image
from torch import Tensor

from unclip_mm.autoencoder import decode_latents
from unclip_mm.checkpoints import find_checkpoint
from unclip_mm.completion import EmbeddingCompletion
from unclip_mm.decoder import EmbeddingDecoder
from unclip_mm.diffusion import noise_by_seed
from unclip_mm.embeddings import Embeddings
from unclip_mm.encoder import MultimodalEncoder
from unclip_mm.errors import CheckpointError, InputError
from unclip_mm.memory import EmbeddingMemory, Recall
from unclip_mm.normalizer import EmbeddingNormalizer
from unclip_mm.prior import MultimodalPrior
from unclip_mm.processing import MultimodalProcessor
from unclip_mm.prompts import (
    Prompt,
    check_count,
    check_scale,
    check_seeds,
    check_weights,
    collect_prompt,
    stored_prompt,
)
from unclip_mm.sampling import sample_decoder, sample_prior
from unclip_mm.upsampler import Upsampler

PRIOR_SEEDS = 1 << 40
"""Added to a seed for the prior's noise, so that prior and decoder never share theirs."""


@dataclass
class UnCLIPOutput(BaseOutput):
    """What the pipeline returns.

    Attributes:
        images: Pictures, prompt-major: all of the first prompt's, then the second's. PIL images, or floats
            (N, H, W, 3) in [0, 1] as an array, or (N, 3, H, W) in [0, 1] as a tensor.
        seeds: One a picture; the same seed and prompt give the same picture again, alone or in a batch.
        embeddings: The prompts' embeddings, where the prompts were not whole image embeddings already.
    """

    images: list[Image.Image] | np.ndarray | Tensor
    seeds: list[int]
    embeddings: Embeddings | None


class UnCLIPMultimodalPipeline(DiffusionPipeline):
    """Pictures from a text, a voice, a sound, a sketch, an image, a mix of them, or any embedding.

    Args:
        processor: Media to tensors.
        encoder: Tensors to embeddings.
        normalizer: Between embeddings and the space of prior and decoder.
        prior: Embeddings to an image embedding; None for a model that only works prior-free.
        prior_scheduler: Its noise schedule.
        upsampler: Pictures to such of twice the size; None for a model that has none.
        memory: The captions and pictures it was taught; None for a model without one.
        completion: What is asked to a whole image embedding, where no prior is wanted; None leaves its detail at the mean.
        decoder: Image embedding to latents.
        scheduler: Its flow-matching schedule.
        autoencoder: Latents to pixels.
        num_inference_steps, prior_steps, guidance_scale, prior_guidance_scale: The model's defaults.
        image_size: Side of the pictures in pixels.
        recall: Modality -> among the points of which modality the memory finds what is meant, before the prior is asked,
            and at what temperature: ``{"audio": ("text", 0.03)}``. Modalities that are not named, and what is to be moved
            away from, are taken as they are.

    Example:
        >>> from unclip_mm import UnCLIPMultimodalPipeline
        >>> pipe = UnCLIPMultimodalPipeline.from_pretrained("pictograms")
        >>> pipe.set_progress_bar_config(disable=True)
        >>> result = pipe(text="a red apple", seeds=7)
        >>> result.images[0].size, result.seeds
        ((128, 128), [7])
    """

    model_cpu_offload_seq = "encoder->prior->completion->decoder->autoencoder->upsampler"
    _optional_components = ["prior", "prior_scheduler", "upsampler", "memory", "completion"]

    def __init__(
        self,
        processor: MultimodalProcessor,
        encoder: MultimodalEncoder,
        normalizer: EmbeddingNormalizer,
        decoder: EmbeddingDecoder,
        scheduler: FlowMatchEulerDiscreteScheduler,
        autoencoder: AutoencoderDC,
        prior: MultimodalPrior | None = None,
        prior_scheduler: DDIMScheduler | None = None,
        upsampler: Upsampler | None = None,
        memory: EmbeddingMemory | None = None,
        completion: EmbeddingCompletion | None = None,
        num_inference_steps: int = 8,
        prior_steps: int = 10,
        guidance_scale: float = 1.5,
        prior_guidance_scale: float = 1.5,
        image_size: int = 64,
        recall: Recall | None = None,
    ):
        super().__init__()
        self.register_modules(
            processor=processor,
            encoder=encoder,
            normalizer=normalizer,
            decoder=decoder,
            scheduler=scheduler,
            autoencoder=autoencoder,
            prior=prior,
            prior_scheduler=prior_scheduler,
            upsampler=upsampler,
            memory=memory,
            completion=completion,
        )
        self.register_to_config(
            num_inference_steps=num_inference_steps,
            prior_steps=prior_steps,
            guidance_scale=guidance_scale,
            prior_guidance_scale=prior_guidance_scale,
            image_size=image_size,
            recall={name: list(among) for name, among in (recall or {}).items()},
        )

    @classmethod
    def from_pretrained(cls, name: str | Path, **options: Any) -> UnCLIPMultimodalPipeline:
        """Load a bundled model by name ("pictograms"), a local folder, or a model on the hub.

        Raises:
            CheckpointError: There is no such model, it is another pipeline's, or weights are missing in it.
        """
        pipe = super().from_pretrained(find_checkpoint(name), **options)
        for part, component in pipe.components.items():
            if isinstance(component, torch.nn.Module):
                _check_complete(f"{name}: {part}", component)
        return pipe

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities that this model takes."""
        return self.encoder.modalities

    @torch.no_grad()
    def encode(
        self,
        text: Any = None,
        audio: Any = None,
        sketch: Any = None,
        image: Any = None,
        inputs: Mapping[str, Any] | None = None,
    ) -> Embeddings:
        """Encode prompts; a list is a batch, and None in a list means that this row lacks the modality.

        Args:
            text, audio, sketch, image: One input or a list; what :mod:`unclip_mm.inputs` opens.
            inputs: Other modalities of the model by name.

        Returns:
            Embeddings of B rows.

        Raises:
            InputError: An input cannot be used.

        Example:
            >>> from unclip_mm import UnCLIPMultimodalPipeline
            >>> UnCLIPMultimodalPipeline.from_pretrained("pictograms").encode(text=["a cat", "a dog"]).vectors.shape
            torch.Size([2, 1, 256])
        """
        return self._encode(collect_prompt(self.modalities, text, audio, sketch, image, inputs))

    def _encode(self, prompt: Prompt) -> Embeddings:
        vectors, present = {}, {}
        for modality, sources in prompt.sources.items():
            rows = [row for row, source in enumerate(sources) if source is not None]
            tensors = self._process(modality, [sources[row] for row in rows], rows)
            embedded = self.encoder.embed(modality, self.encoder.features(modality, tensors))
            vectors[modality] = embedded.new_zeros(len(sources), self.encoder.dim)
            vectors[modality][rows] = embedded
            present[modality] = torch.tensor([source is not None for source in sources], device=embedded.device)
        return Embeddings.from_dict(vectors, present)

    def _process(self, modality: str, sources: Sequence[Any], rows: Sequence[int] | None = None) -> dict[str, Tensor]:
        tensors = self.processor({modality: sources}, rows)[modality]
        return {name: values.to(self.device) for name, values in tensors.items()}

    @torch.no_grad()
    def image_embeddings(self, image: Any) -> Tensor:
        """Return whole image embeddings (B, E), aligned part and detail, which need no prior; store and reuse them.

        Example:
            >>> from unclip_mm import UnCLIPMultimodalPipeline
            >>> pipe = UnCLIPMultimodalPipeline.from_pretrained("pictograms")
            >>> pipe.set_progress_bar_config(disable=True)
            >>> pipe.image_embeddings(pipe(text="a red apple", seeds=7).images).shape
            torch.Size([1, 640])
        """
        sources = collect_prompt(self.modalities, None, None, None, image, None).sources["image"]
        return self.encoder.image_embedding(self.encoder.features("image", self._process("image", sources)))

    @torch.no_grad()
    def meaning(self, embeddings: Embeddings, weights: Mapping[str, float] | None = None) -> Tensor:
        """Return what prompts mean, as the prior is asked: unit vectors (B, D), where images lie.

        Each modality is moved to where images lie, and looked up in the memory if the model does so with it; what a row
        consists of is then averaged.

        Args:
            embeddings: Of B prompts, as :meth:`encode` returns them.
            weights: How much each modality counts, 0 or more; by default all alike.

        Example:
            >>> from unclip_mm import UnCLIPMultimodalPipeline
            >>> pipe = UnCLIPMultimodalPipeline.from_pretrained("pictograms")
            >>> old, new = pipe.meaning(pipe.encode(text=["my old bicycle", "bicycle"]))
            >>> bool(old @ new > 0.9)
            True
        """
        moved = self.normalizer.moved(embeddings)
        if self.memory is not None:
            moved = self.memory.recall_each(moved, self.config.recall)
        return moved.mix(weights)

    @torch.no_grad()
    def imagine(
        self,
        text: Any = None,
        audio: Any = None,
        sketch: Any = None,
        image: Any = None,
        *,
        inputs: Mapping[str, Any] | None = None,
        embeddings: Embeddings | np.ndarray | Tensor | None = None,
        weights: Mapping[str, float] | None = None,
        seeds: int | Sequence[int] | None = None,
        prior_steps: int | None = None,
        prior_guidance_scale: float | None = None,
        use_prior: bool = True,
    ) -> Tensor:
        """Return the whole image embeddings (B, E) that prompts come to: what the call would decode.

        Give them to the call as ``embeddings=`` to decode them with several seeds, or points between them. Images
        alone need no prior: theirs are returned as they are. Options mean what they mean to the call.

        Raises:
            InputError: An input or an option cannot be used.

        Example:
            >>> from unclip_mm import UnCLIPMultimodalPipeline
            >>> pipe = UnCLIPMultimodalPipeline.from_pretrained("pictograms")
            >>> pipe.set_progress_bar_config(disable=True)
            >>> apple, pear = pipe.imagine(text=["a red apple", "a pear"], seeds=[7, 7])
            >>> between = pipe(embeddings=(apple + pear) / 2, seeds=7).images[0]
        """
        given = collect_prompt(
            self.modalities, text, audio, sketch, image, inputs, empty_allowed=embeddings is not None
        )
        steps = check_count("prior_steps", prior_steps, self.config.prior_steps)
        scale = check_scale("prior_guidance_scale", prior_guidance_scale, self.config.prior_guidance_scale)
        condition, whole = self._condition(given, embeddings, Prompt({}))
        if condition is not None:
            asked = self.meaning(condition, check_weights(weights, condition.modalities))
            chosen = check_seeds(seeds, len(asked), draw=lambda: secrets.randbelow(1 << 32))
            through_prior = use_prior and self.prior is not None
            whole = self._ask_prior(asked, chosen, steps, scale, None) if through_prior else self._completed(asked)
        assert whole is not None
        return self.normalizer.denormalize(whole)

    @torch.no_grad()
    def __call__(
        self,
        text: Any = None,
        audio: Any = None,
        sketch: Any = None,
        image: Any = None,
        *,
        inputs: Mapping[str, Any] | None = None,
        embeddings: Embeddings | np.ndarray | Tensor | None = None,
        weights: Mapping[str, float] | None = None,
        negative_text: Any = None,
        negative_audio: Any = None,
        negative_sketch: Any = None,
        negative_image: Any = None,
        num_images_per_prompt: int = 1,
        seeds: int | Sequence[int] | None = None,
        num_inference_steps: int | None = None,
        prior_steps: int | None = None,
        guidance_scale: float | None = None,
        prior_guidance_scale: float | None = None,
        use_prior: bool = True,
        upsample: bool = False,
        batch_size: int = 32,
        output_type: str = "pil",
        callback_on_step_end: Callable[[Any, int, float, dict[str, Tensor]], Any] | None = None,
    ) -> UnCLIPOutput:
        """Make pictures.

        Args:
            text, audio, sketch, image: One input or a list. Lists of one prompt must be equally long, or of length 1.
                An image alone, with nothing to move away from, needs no prior: its own embedding is decoded.
            inputs: Other modalities of the model by name.
            embeddings: In place of inputs: ``Embeddings``; or (B, D) aligned vectors; or (B, E) image embeddings.
            weights: How much each modality counts, 0 or more; by default all alike.
            negative_text, negative_audio, negative_sketch, negative_image: What to move away from.
            num_images_per_prompt: Pictures a prompt.
            seeds: One for the first picture (the next ones count up), or one a picture; None draws them.
            num_inference_steps, prior_steps: Evaluations of decoder and prior.
            guidance_scale, prior_guidance_scale: 1 is no guidance.
            use_prior: False takes what the prior would be asked with to one picture's embedding, whatever the seed.
            upsample: Make them twice as large, by the model's upsampler.
            batch_size: Most pictures in memory at a time; results do not depend on it.
            output_type: "pil", "np" or "pt".
            callback_on_step_end: ``f(pipe, step, time, {"latents": ...})`` after each step of the decoder.

        Raises:
            InputError: An input or an option cannot be used.
        """
        given = collect_prompt(
            self.modalities, text, audio, sketch, image, inputs, empty_allowed=embeddings is not None
        )
        against = collect_prompt(
            self.modalities, negative_text, negative_audio, negative_sketch, negative_image, None, empty_allowed=True
        )
        steps = check_count("num_inference_steps", num_inference_steps, self.config.num_inference_steps)
        prior_steps = check_count("prior_steps", prior_steps, self.config.prior_steps)
        scale = check_scale("guidance_scale", guidance_scale, self.config.guidance_scale)
        prior_scale = check_scale("prior_guidance_scale", prior_guidance_scale, self.config.prior_guidance_scale)
        pictures = check_count("num_images_per_prompt", num_images_per_prompt, 1)
        condition, whole = self._condition(given, embeddings, against)
        through_prior = use_prior and self.prior is not None
        guided = ("prior_guidance_scale", prior_scale) if through_prior else ("guidance_scale", scale)
        _check_guided(against, *guided)
        if upsample and self.upsampler is None:
            raise InputError("upsample: this model has no upsampler, and makes pictures of one size only")
        prompts = whole if whole is not None else condition
        assert prompts is not None
        count = len(prompts)
        chosen_weights = check_weights(weights, ("image",) if condition is None else condition.modalities)
        all_seeds = check_seeds(seeds, count * pictures, draw=lambda: secrets.randbelow(1 << 32))
        negative = self._encode(against) if against.sources else None
        images = []
        rows = [row for row in range(count) for _ in range(pictures)]
        for start in range(0, len(rows), check_count("batch_size", batch_size, 32)):
            part, part_seeds = rows[start : start + batch_size], all_seeds[start : start + batch_size]
            if condition is None:
                assert whole is not None
                embedded, away = whole[part], None
            else:
                rows_now, away = condition.rows(part), None
                against_now = None if negative is None else _spread(negative, part)
                asked = self.meaning(rows_now, chosen_weights)
                # Not recalled: as often as not it is a property, and the nearest caption is a thing that has it.
                led_from = None if against_now is None else self.normalizer.condition(against_now)
                if through_prior:
                    embedded = self._ask_prior(asked, part_seeds, prior_steps, prior_scale, led_from)
                else:
                    embedded, away = self._completed(asked), None if led_from is None else self._completed(led_from)
            pixels = self._decode(embedded, part_seeds, steps, scale, away, callback_on_step_end)
            if upsample:
                pixels = self.upsampler(pixels, embedded.to(pixels.dtype))
            images.append((pixels.float() / 2 + 0.5).clamp(0, 1))
        return UnCLIPOutput(_as_output(torch.cat(images), output_type), all_seeds, condition)

    def _condition(self, given: Prompt, embeddings: Any, against: Prompt) -> tuple[Embeddings | None, Tensor | None]:
        """Return the embeddings of the prompt, or, where nothing is left to guess, whole image embeddings (B, E)."""
        if embeddings is not None:
            condition, whole = stored_prompt(embeddings, given, self.encoder.dim, whole_dim(self), self.modalities)
            if whole is None:
                assert condition is not None
                return condition.to(self.device), None
            if against.sources:
                raise InputError(
                    f"negative_{next(iter(against.sources))}: has no say beside whole image embeddings, which are "
                    f"decoded as they are; give aligned embeddings (B, {self.encoder.dim}) or inputs"
                )
            return None, self.normalizer.normalize(whole.to(self.device))
        only_images = set(given.sources) == {"image"} and all(source is not None for source in given.sources["image"])
        if only_images and not against.sources:
            tensors = self._process("image", given.sources["image"])
            return None, self.normalizer.normalize(
                self.encoder.image_embedding(self.encoder.features("image", tensors))
            )
        return self._encode(given), None

    def _ask_prior(self, asked: Tensor, seeds: Sequence[int], steps: int, scale: float, away: Tensor | None) -> Tensor:
        """Sample standardised image embeddings (B, E)."""
        noise = noise_by_seed((whole_dim(self),), [seed + PRIOR_SEEDS for seed in seeds], self.device)
        return sample_prior(self.prior, self.prior_scheduler, asked, noise, steps, scale, away)

    def _completed(self, asked: Tensor) -> Tensor:
        """Return standardised image embeddings (B, E) of what the prior would be asked with (B, D), without it."""
        if self.completion is not None:
            return self.completion(asked).float()
        aligned = self.normalizer.normalize_aligned(F.normalize(asked, dim=-1))
        return F.pad(aligned, (0, whole_dim(self) - self.encoder.dim))

    def _decode(
        self,
        embedded: Tensor,
        seeds: Sequence[int],
        steps: int,
        scale: float,
        away: Tensor | None,
        callback: Callable[..., Any] | None,
    ) -> Tensor:
        config = self.decoder.config
        shape = (config.latent_channels, config.latent_size, config.latent_size)
        noise = noise_by_seed(shape, seeds, self.device)
        with self.progress_bar(total=steps) as bar:

            def on_step(number: int, time: float, latents: Tensor) -> None:
                bar.update()
                if callback is not None:
                    callback(self, number, time, {"latents": latents})

            latents = sample_decoder(self.decoder, self.scheduler, embedded, noise, steps, scale, away, on_step)
        return decode_latents(self.autoencoder, latents.to(self.autoencoder.dtype))


def _check_complete(name: str, component: torch.nn.Module) -> None:
    """Refuse a part of which weights were not found; diffusers leaves those without a value."""
    lacking = [key for key, value in component.state_dict().items() if value.is_meta]
    if lacking:
        raise CheckpointError(
            f"{name} lacks {len(lacking)} of its weights ({lacking[0]} ...); they may be of another version of unclip-mm: "
            "assemble the model anew"
        )


def whole_dim(pipe: UnCLIPMultimodalPipeline) -> int:
    """Dimensions E of the image embedding."""
    return pipe.encoder.image_embedding_dim


def _check_guided(against: Prompt, name: str, scale: float) -> None:
    """Refuse something to move away from where nothing moves."""
    if against.sources and scale == 1:
        raise InputError(f"negative_{next(iter(against.sources))}: has no say at {name} 1; give more, such as 2")


def _spread(negative: Embeddings, rows: Sequence[int]) -> Embeddings:
    return negative.rows([0] * len(rows) if len(negative) == 1 else list(rows))


def _as_output(pixels: Tensor, output_type: str) -> list[Image.Image] | np.ndarray | Tensor:
    if output_type == "pt":
        return pixels
    array = pixels.permute(0, 2, 3, 1).cpu().numpy()
    if output_type == "np":
        return array
    return [Image.fromarray(picture) for picture in (array * 255).round().astype(np.uint8)]
