"""One pipeline and what is made and told with it, for one visitor at a time. Knows nothing of gradio."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from demo.prompt import Prompt
from unclip_mm import __version__, inputs
from unclip_mm.checkpoints import CARD, VOCABULARY, fetch_checkpoint, is_bundled
from unclip_mm.png import save_png

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from unclip_mm import UnCLIPMultimodalPipeline

EACH_STYLE = "*"
"""In place of a style: the picture's seed chooses, so that pictures whose seeds count up come in all styles in turn."""
SETTINGS = ("num_inference_steps", "prior_steps", "guidance_scale", "prior_guidance_scale")
"""What the configuration of a pipeline holds a default of."""
BATCH = 64

OnStep = Callable[[int, int], None]
"""Called with the number of steps done and of all steps, over all pictures."""


@dataclass(frozen=True)
class Settings:
    """How to make a picture.

    Attributes:
        steps: Steps of the decoder; None for the model's default.
        guidance: How closely the decoder follows the prompt; None for the model's default.
        use_prior: Whether the prior runs; else a prompt means one picture, whatever the seed.
        upsample: Whether pictures are made twice as large.
        negative_text: What to lead the picture away from; blank for nothing.
        style: One of the model's styles; None for any; ``EACH_STYLE`` for the next one with every seed.
    """

    steps: int | None = None
    guidance: float | None = None
    use_prior: bool = True
    upsample: bool = False
    negative_text: str = ""
    style: str | None = None


@dataclass(frozen=True)
class Picture:
    """A picture, its seed, and what its file tells about how it was made."""

    image: Image.Image
    seed: int
    metadata: dict[str, Any]

    def save(self, folder: Path, name: str | None = None) -> Path:
        """Write a PNG with its metadata into a folder, named after the seed if not otherwise."""
        path = folder / f"unclip-{name or self.seed}.png"
        save_png(self.image, path, self.metadata)
        return path


