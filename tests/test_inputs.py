"""Every bad input gets an error of one line that names it; good ones come back in one plain form."""

from __future__ import annotations

import subprocess
import sys
import time
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from safetensors.torch import save_file

from unclip_mm.errors import InputError
from unclip_mm.inputs import MAX_PIXELS, check_text, load_audio, load_image, load_sketch, load_vector, open_image

RATE = 16000
FORMATS = {"wav": "WAV", "flac": "FLAC", "ogg": "OGG", "mp3": "MP3", "aiff": "AIFF", "opus": "OGG"}


def tone(seconds: float = 0.5, rate: int = RATE, hertz: float = 440.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)).astype(np.float32)


def sound_bytes(form: str = "wav", seconds: float = 0.5, rate: int = RATE, channels: int = 1) -> bytes:
    file = BytesIO()
    samples = np.repeat(tone(seconds, rate)[:, None], channels, axis=1)
    soundfile.write(file, samples, rate, format=FORMATS[form], subtype="OPUS" if form == "opus" else None)
    return file.getvalue()


def image_bytes(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    file = BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def picture(size: tuple[int, int] = (48, 32), mode: str = "RGB") -> Image.Image:
    """A red box on white: left of the middle, so that turning shows."""
    image = Image.new("RGB", size, "white")
    image.paste("red", (4, 4, size[0] // 3, size[1] - 4))
    return image.convert(mode)


def refusal(load: Any, *arguments: Any, **options: Any) -> str:
    """The message of the InputError that a call raises: one line."""
    with pytest.raises(InputError) as caught:
        load(*arguments, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 400
    assert ": " in message
    return message


# Text


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("", "text: is blank"),
        (" \t\n\u200b", "text: is blank"),
        ("a" * 1001, "text: has 1001 characters; give at most 1000"),
        (None, "text: is a NoneType; give a string"),
        (b"red", "text: is a bytes; give a string"),
        ("apple \udcff", "text: is not valid Unicode"),
    ],
)
def test_bad_text(source: object, message: str) -> None:
    assert refusal(check_text, source).startswith(message)
    assert refusal(check_text, source, name="text 2").startswith(message.replace("text", "text 2", 1))


def test_good_text_keeps_its_words() -> None:
    assert check_text("\n Ein  größerer Apfel 🍎 ") == "Ein  größerer Apfel 🍎"
    assert len(check_text(" " * 50 + "a" * 1000)) == 1000


# Files of any kind


@pytest.mark.parametrize("load", [load_audio, load_image, load_sketch, load_vector])
def test_what_is_no_file(load: Any, tmp_path: Path) -> None:
    empty = tmp_path / "empty.wav"
    empty.touch()
    assert refusal(load, empty) == f"{empty}: is empty (0 bytes); give a whole file"
    assert "no such file" in refusal(load, tmp_path / "none.png")
    assert "is a folder" in refusal(load, str(tmp_path))
    assert "is a device" in refusal(load, "/dev/zero")
    assert "file name is empty" in refusal(load, "")
    assert "cannot be opened" in refusal(load, "a" * 5000)
    assert refusal(load, "two\nlines.png").startswith("two?lines.png: there is no such file")
    assert refusal(load, object(), name="prompt 3").startswith("prompt 3: is a object; give ")
    assert "is a list" in refusal(load, [1.0, 2.0])


@pytest.mark.parametrize("load", [load_audio, load_image, load_sketch])
def test_bytes_that_are_no_media(load: Any, tmp_path: Path) -> None:
    assert "is empty (0 bytes)" in refusal(load, b"")
    assert "can be read" in refusal(load, b"just some text, in no media format at all")
    text = tmp_path / "text.png"
    text.write_text("no media")
    assert refusal(load, text).startswith(f"{text}: is not ")


# Audio


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (48000, 2)])
def test_sound_of_any_format_rate_and_channels(form: str, rate: int, channels: int, tmp_path: Path) -> None:
    path = tmp_path / f"sound.{form}"
    path.write_bytes(sound_bytes(form, 0.5, rate, channels))
    samples = load_audio(path)
    assert samples.dtype == np.float32
    assert samples.shape == pytest.approx((8000,), rel=0.2)  # MP3 and Opus pad to whole frames
    assert 0.4 < np.abs(samples).max() < 0.7
    spectrum = np.abs(np.fft.rfft(samples))
    assert spectrum.argmax() * RATE / len(samples) == pytest.approx(440, abs=5)
    assert np.array_equal(load_audio(path.read_bytes()), samples)


@pytest.mark.parametrize("kind", ["int16", "int32", "uint8", "float16", "float32", "float64"])
def test_arrays_of_any_type_are_the_same_sound(kind: str) -> None:
    samples = tone()
    scaled = {"int16": samples * 32768, "int32": samples * 2.0**31, "uint8": samples * 128 + 128}.get(kind, samples)
    stereo = np.stack([scaled, scaled], axis=1).astype(kind)
    loaded = load_audio((RATE, stereo))
    assert loaded.dtype == np.float32
    assert np.allclose(loaded, samples, atol=0.01)
    assert np.array_equal(load_audio(stereo), loaded)
    assert load_audio((8000, stereo), sampling_rate=16000).shape == (2 * len(samples),)


