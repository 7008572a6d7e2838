"""The whole flow behind one call: prompts of any modality -> embeddings -> (prior) -> decoder -> pictures."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderDC, DDIMScheduler, FlowMatchEulerDiscreteScheduler
from diffusers.utils import BaseOutput
from PIL import Image
from torch import Tensor

from unclip_mm.autoencoder import decode_latents
from unclip_mm.checkpoints import CARD, VOCABULARY, fetch_checkpoint
from unclip_mm.completion import EmbeddingCompletion
from unclip_mm.decoder import EmbeddingDecoder
from unclip_mm.diffusion import noise_by_seed
from unclip_mm.embedding_pipeline import EmbeddingPipeline
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
    collect_prompt,
)
from unclip_mm.sampling import sample_decoder
from unclip_mm.upsampler import Upsampler

OUTPUT_TYPES = ("pil", "np", "pt")
_FETCHING = ("revision", "token", "cache_dir", "local_files_only", "force_download")


@dataclass
class UnCLIPOutput(BaseOutput):
    """What the pipeline returns.

    Attributes:
        images: Pictures, prompt-major: all of the first prompt's, then the second's. PIL images, or floats
            (N, H, W, 3) in [0, 1] as an array, or (N, 3, H, W) in [0, 1] as a tensor.
        seeds: One a picture; the same seed and prompt give the same picture again, alone or in a batch.
        embeddings: The prompts' embeddings, where the prompts were not whole image embeddings already.
        asked_prior: Whether the prior was asked; where it was not, there was nothing to guess or it was not wanted.
        prior_guidance_scales: How it was guided, one a picture; None where it was not asked.
    """

    images: list[Image.Image] | np.ndarray | Tensor
    seeds: list[int]
    embeddings: Embeddings | None
    asked_prior: bool
    prior_guidance_scales: list[float] | None


class UnCLIPMultimodalPipeline(EmbeddingPipeline):
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
    def from_pretrained(
        cls, name: str | Path, dtype: torch.dtype | None = None, **options: Any
    ) -> UnCLIPMultimodalPipeline:
        """Load a bundled model by name ("pictograms"), a local folder, or a model on the hub.

        Args:
            name: Which.
            dtype: The numbers to compute with, float32 by default, whatever the weights are stored as. Taken here, as
                versions of diffusers differ in what they call it.
            options: Of diffusers' ``from_pretrained``; ``revision``, ``token``, ``cache_dir``, ``local_files_only`` and
                ``force_download`` say how a model on the hub is fetched.

        Raises:
            CheckpointError: There is no such model, it cannot be fetched, it is another pipeline's, or weights are
                missing in it.
            InputError: ``dtype`` is none.
        """
        if dtype is not None and not isinstance(dtype, torch.dtype):
            raise InputError(f"dtype: {dtype!r} is none; give torch.float32, torch.bfloat16 or torch.float16")
        fetching = {key: options.pop(key) for key in _FETCHING if key in options}
        pipe = super().from_pretrained(fetch_checkpoint(name, **fetching), **options)
        for part, component in pipe.components.items():
            if isinstance(component, torch.nn.Module):
                _check_complete(f"{name}: {part}", component)
                if dtype is not None:  # by torch itself: diffusers' own warns of modules to keep in float32, with none
                    torch.nn.Module.to(component, dtype)
        return pipe

    def save_pretrained(self, save_directory: str | Path, *arguments: Any, **options: Any) -> None:
        """Write a folder that :meth:`from_pretrained` reads.

        Weights are written as what they are loaded as: from a model of half precision, load with ``dtype=torch.float16``
        to keep its size. What lies beside the parts of the model that was loaded, its card and the list of what it was
        taught, is copied: edit the card where parts were replaced.

        Args:
            save_directory: The folder; made if it is not there.
            arguments, options: Of diffusers' ``save_pretrained``.
        """
        loaded_from, folder = self.config.get("_name_or_path"), Path(save_directory)
        for name in (CARD, VOCABULARY) if loaded_from else ():
            source, target = Path(loaded_from) / name, folder / name
            if source.is_file() and source.resolve() != target.resolve():
                folder.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)
        super().save_pretrained(save_directory, *arguments, **options)

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
        style: str | Sequence[str | None] | None = None,
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
            weights: How much each modality counts, 0 or more; by default all alike. One that counts 0, or is not named
                among them, counts as not given.
            negative_text, negative_audio, negative_sketch, negative_image: What to move away from: one for all prompts,
                or one a prompt.
            num_images_per_prompt: Pictures a prompt.
            seeds: One for the first picture (the next ones count up), or one a picture; None draws them.
            num_inference_steps, prior_steps: Evaluations of decoder and prior.
            guidance_scale, prior_guidance_scale: From 0 to 100; 1 is no guidance. By default the model's, but the prior's
                at least 2 for a style, and 3 where there is something to move away from, which have less of a say else.
                What is for the prior, ``style`` too, is refused where it is not asked.
            use_prior: False takes what the prior would be asked with to one picture's embedding, whatever the seed.
            style: The name of one of :attr:`styles` for all prompts, or a list with one, or None, a prompt. Where the
                model was taught no picture of a thing in that style, the prior guesses one.
            upsample: Make them twice as large, by the model's upsampler.
            batch_size: Most pictures in memory at a time; results do not depend on it.
            output_type: "pil", "np" or "pt"; see :class:`UnCLIPOutput`.
            callback_on_step_end: ``f(pipe, step, time, {"latents": ...})`` after each step of the decoder.

        Raises:
            InputError: An input or an option cannot be used.
        """
        given = collect_prompt(
            self.modalities, text, audio, sketch, image, inputs, empty_allowed=embeddings is not None
        )
        negative = (negative_text, negative_audio, negative_sketch, negative_image)
        against = collect_prompt(self.modalities, *negative, None, empty_allowed=True, prefix="negative_")
        steps = check_count("num_inference_steps", num_inference_steps, self.config.num_inference_steps)
        scale = check_scale("guidance_scale", guidance_scale, self.config.guidance_scale)
        pictures = check_count("num_images_per_prompt", num_images_per_prompt, 1)
        size = check_count("batch_size", batch_size, 32)
        if output_type not in OUTPUT_TYPES:
            raise InputError(f"output_type: {output_type!r} is not known; give one of {', '.join(OUTPUT_TYPES)}")
        if upsample and self.upsampler is None:
            raise InputError("upsample: this model has no upsampler, and makes pictures of one size only")
        condition, vectors = self._condition(given, embeddings, weights, against)
        count = len(vectors)
        asked_prior = condition is not None and use_prior and self.prior is not None
        opposed = bool(against.sources)
        settings = self._prior_settings(asked_prior, count, prior_steps, prior_guidance_scale, style, opposed)
        _check_guided(
            against,
            *(("guidance_scale", scale) if settings is None else ("prior_guidance_scale", settings.scales[0])),
        )
        all_seeds = check_seeds(seeds, count * pictures, draw=lambda: secrets.randbelow(1 << 32))
        # Not recalled: as often as not it is a property, and the nearest caption is a thing that has it.
        led_from = self.normalizer.condition(self._encode(against)) if against.sources else None
        if led_from is not None and len(led_from) not in (1, count):
            raise InputError(
                f"{against.first}: {len(led_from)} for {count} prompts; give one for all of them, or one a prompt"
            )
        images = []
        rows = [row for row in range(count) for _ in range(pictures)]
        for start in range(0, len(rows), size):
            part, part_seeds = rows[start : start + size], all_seeds[start : start + size]
            embedded, away = vectors[part], None if led_from is None else led_from.expand(count, -1)[part]
            if settings is not None:
                embedded, away = self._ask_prior(embedded, part_seeds, settings.rows(part), away), None
            elif condition is not None:
                embedded, away = self._completed(embedded), None if away is None else self._completed(away)
            pixels = self._decode(embedded, part_seeds, steps, scale, away, callback_on_step_end)
            if upsample:
                pixels = self.upsampler(pixels, embedded.to(pixels.dtype))
            images.append((_finite(pixels).float() / 2 + 0.5).clamp(0, 1))
        guided = None if settings is None else settings.rows(rows).scales
        return UnCLIPOutput(_as_output(torch.cat(images), output_type), all_seeds, condition, asked_prior, guided)

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


def _finite(pixels: Tensor) -> Tensor:
    """Return pixels as they are; refuse to paint what came out as no number."""
    if not bool(pixels.isfinite().all()):
        raise InputError(
            "pictures: came out with numbers that are not finite; give less guidance, or load the model in float32"
        )
    return pixels


def _check_guided(against: Prompt, name: str, scale: float) -> None:
    """Refuse something to move away from where nothing moves."""
    if against.sources and scale == 1:
        raise InputError(f"{against.first}: has no say at {name} 1; give more, such as 2")


def _as_output(pixels: Tensor, output_type: str) -> list[Image.Image] | np.ndarray | Tensor:
    if output_type == "pt":
        return pixels
    array = pixels.permute(0, 2, 3, 1).cpu().numpy()
    if output_type == "np":
        return array
    return [Image.fromarray(picture) for picture in (array * 255).round().astype(np.uint8)]