class Studio:
    """A loaded pipeline that several visitors share.

    Args:
        pipeline: What makes the pictures. It is used by one thread at a time.
        checkpoint: Where it came from: a bundled name, a folder or a hub id.
    """

    def __init__(self, pipeline: UnCLIPMultimodalPipeline, checkpoint: str) -> None:
        self.pipeline = pipeline
        self.name = checkpoint if is_bundled(checkpoint) or not Path(checkpoint).is_dir() else Path(checkpoint).name
        self.has_prior = pipeline.prior is not None
        self.has_upsampler = pipeline.upsampler is not None
        self.styles = pipeline.styles
        self.defaults = {name: pipeline.config[name] for name in SETTINGS}
        self.folder = fetch_checkpoint(checkpoint)
        self._lock = threading.Lock()

    def paint(
        self, prompt: Prompt, seeds: list[int], settings: Settings, *, on_step: OnStep | None = None
    ) -> Iterator[Picture]:
        """Make one picture a seed; each is given away as soon as it is done.

        Args:
            prompt: What to make a picture from.
            seeds: One a picture. A seed gives the same picture alone and among others.
            settings: How to make it.
            on_step: Called as the work goes on.

        Raises:
            InputError: Something of the prompt or of the settings cannot be used.
        """
        call: dict[str, Any] = {
            "weights": prompt.weights,
            "use_prior": settings.use_prior,
            "style": settings.style,
        }
        if settings.negative_text.strip():
            call["negative_text"] = settings.negative_text.strip()
        negative = {"text": call["negative_text"]} if "negative_text" in call else {}
        facts = {
            "prompt": prompt.description,
            "weights": prompt.weights,
            "negative": negative,
            "style": settings.style,
        }
        with self._lock:
            embeddings = self._embed(prompt, opposed=bool(negative))
        yield from self._decode([embeddings] * len(seeds), seeds, settings, call, facts, on_step)

    def slide(
        self, start: Prompt, end: Prompt, stops: int, seed: int, settings: Settings, *, on_step: OnStep | None = None
    ) -> Iterator[Picture]:
        """Make pictures of evenly spaced points between two prompts, all from the same noise.

        The way goes through the image embeddings that the prompts come to, layout and style included.

        Raises:
            InputError: A prompt cannot be used, or nothing lies between the two (they point in opposite directions).
        """
        from unclip_mm import slerp

        with self._lock:
            first, last = (self._end(prompt, seed, settings) for prompt in (start, end))
        asked_prior = self.has_prior and settings.use_prior and any(set(end.media) != {"image"} for end in (start, end))
        facts = {"prompt": {"from": start.description, "to": end.description}, "use_prior": asked_prior}
        shares = [stop / (stops - 1) for stop in range(stops)]
        between = [
            slerp(first, last, share) * (first.norm() + share * (last.norm() - first.norm())) for share in shares
        ]
        yield from self._decode(between, [seed] * stops, settings, {}, facts, on_step)

    def add(
        self,
        start: Prompt,
        minus: str,
        plus: str,
        seeds: list[int],
        settings: Settings,
        *,
        on_step: OnStep | None = None,
    ) -> Iterator[Picture]:
        """Take some words away from a prompt and add others, in the shared space; make one picture a seed.

        Raises:
            InputError: Something cannot be used, or nothing is left of the sum.
        """
        from unclip_mm import arithmetic

        words = {
            name: inputs.check_text(text, name=name)
            for name, text in (("minus", minus), ("plus", plus))
            if text.strip()
        }
        with self._lock:
            begin = self._condition(start)
            moved = {name: self._condition(Prompt({"text": text})) for name, text in words.items()}
        total = arithmetic(
            [begin, *(moved[n] for n in moved if n == "plus")], [moved[n] for n in moved if n == "minus"]
        )
        facts = {"prompt": {**start.description, **words}}
        call = {"use_prior": settings.use_prior}
        yield from self._decode([total] * len(seeds), seeds, settings, call, facts, on_step)

    @cached_property
    def words(self) -> list[str]:
        """What the model was taught to draw, a caption each; empty where the checkpoint does not say."""
        file = self.folder / VOCABULARY
        return file.read_text(encoding="utf-8").split("\n")[:-1] if file.is_file() else []

    @cached_property
    def word_vectors(self) -> Tensor:
        """Where the words lie: unit vectors (N, D). The model remembers them, or they are embedded once, in seconds."""
        import torch

        memory = self.pipeline.memory
        if memory is not None and memory.config.counts.get("text") == len(self.words):
            return memory.vectors("text")  # both are in the order of the words
        parts = []
        for start in range(0, len(self.words), BATCH):
            with self._lock:
                parts.append(self._condition(Prompt({"text": self.words[start : start + BATCH]})))
        return torch.cat(parts)

    def recognise(self, prompt: Prompt, most: int = 8) -> list[tuple[str, float]]:
        """Name the words nearest to a prompt, with their cosines."""
        cosines = (self.word_vectors @ self.locate(prompt)).clamp(0, 1).tolist()
        ranked = sorted(zip(self.words, cosines, strict=True), key=lambda pair: -pair[1])
        return ranked[:most]

    def cosines(self, prompt: Prompt) -> dict[tuple[str, str], tuple[float, float]]:
        """Compare the modalities of one prompt: cosine as encoded, and once each is moved to where images lie."""
        with self._lock:
            embeddings = self.pipeline.encode(**prompt.media)
            moved = self.pipeline.normalizer.moved(embeddings)
        names = embeddings.modalities
        return {
            (a, b): (float(embeddings[a][0] @ embeddings[b][0]), float(moved[a][0] @ moved[b][0]))
            for i, a in enumerate(names)
            for b in names[i + 1 :]
        }

    def locate(self, prompt: Prompt) -> Tensor:
        """Return where a prompt lies among the images, as the model takes it: a unit vector (D,)."""
        with self._lock:
            return self.pipeline.meaning(self.pipeline.encode(**prompt.media), prompt.weights)[0]

    def embed_images(self, images: Sequence[Any]) -> Tensor:
        """Return the aligned unit vectors (N, D) of images."""
        with self._lock:
            return self.pipeline.encode(image=list(images))["image"]

    def card(self) -> str:
        """Return the model card, without its header; empty where there is none."""
        file = self.folder / CARD
        if not file.is_file():
            return ""
        text = file.read_text(encoding="utf-8")
        return text.split("---\n", 2)[2] if text.startswith("---\n") else text

    def _embed(self, prompt: Prompt, opposed: bool) -> Any:
        """Encode a prompt once for all its pictures; an image alone is decoded from its own whole embedding."""
        if set(prompt.media) == {"image"} and not opposed:
            return self.pipeline.image_embeddings(prompt.media["image"])
        return self.pipeline.encode(**prompt.media)

    def _condition(self, prompt: Prompt) -> Tensor:
        """Return unit vectors (B, D): the weighed mean of a prompt's modalities, moved to where images lie."""
        return self.pipeline.normalizer.condition(self.pipeline.encode(**prompt.media), prompt.weights)

    def _end(self, prompt: Prompt, seed: int, settings: Settings) -> Tensor:
        """Return the image embedding (E,) that a prompt comes to."""
        weights = prompt.weights if len(prompt.media) > 1 else None
        return self.pipeline.imagine(**prompt.media, weights=weights, seeds=seed, use_prior=settings.use_prior)[0]

    def _decode(
        self,
        embeddings: Sequence[Any],
        seeds: Sequence[int],
        settings: Settings,
        call: dict[str, Any],
        facts: dict[str, Any],
        on_step: OnStep | None,
    ) -> Iterator[Picture]:
        """Make one picture an embedding and seed, and give each away as soon as it is done."""
        steps = settings.steps or self.defaults["num_inference_steps"]
        guidance = self.defaults["guidance_scale"] if settings.guidance is None else settings.guidance
        chosen: dict[str, Any] = {"num_inference_steps": steps, "guidance_scale": guidance}
        chosen["upsample"] = settings.upsample
        told = {"model": self.name, **self.defaults, **chosen, "version": __version__}
        for index, (vectors, seed) in enumerate(zip(embeddings, seeds, strict=True)):
            in_turn = self.styles and call.get("style") == EACH_STYLE
            styled = {"style": self.styles[seed % len(self.styles)]} if in_turn else {}

            def step_done(
                _: Any, step: int, __: Any, values: dict[str, Any], done: int = index * steps
            ) -> dict[str, Any]:
                if on_step is not None:
                    on_step(done + step + 1, len(seeds) * steps)
                return values

            with self._lock:
                made = self.pipeline(
                    embeddings=vectors, seeds=[seed], callback_on_step_end=step_done, **{**chosen, **call, **styled}
                )
            scales = made.prior_guidance_scales
            guided = {"prior_guidance_scale": scales[0]} if scales else {}
            how = {**told, **guided, "use_prior": made.asked_prior, **facts, **styled}
            unasked = {} if how["use_prior"] else {name: None for name in how if name.startswith("prior_")}
            yield Picture(cast("Image.Image", made.images[0]), seed, {**how, **unasked, "seed": seed})
