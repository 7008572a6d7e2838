"""One pipeline and the pictures it makes, one at a time. Knows nothing of gradio."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from demo.prompt import Prompt
from unclip_mm import __version__, inputs
from unclip_mm.checkpoints import is_bundled
from unclip_mm.png import save_png

if TYPE_CHECKING:
    from PIL import Image

    from unclip_mm import UnCLIPMultimodalPipeline

SETTINGS = ("num_inference_steps", "prior_steps", "guidance_scale", "prior_guidance_scale")
"""What the configuration of a pipeline holds a default of."""


@dataclass(frozen=True)
class Settings:
    """How to make a picture.

    Attributes:
        steps: Steps of the decoder.
        guidance: How closely the decoder follows the prompt.
        use_prior: Whether the prior runs, or the aligned embedding goes straight to the decoder.
        negative_text: What to lead the picture away from; blank for nothing.
    """

    steps: int
    guidance: float
    use_prior: bool = True
    negative_text: str = ""


@dataclass(frozen=True)
class Picture:
    """A picture, its seed, and what its file tells about how it was made."""

    image: Image.Image
    seed: int
    metadata: dict[str, Any]

    def save(self, folder: Path) -> Path:
        """Write a PNG with its metadata into a folder, named after the seed."""
        path = folder / f"unclip-{self.seed}.png"
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
        self.defaults = {name: pipeline.config[name] for name in SETTINGS}
        self._lock = threading.Lock()

    def paint(
        self,
        prompt: Prompt,
        seeds: list[int],
        settings: Settings,
        *,
        on_step: Callable[[int, int], None] | None = None,
    ) -> Iterator[Picture]:
        """Make one picture a seed; each is given away as soon as it is done.

        Args:
            prompt: What to make a picture from.
            seeds: One a picture. A seed gives the same picture alone and among others.
            settings: How to make it.
            on_step: Called with the number of steps done and of all steps, over all pictures.

        Raises:
            InputError: Something of the prompt or of the settings cannot be used.
        """
        call: dict[str, Any] = {
            "weights": prompt.weights,
            "num_inference_steps": settings.steps,
            "guidance_scale": settings.guidance,
            "use_prior": settings.use_prior,
        }
        if settings.negative_text.strip():
            call["negative_text"] = inputs.check_text(settings.negative_text, name="negative text")
        facts = {
            "prompt": prompt.description,
            "model": self.name,
            "weights": prompt.weights,
            "negative": {"text": call["negative_text"]} if "negative_text" in call else {},
            "use_prior": settings.use_prior,
            **self.defaults,
            "num_inference_steps": settings.steps,
            "guidance_scale": settings.guidance,
            "version": __version__,
        }
        with self._lock:
            embeddings = self._embed(prompt, opposed="negative_text" in call)
        for index, seed in enumerate(seeds):

            def step_done(
                _: Any, step: int, __: Any, values: dict[str, Any], done: int = index * settings.steps
            ) -> dict[str, Any]:
                if on_step is not None:
                    on_step(done + step + 1, len(seeds) * settings.steps)
                return values

            with self._lock:
                made = self.pipeline(embeddings=embeddings, seeds=[seed], callback_on_step_end=step_done, **call)
            yield Picture(cast("Image.Image", made.images[0]), seed, {**facts, "seed": seed})

    def _embed(self, prompt: Prompt, opposed: bool) -> Any:
        """Encode a prompt once for all its pictures; an image alone is decoded from its own whole embedding."""
        if set(prompt.media) == {"image"} and not opposed:
            return self.pipeline.image_embeddings(prompt.media["image"])
        return self.pipeline.encode(**prompt.media)
