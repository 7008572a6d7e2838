"""What a call of the pipeline may be given, checked before anything is computed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import torch
from torch import Tensor

from unclip_mm.checks import as_real
from unclip_mm.embeddings import Embeddings
from unclip_mm.errors import InputError
from unclip_mm.limits import MAX_COUNT, MAX_SCALE
from unclip_mm.seeds import MAX_SEED, count_up

MAX_DEVIATION = 1000.0
"""The largest number of a standardised image embedding that is taken; those of images stay below a hundredth of it."""
_SEEDS_ARE = f"give whole numbers from 0 to {MAX_SEED}, one a picture, or a single one"


@dataclass(frozen=True)
class Prompt:
    """Raw inputs, B a modality; None where a row lacks it.

    Attributes:
        sources: Modality -> its inputs.
        prefix: What the caller's names of them begin with, for errors: ``negative_`` or nothing.
    """

    sources: dict[str, list[Any]]
    prefix: str = ""

    @property
    def first(self) -> str:
        """What the caller calls the first modality."""
        return self.prefix + next(iter(self.sources))

    def only(self, modalities: Iterable[str]) -> Prompt:
        """Leave out all other modalities."""
        return Prompt({name: self.sources[name] for name in modalities}, self.prefix)


def collect_prompt(
    known: Sequence[str],
    text: Any,
    audio: Any,
    sketch: Any,
    image: Any,
    inputs: Mapping[str, Any] | None,
    empty_allowed: bool = False,
    prefix: str = "",
) -> Prompt:
    """Bring the inputs of a call to lists of one length.

    Raises:
        InputError: There is no input, a modality is not the model's, the lists differ in length, or ``inputs`` is no
            dictionary.

    Example:
        >>> collect_prompt(["text", "image"], ["a", "b"], None, None, "x.png", None).sources
        {'text': ['a', 'b'], 'image': ['x.png', 'x.png']}
    """
    if inputs is not None and not isinstance(inputs, Mapping):
        raise InputError(f"inputs: {type(inputs).__name__}; give a dictionary, such as {{'imu': 'walk.npy'}}")
    named = {"text": text, "audio": audio, "sketch": sketch, "image": image, **(inputs or {})}
    lists = {name: value if isinstance(value, list) else [value] for name, value in named.items() if value is not None}
    for name, values in lists.items():
        if name not in known:
            raise InputError(f"modality {name!r}: not known to this model; it takes {', '.join(known)}")
        if not values:
            raise InputError(f"{prefix}{name}: an empty list; give at least one input")
    if not lists:
        if empty_allowed:
            return Prompt({})
        raise InputError(f"no input: give at least one of {', '.join(known)}, or embeddings")
    count = max(len(values) for values in lists.values())
    for name, values in lists.items():
        if len(values) not in (1, count):
            raise InputError(
                f"{prefix}{name}: {len(values)} inputs beside {count} of another modality; give {count}, or 1 for all"
            )
    sources = {name: values * count if len(values) == 1 else values for name, values in lists.items()}
    for row in range(count):
        if all(values[row] is None for values in sources.values()):
            raise InputError(f"row {row}: every input is None; give it at least one")
    given = {name: values for name, values in sources.items() if any(value is not None for value in values)}
    return Prompt(given, prefix)


def stored_prompt(
    embeddings: Any, given: Prompt, dim: int, image_dim: int, known: Sequence[str]
) -> tuple[Embeddings | None, Tensor | None]:
    """Read ``embeddings=``: aligned ones, or whole image embeddings.

    A bare array of D columns is taken as aligned vectors of the image modality, the one the decoder knows; one of
    D + detail columns as whole image embeddings.

    Raises:
        InputError: Wrong type, shape, dimension or modality, no rows, numbers that are not finite, or inputs beside
            them.
    """
    if given.sources:
        raise InputError(f"embeddings: given beside {', '.join(given.sources)}; give either embeddings or inputs")
    if isinstance(embeddings, Embeddings):
        if not len(embeddings):
            raise InputError("embeddings: have no rows; give at least one")
        if embeddings.dim != dim:
            raise InputError(f"embeddings: {embeddings.dim} dimensions; this model's have {dim}")
        for name in embeddings.modalities:
            if name not in known:
                raise InputError(
                    f"embeddings: modality {name!r} is not known to this model; it takes {', '.join(known)}"
                )
        return embeddings, None
    try:
        vectors = torch.as_tensor(embeddings)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"embeddings: {type(embeddings).__name__}; give Embeddings, an array or a tensor") from error
    if not vectors.is_floating_point() or vectors.ndim not in (1, 2):
        raise InputError(f"embeddings: {vectors.dtype} of shape {tuple(vectors.shape)}; give floats (B, {dim})")
    vectors = vectors.float().reshape(-1, vectors.shape[-1])
    if vectors.shape[-1] not in (dim, image_dim) or not len(vectors):
        raise InputError(f"embeddings: shape {tuple(vectors.shape)}; give (B, {dim}), or (B, {image_dim}) for images")
    if not bool(torch.isfinite(vectors).all()):
        raise InputError("embeddings: hold NaN or infinity; give finite numbers")
    if vectors.shape[-1] == dim:
        return Embeddings.from_dict({"image" if "image" in known else known[0]: vectors}), None
    return None, vectors


def check_size(standardised: Tensor) -> Tensor:
    """Return standardised image embeddings (B, E) as they are.

    Raises:
        InputError: They hold numbers that no image comes near to, of which no picture could be made.
    """
    if not bool((standardised.abs() <= MAX_DEVIATION).all()):
        raise InputError(
            f"embeddings: hold numbers more than {MAX_DEVIATION:g} deviations from those of images; give what "
            "image_embeddings or imagine return, or points between such"
        )
    return standardised


def check_count(name: str, value: int | None, default: int, most: int = MAX_COUNT) -> int:
    """Return a whole number from 1 to the largest allowed, the default for None.

    Example:
        >>> check_count("num_images_per_prompt", -1, 1)
        Traceback (most recent call last):
        ...
        unclip_mm.errors.InputError: num_images_per_prompt: -1 is not allowed; give a whole number from 1 to 4096
    """
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, Integral) or not 1 <= value <= most:
        raise InputError(f"{name}: {value!r} is not allowed; give a whole number from 1 to {most}")
    return int(value)


def check_scale(name: str, value: float | None, default: float) -> float:
    """Return a number from 0 to the largest guidance, the default for None."""
    if value is None:
        return default
    if not 0 <= as_real(value) <= MAX_SCALE:
        raise InputError(f"{name}: {value!r} is not allowed; give a number from 0 to {MAX_SCALE:g} (1 is no guidance)")
    return float(value)


def check_no_say(**settings: Any) -> None:
    """Refuse settings of the prior that were given, rather than None, where the prior is not asked.

    Example:
        >>> check_no_say(prior_steps=None, style="flat")
        Traceback (most recent call last):
        ...
        unclip_mm.errors.InputError: style: has no say where the prior is not asked: of an image alone, ...
    """
    for name, value in settings.items():
        if value is not None:
            raise InputError(
                f"{name}: has no say where the prior is not asked: of an image alone, of whole image embeddings, with "
                "use_prior=False, and in a model without one; leave it out"
            )


def check_weights(weights: Mapping[str, float] | None, present: Iterable[str]) -> dict[str, float] | None:
    """Return the weights above zero of the modalities that are there; None weighs all alike.

    What counts 0, or is not named among the weights, counts as not given.

    Raises:
        InputError: A weight is negative, not finite, names a modality that was not given, or all are zero.

    Example:
        >>> check_weights({"text": 0, "image": 2}, ["text", "image"])
        {'image': 2.0}
    """
    if weights is None:
        return None
    if not isinstance(weights, Mapping):
        raise InputError(f"weights: {type(weights).__name__}; give a dictionary, such as {{'text': 0.3, 'audio': 0.7}}")
    for name, value in weights.items():
        if name not in present:
            raise InputError(f"weight of {name!r}: no such input was given; given: {', '.join(present)}")
        if not 0 <= as_real(value) < math.inf:
            raise InputError(f"weight of {name!r}: {value!r} is not allowed; give a finite number of 0 or more")
    if not any(weights.values()):
        raise InputError("weights: all are zero; give at least one modality a positive weight")
    return {name: float(value) for name, value in weights.items() if value}


def check_styles(style: str | Sequence[str | None] | None, count: int, known: Sequence[str]) -> list[str | None] | None:
    """Return the style of each prompt, None where it is left open; None for no style at all.

    Raises:
        InputError: One is not known, there are more or fewer than prompts, or it is no name and no list of them.

    Example:
        >>> check_styles("flat", 2, ["flat", "shaded"]), check_styles(["flat", None], 2, ["flat"])
        (['flat', 'flat'], ['flat', None])
    """
    if style is None:
        return None
    if not isinstance(style, Iterable):
        raise InputError(f"style: {style!r} is no name; give one for all prompts, or a list with one a prompt")
    styles: list[str | None] = [style] * count if isinstance(style, str) else list(style)
    for name in styles:
        if name is not None and name not in known:
            raise InputError(
                f"style: {name!r} is not known to this model; "
                + (f"it has {', '.join(known)}" if known else "it has no styles to choose from")
            )
    if len(styles) != count:
        raise InputError(f"style: {len(styles)} for {count} prompts; give one for all of them, or one a prompt")
    return styles


def check_seeds(seeds: int | Sequence[int] | None, count: int, draw: Callable[[], int]) -> list[int]:
    """Return one seed a picture: drawn, counted up from one, or as given.

    Example:
        >>> check_seeds(5, 3, draw=lambda: 0), check_seeds([4, 4], 2, draw=lambda: 0)
        ([5, 6, 7], [4, 4])
    """
    if seeds is None:
        return [draw() for _ in range(count)]
    given: list[Any] = list(seeds) if isinstance(seeds, Iterable) else [seeds]
    for seed in given:
        if isinstance(seed, bool) or not isinstance(seed, Integral) or not 0 <= int(seed) <= MAX_SEED:
            raise InputError(f"seeds: {seed!r} is not allowed; {_SEEDS_ARE}")
    if not isinstance(seeds, Iterable):
        return count_up(int(given[0]), count)
    if len(given) != count:
        raise InputError(f"seeds: {len(given)} for {count} pictures; give one a picture, or a single number")
    return [int(seed) for seed in given]
