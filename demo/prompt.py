"""From what a visitor gave on the page to a checked prompt. Knows nothing of gradio."""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from unclip_mm import InputError, inputs
from unclip_mm.seeds import MAX_SEED, count_up

MODALITIES = ("text", "audio", "sketch", "image")
NAMES = {"text": "text", "audio": "sound", "sketch": "sketch", "image": "image"}
"""What the page calls each modality, in its labels and its messages."""
PARAMETERS = {
    "negative_text": "Away from",
    "num_inference_steps": "Steps",
    "guidance_scale": "Guidance",
    "prior_guidance_scale": "the prior's guidance",
    "use_prior=False": "the prior off",
    "style": "Style",
}
"""What the page calls the parameters of the pipeline."""
MAX_PICTURES = 8
NOTHING_GIVEN = "Nothing to make a picture from: type some words, add a sound, draw a sketch, or upload an image."

_FAINT = 8
"""Pixels of a drawing layer up to this opacity, of 255, are no stroke."""


@dataclass(frozen=True)
class Prompt:
    """What to make a picture from, decoded and checked.

    Attributes:
        media: For each modality that is given, what :mod:`unclip_mm.inputs` made of it: a string, (samples,) float32 at
            16 kHz, or a PIL image.
        weights: How much each modality counts, or None where the model is to weigh them itself.
        description: For each modality a few words for the metadata of the pictures.
    """

    media: dict[str, Any]
    weights: dict[str, float] | None = None
    description: dict[str, str] = field(default_factory=dict)


def read_prompt(
    text: str | None = None,
    audio: str | None = None,
    sketch: Mapping[str, Any] | None = None,
    image: str | None = None,
    weights: Mapping[str, float] | None = None,
) -> Prompt:
    """Decode and check what was given; what was left empty on the page is left out.

    Args:
        text: Words; blank counts as not given.
        audio: The path of a sound file.
        sketch: The value of a sketch editor, see :func:`drawing_on`; an untouched canvas counts as not given.
        image: The path of an image file.
        weights: For each modality a number from 0 on; those of modalities that are not given are not used. What counts
            0 is checked, and left out like what is not given.

    Raises:
        InputError: Nothing is given, something given cannot be used, or all weights in use are zero.

    Example:
        >>> prompt = read_prompt(text=" a red apple ", weights={"text": 1.0, "audio": 0.5})
        >>> prompt.media, prompt.weights
        ({'text': 'a red apple'}, None)
        >>> read_prompt(text="  ")
        Traceback (most recent call last):
        ...
        unclip_mm.errors.InputError: Nothing to make a picture from: type some words, ...
    """
    media: dict[str, Any] = {}
    description: dict[str, str] = {}
    if text and text.strip():
        media["text"] = description["text"] = inputs.check_text(text, name=NAMES["text"])
    if audio:
        media["audio"] = inputs.load_audio(audio, name=NAMES["audio"])
        description["audio"] = Path(audio).name
    drawing = drawing_on(sketch)
    if drawing is not None:
        media["sketch"] = inputs.load_sketch(drawing, name=NAMES["sketch"])
        description["sketch"] = "drawn on the page"
    if image:
        media["image"] = inputs.load_image(image, name=NAMES["image"])
        description["image"] = Path(image).name
    if not media:
        raise InputError(NOTHING_GIVEN)
    kept = read_weights(weights or {}, list(media))
    used = [name for name in media if kept is None or kept[name] > 0]
    return Prompt(
        {name: media[name] for name in used},
        None if kept is None else {name: kept[name] for name in used},
        {name: description[name] for name in used},
    )


def modalities_in_use(
    text: str | None, audio: str | None, sketch: Mapping[str, Any] | None, image: str | None
) -> list[str]:
    """Name the modalities that something is given for, without checking what it is.

    Example:
        >>> modalities_in_use("a cat", None, {"background": None, "layers": [], "composite": None}, "cat.png")
        ['text', 'image']
    """
    given = (bool(text and text.strip()), bool(audio), drawing_on(sketch) is not None, bool(image))
    return [modality for modality, there in zip(MODALITIES, given, strict=True) if there]


