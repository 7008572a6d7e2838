"""What a pipeline does before it paints: prompts -> embeddings -> (prior or completion) -> image embeddings."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import DDIMScheduler, DiffusionPipeline
from torch import Tensor

from unclip_mm.completion import EmbeddingCompletion
from unclip_mm.diffusion import noise_by_seed
from unclip_mm.embeddings import Embeddings
from unclip_mm.encoder import MultimodalEncoder
from unclip_mm.errors import InputError
from unclip_mm.memory import EmbeddingMemory
from unclip_mm.normalizer import EmbeddingNormalizer
from unclip_mm.processing import MultimodalProcessor
from unclip_mm.prompts import (
    Prompt,
    check_count,
    check_no_say,
    check_scale,
    check_seeds,
    check_size,
    check_styles,
    check_weights,
    collect_prompt,
    stored_prompt,
)
from unclip_mm.sampling import sample_prior

STYLE_GUIDANCE, AWAY_GUIDANCE = 2.0, 3.0
"""Least guidance of the prior where a style is asked for, and where something is to be moved away from, unless the caller
says: at less the one comes less often, and the other hardly at all."""


class PriorSettings(NamedTuple):
    """How the prior is asked: with how many steps, how much guidance (B,), and for which styles (B,), None for any."""

    steps: int
    scales: list[float]
    styles: Tensor | None

    def rows(self, rows: Sequence[int]) -> PriorSettings:
        """Take the settings of some prompts."""
        styles = None if self.styles is None else self.styles[rows]
        return self._replace(scales=[self.scales[row] for row in rows], styles=styles)


class EmbeddingPipeline(DiffusionPipeline):
    """The half of :class:`unclip_mm.UnCLIPMultimodalPipeline` that paints nothing; that one says what the parts are."""

    processor: MultimodalProcessor
    encoder: MultimodalEncoder
    normalizer: EmbeddingNormalizer
    prior: Any
    prior_scheduler: DDIMScheduler
    memory: EmbeddingMemory | None
    completion: EmbeddingCompletion | None

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities that this model takes."""
        return self.encoder.modalities

    @property
    def styles(self) -> tuple[str, ...]:
        """The styles that pictures may be asked for in; empty for a model that was told of none."""
        return () if self.prior is None else tuple(self.prior.config.styles)

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
            tensors = self._process(modality, [sources[row] for row in rows], rows, prompt.prefix)
            embedded = self.encoder.embed(modality, self.encoder.features(modality, tensors))
            vectors[modality] = embedded.new_zeros(len(sources), self.encoder.dim)
            vectors[modality][rows] = embedded
            present[modality] = torch.tensor([source is not None for source in sources], device=embedded.device)
        return Embeddings.from_dict(vectors, present)

    def _process(
        self, modality: str, sources: Sequence[Any], rows: Sequence[int] | None = None, prefix: str = ""
    ) -> dict[str, Tensor]:
        tensors = self.processor.prompt(modality, sources, rows, prefix)
        dtype = self.encoder.dtype
        return {name: v.to(self.device, dtype if v.is_floating_point() else None) for name, v in tensors.items()}

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
        style: str | Sequence[str | None] | None = None,
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
        condition, vectors = self._condition(given, embeddings, weights, Prompt({}))
        asked_prior = condition is not None and use_prior and self.prior is not None
        settings = self._prior_settings(asked_prior, len(vectors), prior_steps, prior_guidance_scale, style)
        if settings is not None:
            chosen = check_seeds(seeds, len(vectors), draw=lambda: secrets.randbelow(1 << 32))
            vectors = self._ask_prior(vectors, chosen, settings)
        elif condition is not None:
            vectors = self._completed(vectors)
        return self.normalizer.denormalize(vectors)

    def _condition(
        self, given: Prompt, embeddings: Any, weights: Mapping[str, float] | None, against: Prompt
    ) -> tuple[Embeddings | None, Tensor]:
        """Return the embeddings of the prompt, and what they mean (B, D).

        Where nothing is left to guess there are none, and what is returned is whole: standardised image embeddings (B, E).
        """
        condition = None
        if embeddings is not None:
            condition, whole = stored_prompt(
                embeddings, given, self.encoder.dim, self.encoder.image_embedding_dim, self.modalities
            )
            if whole is not None:
                if against.sources:
                    raise InputError(
                        f"{against.first}: has no say beside whole image embeddings, which are decoded as they are; give "
                        f"aligned embeddings (B, {self.encoder.dim}) or inputs"
                    )
                check_weights(weights, ("image",))
                return None, check_size(self.normalizer.normalize(whole.to(self.device)))
        present = tuple(given.sources) if condition is None else condition.modalities
        counting = check_weights(weights, present)
        used = [name for name in present if counting is None or name in counting]
        if condition is None:
            given = given.only(used)
            if used == ["image"] and None not in given.sources["image"] and not against.sources:
                tensors = self._process("image", given.sources["image"])
                whole = self.encoder.image_embedding(self.encoder.features("image", tensors))
                return None, self.normalizer.normalize(whole)
            condition = self._encode(given)
        else:
            condition = condition.select(used).to(self.device)
        return condition, self.meaning(condition, counting)

    def _prior_settings(
        self,
        asked: bool,
        count: int,
        steps: int | None,
        scale: float | None,
        style: str | Sequence[str | None] | None,
        away: bool = False,
    ) -> PriorSettings | None:
        """Return how the prior is asked of ``count`` prompts; None where it is not, and nothing may be asked of it."""
        if not asked:
            check_no_say(prior_steps=steps, prior_guidance_scale=scale, style=style)
            return None
        names = check_styles(style, count, self.styles)
        most = self.prior_scheduler.config.num_train_timesteps
        least = AWAY_GUIDANCE if away else 0.0
        usual = max(least, self.config.prior_guidance_scale)
        styled = [usual if name is None else max(usual, STYLE_GUIDANCE) for name in names or [None] * count]
        return PriorSettings(
            check_count("prior_steps", steps, self.config.prior_steps, most),
            [check_scale("prior_guidance_scale", scale, default) for default in styled],
            None if names is None else self.prior.style_numbers(names),
        )

    def _ask_prior(
        self, asked: Tensor, seeds: Sequence[int], settings: PriorSettings, away: Tensor | None = None
    ) -> Tensor:
        """Sample standardised image embeddings (B, E)."""
        noise = noise_by_seed((self.encoder.image_embedding_dim,), seeds, self.device, stream="prior")
        steps, scales, style = settings
        scale = torch.tensor(scales)
        return sample_prior(self.prior, self.prior_scheduler, asked, noise, steps, scale, away, style=style)

    def _completed(self, asked: Tensor) -> Tensor:
        """Return standardised image embeddings (B, E) of what the prior would be asked with (B, D), without it."""
        if self.completion is not None:
            return self.completion(asked).float()
        aligned = self.normalizer.normalize_aligned(F.normalize(asked, dim=-1))
        return F.pad(aligned, (0, self.encoder.image_embedding_dim - self.encoder.dim))
