"""Pictures and sketches of any kind come back in one plain form; what is none, or damaged, gets an error of one line."""

from __future__ import annotations

import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from media_cases import image_bytes, picture, refusal
from PIL import Image, ImageDraw

from unclip_mm.errors import InputError
from unclip_mm.inputs import MAX_PIXELS, load_image, load_sketch, open_image


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM"])
def test_image_of_any_format(form: str, tmp_path: Path) -> None:
    path = tmp_path / "picture.bin"
    path.write_bytes(image_bytes(picture(), form))
    image = load_image(str(path))
    assert (image.mode, image.size) == ("RGB", (48, 32))
    assert np.abs(np.asarray(image).astype(int) - np.asarray(picture())).mean() < 8
    assert np.array_equal(np.asarray(load_image(path.read_bytes())), np.asarray(image))


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA", "CMYK", "YCbCr", "HSV", "RGBX"])
def test_image_of_any_mode(mode: str) -> None:
    image = load_image(picture(mode=mode))
    assert image.mode == "RGB"
    assert image.getpixel((40, 16)) == pytest.approx((255, 255, 255), abs=2)
    assert image.getpixel((8, 16)) != (255, 255, 255)


def test_16_bit_grey_keeps_its_tones() -> None:
    ramp = np.linspace(0, 65535, 48 * 32).reshape(32, 48).astype(np.uint16)
    expected = (ramp / 257).round().astype(np.uint8)
    for form in ("PNG", "TIFF"):
        image = load_image(image_bytes(Image.fromarray(ramp), form))
        assert np.array_equal(np.asarray(image)[..., 0], expected), form
    assert "32-bit pixels" in refusal(load_image, Image.fromarray(ramp.astype(np.int32)))
    assert "32-bit pixels" in refusal(load_image, image_bytes(Image.fromarray(ramp.astype(np.float32)), "TIFF"))


def test_transparent_pixels_are_white() -> None:
    image = Image.new("RGBA", (16, 16), (0, 0, 255, 0))
    image.paste((255, 0, 0, 255), (4, 4, 12, 12))
    palette = image.convert("P")
    for source in (image, image_bytes(image), image_bytes(image, "WEBP", lossless=True), np.asarray(image)):
        assert load_image(source).getpixel((0, 0)) == (255, 255, 255)
        assert load_image(source).getpixel((8, 8)) == (255, 0, 0)
    index = palette.getpixel((0, 0))
    assert load_image(image_bytes(palette, transparency=index)).getpixel((0, 0)) == (255, 255, 255)
    grey = Image.new("I;16", (16, 16), 1000)
    grey.paste(40000, (4, 4, 12, 12))
    pixels = open_image(image_bytes(grey, transparency=1000))
    if pixels.mode == "RGBA":  # where Pillow reads the transparent tone of 16-bit grey
        assert pixels.getpixel((0, 0))[3] == 0  # type: ignore[index]
    half = Image.new("RGBA", (16, 16), (0, 0, 0, 128))
    half.paste((0, 0, 0, 255), (4, 4, 12, 12))
    assert load_image(half).getpixel((0, 0)) == (127, 127, 127)


def test_photographs_are_turned_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter clockwise
    upright = load_image(image_bytes(picture(), "JPEG", exif=exif, quality=95))
    assert upright.size == (32, 48)
    assert upright.getpixel((16, 8))[1] < 60  # type: ignore[index]  # the box on the left is now on top
    assert load_image(upright).size == (32, 48)


def test_first_frame_of_a_moving_picture() -> None:
    frames = [picture(), picture().rotate(180)]
    for form in ("GIF", "WEBP", "PNG"):
        moving = image_bytes(frames[0], form, save_all=True, append_images=frames[1:])
        assert load_image(moving).getpixel((8, 16)) == pytest.approx((255, 0, 0), abs=6), form


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_image_files_that_are_cut_short(form: str) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    whole = image_bytes(noise, form)
    for part in (0.9, 0.5, 0.1):
        message = refusal(load_image, whole[: int(part * len(whole))], name="photo.x")
        assert message.startswith(("photo.x: is damaged", "photo.x: is not an image that can be read"))


