"""The synthetic world is the same each time, tells colour and shape in every modality, and holds out what it says."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest

from unclip_mm.data.manifest import Manifest, Row, read_manifest, write_manifest
from unclip_mm.data.shapes import COLOURS, SAMPLING_RATE, SHAPES, STYLES
from unclip_mm.data.synthetic import held_out, main, make_synthetic_world
from unclip_mm.errors import InputError
from unclip_mm.inputs import load_audio, load_image, load_sketch

CONCEPTS = [f"{colour} {shape}" for colour, shape in product(COLOURS, SHAPES)]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return make_synthetic_world(tmp_path_factory.mktemp("world"), image_size=32)


def test_what_is_in_it(world: Manifest) -> None:
    assert len(world) == 64 * 2 * (len(STYLES) + 2)
    assert sorted({row.concept for row in world.rows}) == sorted(CONCEPTS)
    assert read_manifest(world.folder).rows == world.rows
    for row in world.rows:
        assert len(row.modalities) == 2
        assert row.text[0] == row.concept
        assert not row.text[1].startswith(("a orange", "an red"))
    for style in STYLES:
        assert len(world.select(style=style)) == 128


def test_every_file_is_a_good_input(world: Manifest) -> None:
    for row in world.rows[::7]:
        if row.image:
            image = load_image(world.path(row, "image"))
            assert (image.size, image.getpixel((0, 0))) == ((32, 32), (255, 255, 255))
        if row.sketch:
            assert load_sketch(world.path(row, "sketch")).size == (32, 32)
        if row.audio:
            assert 0.5 < len(load_audio(world.path(row, "audio"))) / SAMPLING_RATE < 0.7


def test_what_is_held_out(world: Manifest) -> None:
    concepts, styles = held_out(0)
    assert len({colour for colour, _ in concepts}) == len({shape for _, shape in concepts}) == len(concepts) == 6
    assert not concepts & styles.keys()
    for row in world.rows:
        colour, shape = row.concept.split()
        if (colour, shape) in concepts:
            assert row.split == "test_concept"
        elif row.style is not None and styles.get((colour, shape)) == row.style:
            assert row.split == "test_style"
        else:
            assert row.split == "train"
    train = world.select(modality="image", split="train")
    assert {row.concept.split()[0] for row in train} == set(COLOURS)
    assert {row.concept.split()[1] for row in train} == set(SHAPES)
    assert {row.style for row in train} == set(STYLES) == {row.style for row in world.select(split="test_style")}


def test_same_files_each_time(world: Manifest, tmp_path: Path) -> None:
    first = make_synthetic_world(tmp_path, image_size=32, variations=1)
    assert [row for row in world.rows if row.id.endswith("-1")] == first.rows
    for row in first.rows[::9]:
        for path in row.media.values():
            assert (first.folder / path).read_bytes() == (world.folder / path).read_bytes()


def test_another_seed_holds_out_something_else() -> None:
    assert held_out(0) == held_out(0) != held_out(1)


@pytest.mark.parametrize(("modality", "least"), [("image", 0.5), ("sketch", 0.3), ("audio", 0.5)])
def test_each_modality_tells_the_concept(world: Manifest, modality: str, least: float) -> None:
    """The nearest other example, in plain features, is of the same concept far more often than by chance (1 in 64)."""
    load = {"image": _pixels, "sketch": _frequencies, "audio": _spectrum}[modality]
    rows = [row for row in world.select(modality=modality) if row.style in (None, "filled")]
    concepts = np.array([row.concept for row in rows])
    features = np.stack([load(world.path(row, modality)) for row in rows])
    distances = ((features[:, None] - features[None]) ** 2).sum(axis=-1)
    np.fill_diagonal(distances, np.inf)
    assert (concepts[distances.argmin(axis=1)] == concepts).mean() > least


def test_bad_arguments(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="image_size: 8 is out of range; give 16 to 512"):
        make_synthetic_world(tmp_path, image_size=8)
    with pytest.raises(InputError, match="variations: 0 is too small"):
        make_synthetic_world(tmp_path, variations=0)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        make_synthetic_world(tmp_path / "file" / "world")
    write_manifest(tmp_path, [Row(id="a", concept="apple", text=("an apple",))])
    with pytest.raises(InputError, match="holds another manifest; give a new folder"):
        make_synthetic_world(tmp_path)
    assert read_manifest(tmp_path).rows[0].id == "a"


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--output", str(tmp_path), "--image-size", "16", "--variations", "1"]
    assert main(arguments) == 0
    assert "320 rows of 64 concepts (276 train, 30 test_concept, 14 test_style)" in capsys.readouterr().out
    assert main([*arguments, "--variations", "-1"]) == 2
    assert capsys.readouterr().err == "error: variations: -1 is too small; give 1 or more\n"


def _spectrum(path: Path) -> np.ndarray:
    samples = load_audio(path)[: SAMPLING_RATE // 2].reshape(20, -1)
    spectrum = np.log(np.abs(np.fft.rfft(samples * np.hanning(samples.shape[1]))) + 1e-2)
    return spectrum[:, :120].reshape(-1)


def _pixels(path: Path) -> np.ndarray:
    """The pixels, with the shape moved to the middle."""
    pixels = np.asarray(load_image(path), dtype=float)
    rows, columns = np.nonzero(pixels.min(axis=-1) < 200)
    middle = [len(pixels) // 2 - (where.min() + where.max()) // 2 for where in (rows, columns)]
    return np.roll(pixels, middle, axis=(0, 1)).reshape(-1)


def _frequencies(path: Path) -> np.ndarray:
    """How strong each frequency is, wherever the shape and its hatching are."""
    return np.sqrt(np.abs(np.fft.rfft2(255.0 - np.asarray(load_sketch(path))))).reshape(-1)
