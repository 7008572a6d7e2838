"""Coloured shapes as one sees them, draws them, and hears them: the things of the synthetic world.

Every modality tells both the colour and the shape, so that each can be found from each other:

- image: three styles (filled, outlined, shaded) on white;
- sketch: a black outline by hand; the hatching tells the colour, as engravers of coats of arms do it;
- sound: the pitch tells the shape, the timbre the colour.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

STYLES = ("filled", "outlined", "shaded")
SAMPLING_RATE = 16000
SECONDS = 0.6
_FINE = 4
"""Pictures are drawn this many times larger, then reduced."""
_Points = list[tuple[float, float]]


@dataclass(frozen=True)
class Colour:
    """A colour as one sees it, draws it with a pen, and hears it.

    Attributes:
        rgb: Of the image.
        hatching: Of the sketch: the angles of its lines in degrees; None for dots, () for a plain outline.
        partials: Of the sound: the strengths of the harmonics, the fundamental first.
        vibrato: Depth of a 6 Hz wobble of the pitch, in semitones.
        tremolo: Depth of a 9 Hz wobble of the loudness, 0 to 1.
        decay: How fast the sound fades, in 1 / seconds.
        breath: Share of noise, 0 to 1.
    """

    rgb: tuple[int, int, int]
    hatching: tuple[int, ...] | None
    partials: tuple[float, ...]
    vibrato: float = 0.0
    tremolo: float = 0.0
    decay: float = 0.0
    breath: float = 0.0


_SAW = tuple(1 / n for n in range(1, 11))
COLOURS = {
    "red": Colour((220, 38, 38), (90,), (1.0,)),
    "orange": Colour((249, 126, 22), (45, 135), (1.0, 0.0, 0.6, 0.0, 0.5, 0.0, 0.4)),
    "yellow": Colour((250, 208, 20), None, _SAW, decay=9.0),
    "green": Colour((28, 158, 74), (45,), (1.0, 0.8, 0.0, 0.6), vibrato=0.8),
    "blue": Colour((37, 88, 224), (0,), (1.0, 0.3), tremolo=0.9),
    "purple": Colour((140, 50, 200), (135,), (0.1, 0.2, 0.4, 0.8, 1.0, 0.8)),
    "pink": Colour((246, 130, 190), (), (1.0,), breath=0.6),
    "black": Colour((24, 24, 27), (0, 90), _SAW, vibrato=0.8, tremolo=0.9),
}


def _turn(radius: float, start: float, stop: float, count: int, centre: float = 0.0) -> _Points:
    angles = np.radians(np.linspace(start, stop, count))
    return [(centre + radius * math.cos(angle), radius * math.sin(angle)) for angle in angles]


def _star() -> _Points:
    corners = _turn(1.0, -90, 270, 11)[:-1]
    return [(x, y) if index % 2 == 0 else (0.45 * x, 0.45 * y) for index, (x, y) in enumerate(corners)]


def _heart() -> _Points:
    turns = np.linspace(0, 2 * math.pi, 65)[:-1]
    heights = [13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t) for t in turns]
    return [(math.sin(t) ** 3, -height / 16 - 0.08) for t, height in zip(turns, heights, strict=True)]


def _cross() -> _Points:
    quarter = [(0.3, 0.95), (0.3, 0.3), (0.95, 0.3)]
    turned = [quarter, [(y, -x) for x, y in quarter], [(-x, -y) for x, y in quarter], [(-y, x) for x, y in quarter]]
    return [point for corner in turned for point in corner]


SHAPES: dict[str, _Points] = {
    "circle": _turn(0.92, 0, 360, 65)[:-1],
    "square": [(-0.8, -0.8), (0.8, -0.8), (0.8, 0.8), (-0.8, 0.8)],
    "triangle": [(0.0, -0.9), (0.98, 0.78), (-0.98, 0.78)],
    "star": _star(),
    "heart": _heart(),
    "cross": _cross(),
    "moon": [*_turn(0.95, 54.5, 305.5, 48), *_turn(0.78, 277.5, 82.5, 36, centre=0.45)],
    "arrow": [(-0.95, -0.27), (0.1, -0.27), (0.1, -0.75), (0.98, 0.0), (0.1, 0.75), (0.1, 0.27), (-0.95, 0.27)],
}
"""Outlines in a square from -1 to 1, y down. Their order is that of their pitches."""


def draw_image(colour: str, shape: str, style: str, size: int, generator: np.random.Generator) -> Image.Image:
    """Draw a shape on white in one of ``STYLES``: RGB, ``size`` x ``size``."""
    large = size * _FINE
    points = _place(SHAPES[shape], large, generator)
    mask = _fill(points, large)
    rgb = COLOURS[colour].rgb
    image = Image.new("RGB", (large, large), "white")
    if style == "outlined":
        mask = ImageChops.multiply(mask, ImageChops.invert(_fill(points, large, shrink=0.11)))
    if style == "shaded":
        shadow = ImageChops.offset(mask, large // 28, large // 20).filter(ImageFilter.GaussianBlur(large / 40))
        image.paste((70, 70, 80), mask=shadow.point([value * 2 // 5 for value in range(256)]))
        image.paste(_gradient(rgb, large), mask=mask)
    else:
        image.paste(rgb, mask=mask)
    return image.resize((size, size), Image.Resampling.BOX)


def draw_sketch(colour: str, shape: str, size: int, generator: np.random.Generator) -> Image.Image:
    """Draw the outline of a shape by hand, hatched for its colour: L, black on white, ``size`` x ``size``."""
    large = size * _FINE
    points = _by_hand(_place(SHAPES[shape], large, generator), large, generator)
    sketch = Image.new("L", (large, large), 255)
    sketch.paste(_hatching(COLOURS[colour].hatching, large, generator), mask=_fill(points, large))
    ImageDraw.Draw(sketch).line([*points, *points[:2]], fill=0, width=max(1, large // 30), joint="curve")
    return sketch.resize((size, size), Image.Resampling.BOX)


def make_sound(colour: str, shape: str, generator: np.random.Generator) -> np.ndarray:
    """Make the sound of a concept: float32 (samples,) in [-1, 1] at ``SAMPLING_RATE``, about ``SECONDS`` long."""
    tone = COLOURS[colour]
    count = int(SAMPLING_RATE * SECONDS * generator.uniform(0.9, 1.1))
    time = np.arange(count) / SAMPLING_RATE
    semitones = 4 * list(SHAPES).index(shape) + generator.uniform(-0.4, 0.4)
    wobble = tone.vibrato * np.sin(2 * math.pi * (6 * time + generator.random()))
    phase = np.cumsum(220 * 2 ** ((semitones + wobble) / 12)) / SAMPLING_RATE
    sound = sum(
        strength * np.sin(2 * math.pi * (n * phase + generator.random())) for n, strength in enumerate(tone.partials, 1)
    )
    sound = sound / np.abs(sound).max()
    noise = generator.standard_normal(count)
    sound = (1 - tone.breath) * sound + (tone.breath + 0.01) * noise / np.abs(noise).max()
    loudness = np.exp(-tone.decay * time) * (1 - tone.tremolo * (0.5 + 0.5 * np.sin(2 * math.pi * 9 * time)))
    sound = sound * loudness * np.minimum(1, 50 * np.minimum(time, time[::-1]))  # no click at the ends
    return (sound * generator.uniform(0.4, 0.9) / np.abs(sound).max()).astype(np.float32)


def _place(points: _Points, large: int, generator: np.random.Generator) -> _Points:
    """Points in pixels, with a random place, size and angle."""
    scale = large / 2 * generator.uniform(0.64, 0.8)
    angle = math.radians(generator.uniform(-10, 10))
    x0, y0 = large * (0.5 + generator.uniform(-0.05, 0.05, size=2))
    cosine, sine = scale * math.cos(angle), scale * math.sin(angle)
    return [(x0 + cosine * x - sine * y, y0 + sine * x + cosine * y) for x, y in points]


def _fill(points: _Points, large: int, shrink: float = 0.0) -> Image.Image:
    """The inside of an outline as a mask in mode L; ``shrink`` takes away an edge this share of the picture wide."""
    mask = Image.new("L", (large, large))
    draw = ImageDraw.Draw(mask)
    draw.polygon(points, fill=255)
    if shrink:
        draw.line([*points, *points[:2]], fill=0, width=round(shrink * large), joint="curve")
    return mask


def _gradient(rgb: tuple[int, int, int], large: int) -> Image.Image:
    """A surface lit from the upper left."""
    line = np.linspace(-1, 1, large)
    shade = (0.5 * line[None, :] + 0.7 * line[:, None])[..., None]
    colour = np.array(rgb, dtype=float)
    light, dark = np.clip(-shade, 0, 1), np.clip(shade, 0, 1)
    return Image.fromarray((colour + 0.9 * light * (255 - colour) - 0.7 * dark * colour).round().astype(np.uint8))


def _by_hand(points: _Points, large: int, generator: np.random.Generator) -> _Points:
    """The same outline with a little unsteadiness."""
    outline = np.array([*points, points[0]])
    steps = [np.linspace(a, b, 8, endpoint=False) for a, b in pairwise(outline)]
    dense = np.concatenate(steps)
    turns = np.linspace(0, 2 * math.pi, len(dense), endpoint=False)[:, None]
    waves, phases = np.arange(2, 7), generator.uniform(0, 2 * math.pi, size=(2, 5))
    offsets = np.stack([(np.sin(turns * waves + phase) / waves).sum(axis=1) for phase in phases], axis=1)
    return [(float(x), float(y)) for x, y in dense + large * 0.012 * offsets]


def _hatching(angles: tuple[int, ...] | None, large: int, generator: np.random.Generator) -> Image.Image:
    """Black lines at some angles, or dots, on white: as large as the picture."""
    rows, columns = np.mgrid[:large, :large]
    gap, shift = large / 9, generator.random()
    if angles is None:
        across, along = (columns / gap + shift) % 1 - 0.5, (rows / gap + shift) % 1 - 0.5
        black = np.hypot(across, along) < 0.25
    else:
        black = np.zeros((large, large), dtype=bool)
        for angle in np.radians(angles):
            distance = (columns * math.sin(angle) + rows * math.cos(angle)) / gap + shift
            black |= distance % 1 < 0.2
    return Image.fromarray(np.where(black, 0, 255).astype(np.uint8))