def test_overshoot_is_clipped_and_what_was_loaded_loads_again() -> None:
    loud = load_audio(tone() * 2.4)
    assert np.abs(loud).max() == 1.0
    for seconds in (0.05, 60.0):
        once = load_audio((44100, tone(seconds, 44100)))
        assert np.array_equal(load_audio(once), once)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (np.zeros(0, dtype=np.int16), "holds no sound (its length is zero); give a sound from 0.05 to 60 seconds"),
        (tone(0.04), "lasts 0.04 seconds; give a sound from 0.05 to 60 seconds"),
        ((RATE, tone(60.5)), "lasts 60.5 seconds"),
        (np.zeros(RATE, dtype=np.int16), "is silent (no sample above 0.0001)"),
        (np.full(RATE, 0.5), "is silent"),
        (tone() * 1e-4, "is silent"),
        (np.stack([tone(), -tone()], axis=1), "is silent once its channels are averaged"),
        (np.where(np.arange(RATE) == 5, np.nan, 0.5), "holds NaN or infinite samples"),
        (np.where(np.arange(RATE) == 5, np.inf, 0.5), "holds NaN or infinite samples"),
        (tone() * 32768, "holds samples up to 1.638e+04; give floats in [-1, 1], or int16"),
        (tone().astype(np.int64), "holds int64 samples"),
        (tone().astype(complex), "holds complex128 samples"),
        (np.array(["a", "b"] * RATE), "samples; give int16"),
        (tone()[None], "has shape (1, 8000); give (samples,) or (samples, channels)"),
        (np.array(1.0), "has shape ()"),
        ((tone(), RATE), "is a tuple of another kind"),
        ((RATE, tone(), 1), "is a tuple of another kind"),
        ((0, tone()), "has a sampling rate of 0; give a whole number from 1000 to 384000"),
        ((-RATE, tone()), "has a sampling rate of -16000"),
        ((float("nan"), tone()), "has a sampling rate of nan"),
        ((True, tone()), "has a sampling rate of True"),
    ],
)
def test_bad_samples(source: Any, message: str) -> None:
    assert message in refusal(load_audio, source)
    assert refusal(load_audio, source, name="audio 2").startswith("audio 2: ")


def test_hour_long_file_is_refused_from_its_header(tmp_path: Path) -> None:
    path = tmp_path / "hour.wav"
    path.write_bytes(sound_bytes("wav", 0.1))
    with path.open("r+b") as file:  # the header of an hour, and a sparse file behind it
        size = 3600 * RATE * 2
        file.seek(4)
        file.write((size + 36).to_bytes(4, "little"))
        file.seek(40)
        file.write(size.to_bytes(4, "little"))
        file.truncate(size + 44)
    start = time.perf_counter()
    assert refusal(load_audio, path) == f"{path}: lasts 3600 seconds; give a sound from 0.05 to 60 seconds"
    assert time.perf_counter() - start < 0.5