def drawing_on(canvas: Mapping[str, Any] | None) -> Image.Image | None:
    """Return what was drawn or put on a sketch editor, or None for an untouched canvas.

    Args:
        canvas: None, or a mapping with "background" and "composite", each a PIL image or None, and "layers", a list of PIL
            images: what ``gr.Sketchpad(type="pil")`` gives.

    Example:
        >>> layer = Image.new("RGBA", (32, 32))
        >>> canvas = {"background": None, "layers": [layer], "composite": layer}
        >>> drawing_on(canvas) is None
        True
        >>> layer.paste("black", (8, 8, 24, 12))
        >>> drawing_on(canvas).size
        (32, 32)
    """
    if canvas is None:
        return None
    background, layers, composite = (canvas.get(key) for key in ("background", "layers", "composite"))
    has_strokes = any(_is_touched(layer) for layer in layers or [])
    has_background = background is not None and _is_touched(background)
    if composite is None:  # a client of the API may send the layers or the background alone
        composite = background if has_background else next(iter(layers or []), None)
        return composite if has_background or has_strokes else None
    return composite if has_strokes or has_background or (not layers and _is_touched(composite)) else None


def _is_touched(image: Image.Image) -> bool:
    pixels = np.asarray(image.convert("RGBA"))
    visible = pixels[pixels[..., 3] > _FAINT][:, :3]
    if visible.shape[0] in (0, image.width * image.height):
        return bool(visible.size) and bool((visible != visible[0]).any())
    return True


def read_weights(weights: Mapping[str, float], modalities: list[str]) -> dict[str, float] | None:
    """Keep the weights of the modalities in use, 1 where none is given; None where all are 1: all count alike.

    Example:
        >>> read_weights({"text": 0.3, "audio": 0.7, "image": 1}, ["text", "audio"])
        {'text': 0.3, 'audio': 0.7}
    """
    kept = {modality: float(weights.get(modality, 1.0)) for modality in modalities}
    for modality, weight in kept.items():
        if not (math.isfinite(weight) and weight >= 0):
            raise InputError(f"weight of the {NAMES[modality]}: is {weight}; give a number from 0 on")
    if len(kept) < 2 or all(weight == 1 for weight in kept.values()):
        return None
    if not any(kept.values()):
        raise InputError("Every weight is zero: give at least one input some weight.")
    return kept


def choose_seeds(seed: object, keep: bool, count: object) -> list[int]:
    """Return one seed a picture: consecutive ones, from the given one if it is to be kept, else from a random one.

    Example:
        >>> choose_seeds(7, True, 3)
        [7, 8, 9]
        >>> choose_seeds(None, True, 1) == choose_seeds(None, True, 1)
        False
        >>> choose_seeds(-1, True, 1)
        Traceback (most recent call last):
        ...
        unclip_mm.errors.InputError: seed: is -1; give a whole number from 0 to 4294967295
    """
    pictures = whole_number(count, "number of pictures", 1, MAX_PICTURES)
    first = secrets.randbelow(2**31)
    if keep and seed is not None:
        first = whole_number(seed, "seed", 0, MAX_SEED)
    return count_up(first, pictures)


def whole_number(value: object, name: str, low: int, high: int) -> int:
    """Return a whole number in [low, high], or raise an InputError."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value == value // 1 and low <= value <= high:
        return int(value)
    raise InputError(f"{name}: is {value}; give a whole number from {low} to {high}")


def real_number(value: object, name: str, low: float, high: float) -> float:
    """Return a number in [low, high], or raise an InputError."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high:
        return float(value)
    raise InputError(f"{name}: is {value}; give a number from {low:g} to {high:g}")