def test_images_with_too_many_pixels_are_refused_undecoded() -> None:
    def png(width: int, height: int) -> bytes:
        whole = bytearray(image_bytes(picture()))
        whole[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
        whole[29:33] = zlib.crc32(whole[12:29]).to_bytes(4, "big")
        return bytes(whole)

    start = time.perf_counter()
    assert f"has 8001 x 8000 pixels; give at most {MAX_PIXELS:,}" in refusal(load_image, png(8001, 8000))
    for side in (12_000, 60_000):  # Pillow warns of the first and refuses the second
        assert f"has more than {MAX_PIXELS:,} pixels" in refusal(load_image, png(side, side))
    assert time.perf_counter() - start < 0.5


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (np.zeros((4, 4)), "is an array float64 (4, 4); give uint8"),
        (np.zeros((4, 4, 2), dtype=np.uint8), "is an array uint8 (4, 4, 2)"),
        (np.zeros((0, 4), dtype=np.uint8), "is an array uint8 (0, 4)"),
        (np.zeros(4, dtype=np.uint8), "is an array uint8 (4,)"),
        (Image.new("RGB", (0, 4)), "has no pixels (0 x 4)"),
        (Image.new("RGB", (9, 9), "white"), "is blank"),
        (Image.new("RGB", (9, 9), "red"), "is blank"),
        (Image.new("RGBA", (9, 9), (255, 0, 0, 0)), "is blank"),
        (Image.new("F", (9, 9)), "has 32-bit pixels"),
    ],
)
def test_bad_images(source: Any, message: str) -> None:
    assert message in refusal(load_image, source)
    assert refusal(load_image, source, name="image 2").startswith("image 2: ")


# Sketches


def drawing(paper: Any, pen: Any, mode: str = "RGB", width: int = 3) -> Image.Image:
    image = Image.new(mode, (64, 64), paper)
    ImageDraw.Draw(image).ellipse((12, 12, 52, 52), outline=pen, width=width)
    return image


REFERENCE = np.asarray(drawing(255, 0, "L"))


@pytest.mark.parametrize(
    ("paper", "pen", "mode"),
    [
        (255, 0, "L"),
        ("white", "black", "1"),
        ("white", "red", "RGB"),
        ("white", "yellow", "RGB"),
        ("black", "white", "RGB"),
        ("black", "blue", "RGB"),
        ((20, 60, 40), "white", "RGB"),
        ((245, 240, 225), "black", "RGB"),
        ((0, 0, 0, 0), (0, 0, 0, 255), "RGBA"),
        ((0, 0, 0, 0), (200, 30, 30, 255), "RGBA"),
        ((255, 255, 255, 0), (255, 255, 255, 255), "RGBA"),
        ((0, 0, 0, 0), (255, 255, 255, 255), "RGBA"),
        ((0, 0), (0, 255), "LA"),
    ],
)
def test_any_paper_and_pen_is_the_same_sketch(paper: Any, pen: Any, mode: str) -> None:
    sketch = load_sketch(drawing(paper, pen, mode))
    assert sketch.mode == "L"
    assert np.abs(np.asarray(sketch).astype(int) - REFERENCE).max() < 35
    assert np.array_equal(np.asarray(load_sketch(sketch)), np.asarray(sketch))


def test_shades_of_a_pencil_are_kept() -> None:
    assert load_sketch(drawing("white", (100, 100, 100))).getextrema() == (100, 255)


def test_outline_with_white_fill_on_a_transparent_layer() -> None:
    image = drawing((0, 0, 0, 0), (0, 0, 0, 255), "RGBA")
    ImageDraw.floodfill(image, (32, 32), (255, 255, 255, 255))
    assert np.abs(np.asarray(load_sketch(image)).astype(int) - REFERENCE).max() == 0


@pytest.mark.parametrize(
    "canvas",
    [
        Image.new("RGB", (64, 64), "white"),
        Image.new("RGB", (64, 64), "black"),
        Image.new("RGB", (64, 64), (200, 210, 230)),
        Image.new("RGBA", (64, 64), (0, 0, 0, 0)),
        Image.new("RGBA", (512, 512), (255, 255, 255, 0)),
        drawing("white", (240, 240, 240)),
        drawing((0, 0, 0, 0), (0, 0, 0, 5), "RGBA"),
    ],
)
def test_blank_canvas(canvas: Image.Image) -> None:
    assert refusal(load_sketch, canvas) == "sketch: is blank (no stroke on it); give a drawing"


def test_specks_are_no_stroke() -> None:
    canvas = Image.new("L", (512, 512), 255)
    canvas.paste(0, (100, 100, 103, 103))
    assert "is blank" in refusal(load_sketch, canvas)
    canvas.paste(0, (100, 100, 106, 106))
    assert load_sketch(canvas).getpixel((103, 103)) == 0


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), form=st.sampled_from(["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"]))
def test_damaged_images_load_or_raise_an_input_error(data: st.DataObject, form: str) -> None:
    damaged = bytearray(image_bytes(picture(), form))
    for place in data.draw(st.lists(st.integers(0, len(damaged) - 1), min_size=1, max_size=8)):
        damaged[place] = data.draw(st.integers(0, 255))
    try:
        assert load_image(bytes(damaged)).mode == "RGB"
    except InputError as error:
        assert "\n" not in str(error)