def test_sound_files_that_are_cut_short() -> None:
    wav = sound_bytes("wav", 1.0)
    assert "is cut short (only 0.5 of 1 seconds are there)" in refusal(load_audio, wav[: 44 + RATE])
    assert "is cut short (only" in refusal(load_audio, sound_bytes("aiff", 1.0)[:20000])
    for form in ("flac", "ogg", "opus"):
        whole = sound_bytes(form, 1.0)
        assert "is damaged" in refusal(load_audio, whole[: len(whole) // 2]), form
    assert "no sound (its length is zero)" in refusal(load_audio, sound_bytes("wav", 0))


def test_mp3_that_is_cut_short() -> None:
    whole = sound_bytes("mp3", 2.0)
    code = "import sys; from unclip_mm.inputs import load_audio; load_audio(sys.stdin.buffer.read(), name='voice')"
    run = subprocess.run(  # in a process of its own: the decoder writes a warning to the error stream by itself
        [sys.executable, "-c", code], input=whole[: len(whole) // 2], capture_output=True, check=False
    )
    assert b"InputError: voice: is cut short (only" in run.stderr


def test_streams_that_do_not_know_their_length() -> None:
    wav = bytearray(sound_bytes("wav"))
    wav[4:8] = wav[40:44] = b"\xff\xff\xff\xff"
    assert load_audio(bytes(wav)).shape == (8000,)
    flac = bytearray(sound_bytes("flac"))
    flac[21] &= 0xF0  # the 36 bits of the number of samples
    flac[22:26] = bytes(4)
    assert "does not say how long it is; save it again as WAV" in refusal(load_audio, bytes(flac))


def test_sound_files_with_odd_headers(tmp_path: Path) -> None:
    assert "has 9 channels; give at most 8" in refusal(load_audio, sound_bytes(channels=9))
    assert "has a sampling rate of 500;" in refusal(load_audio, sound_bytes(rate=500))
    raw = tmp_path / "voice.raw"  # a name that asks for headerless samples does not count, the content does
    raw.write_bytes(sound_bytes())
    assert "can be read" in refusal(load_audio, raw)
    floats = BytesIO()
    soundfile.write(floats, np.full(RATE, np.nan), RATE, format="WAV", subtype="FLOAT")
    assert "holds NaN" in refusal(load_audio, floats.getvalue())


def test_without_the_audio_extra_the_error_says_how_to_get_it(tmp_path: Path) -> None:
    path = tmp_path / "sound.wav"
    path.write_bytes(sound_bytes())
    code = (
        "import sys; sys.modules['soundfile'] = None; from unclip_mm.inputs import load_audio; load_audio(sys.argv[1])"
    )
    run = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False)
    assert f'InputError: {path}: reading sound needs soundfile; run pip install "unclip-mm[audio]"' in run.stderr


# Images


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


# Vectors


def test_vectors_from_files_arrays_and_tensors(tmp_path: Path) -> None:
    values = np.arange(6, dtype=np.float64).reshape(2, 3)
    np.save(tmp_path / "a.npy", values)
    save_file({"x": torch.from_numpy(values).bfloat16()}, tmp_path / "a.safetensors")
    save_file({"vectors": torch.ones(2, 3), "present": torch.ones(2)}, tmp_path / "b.safetensors")
    tensor = torch.from_numpy(values).half().requires_grad_()
    for source in (tmp_path / "a.npy", str(tmp_path / "a.safetensors"), values, tensor, values.astype(np.int64)):
        vector = load_vector(source, dim=3)
        assert vector.dtype == np.float32
        assert np.array_equal(vector, values)
    assert load_vector(tmp_path / "b.safetensors").sum() == 6
    assert load_vector(np.ones((1, 2, 3)), ranks=(3,)).shape == (1, 2, 3)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (np.array([1.0, np.nan]), "holds NaN, infinite or too large numbers"),
        (torch.tensor([1.0, float("-inf")]), "holds NaN, infinite or too large numbers"),
        (np.array([1e300]), "holds NaN, infinite or too large numbers"),
        (np.array(1.0), "has shape (); give 1 or 2 axes, none of size 0"),
        (np.ones((1, 1, 3)), "has shape (1, 1, 3); give 1 or 2 axes"),
        (np.ones((0, 3)), "has shape (0, 3)"),
        (np.array(["a"]), "holds str"),
        (np.array([1j]), "holds complex128 values; give real numbers"),
        (torch.tensor([1j]), "holds complex64 values; give real numbers"),
        (np.array([None]), "holds object values"),
    ],
)
def test_bad_vectors(source: Any, message: str) -> None:
    assert message in refusal(load_vector, source)
    assert refusal(load_vector, source, name="imu 2").startswith("imu 2: ")


def test_bad_vector_files(tmp_path: Path) -> None:
    objects, noise, many = tmp_path / "objects.npy", tmp_path / "noise.npy", tmp_path / "many.safetensors"
    np.save(objects, np.array([{"a": 1}]), allow_pickle=True)
    noise.write_bytes(bytes(range(256)))
    save_file({"a": torch.ones(2), "b": torch.ones(2)}, many)
    (tmp_path / "noise.safetensors").write_bytes(bytes(range(256)))
    (tmp_path / "vector.csv").write_text("1,2,3")
    np.savez(tmp_path / "archive", a=np.ones(2))
    (tmp_path / "archive.npz").rename(tmp_path / "archive.npy")
    assert "is damaged or no .npy (Object arrays cannot be loaded" in refusal(load_vector, objects)
    assert "is damaged or no .npy" in refusal(load_vector, noise)
    assert "is damaged or no .safetensors" in refusal(load_vector, tmp_path / "noise.safetensors")
    assert "holds 2 tensors; give a file with one, or one called 'vectors'" in refusal(load_vector, many)
    assert "ends in '.csv'; give a .npy or .safetensors file" in refusal(load_vector, tmp_path / "vector.csv")
    assert "is a NpzFile" in refusal(load_vector, tmp_path / "archive.npy")
    whole = (tmp_path / "cut.npy").open("wb")
    np.save(whole, np.ones(100))
    whole.truncate(300)
    whole.close()
    assert "is damaged" in refusal(load_vector, tmp_path / "cut.npy")


# Whatever else a file may hold


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


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), form=st.sampled_from(["wav", "flac", "ogg", "aiff"]))
def test_damaged_sounds_load_or_raise_an_input_error(data: st.DataObject, form: str) -> None:
    damaged = bytearray(sound_bytes(form, 0.1))
    for place in data.draw(st.lists(st.integers(0, len(damaged) - 1), min_size=1, max_size=8)):
        damaged[place] = data.draw(st.integers(0, 255))
    try:
        assert np.isfinite(load_audio(bytes(damaged))).all()
    except InputError as error:
        assert "\n" not in str(error)
