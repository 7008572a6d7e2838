"""The preparation of the pictogram data, on archives made here in the layout of the real packages."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from PIL import Image, ImageDraw

from train.pictograms.__main__ import main
from train.pictograms.archives import Archives
from train.pictograms.concepts import concept_split, join_concepts
from train.pictograms.images import held_out_style, jobs, rows
from train.pictograms.picture import Picture
from train.pictograms.render import render
from train.pictograms.stamp_labels import FAINT
from unclip_mm.data.manifest import read_manifest
from unclip_mm.errors import InputError

GROUPS = {
    "groups": {"2": "component", "3": "animals-nature", "4": "food-drink", "9": "flags"},
    "subgroups": {"32": "skin-tone", "34": "animal-mammal", "42": "food-fruit", "98": "country-flag"},
}
EMOJI = [
    {"label": "red apple", "hexcode": "1F34E", "tags": ["apple", "fruit", "food"], "group": 4, "subgroup": 42},
    {"label": "cat", "hexcode": "1F408", "tags": ["animal", "pet"], "group": 3, "subgroup": 34},
    {"label": "flag: Chad", "hexcode": "1F1F9-1F1E9", "group": 9, "subgroup": 98},
    {"label": "flag: Romania", "hexcode": "1F1F7-1F1F4", "group": 9, "subgroup": 98},
    {"label": "light skin tone", "hexcode": "1F3FB", "group": 2, "subgroup": 32},
    {"label": "regional indicator A", "hexcode": "1F1E6"},
]
OPENMOJI = [
    {"hexcode": "E001", "annotation": "tablet", "group": "extras-openmoji", "subgroups": "technology", "skintone": ""},
    {"hexcode": "E002", "annotation": "github", "group": "extras-openmoji", "subgroups": "brand", "skintone": ""},
]


def picture(kind: str, colour: str = "red", size: int = 64) -> bytes:
    image = Image.new("RGBA" if kind != "JPEG" else "RGB", (size, size), (0, 0, 0, 0) if kind != "JPEG" else "white")
    ImageDraw.Draw(image).ellipse((size // 4, size // 3, size // 2, size - 4), fill=colour)
    stream = io.BytesIO()
    image.save(stream, kind)
    return stream.getvalue()


def svg(body: str, title: str = "", size: str = 'viewBox="0 0 72 72"') -> bytes:
    root = f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:dc="d" {size}>'
    return f"{root}<dc:title>{title}</dc:title>{body}</svg>".encode()


def disc(colour: str) -> str:
    return f'<circle cx="30" cy="40" r="9" fill="{colour}"/>'


def ring(x: int = 40) -> str:
    circle = f'<circle cx="{x}" cy="40" r="20" fill="none" stroke="black" stroke-width="2"/>'
    return circle + f'<path d="M30 30L{x} 50" stroke="black"/>'


def tar(files: dict[str, bytes], path: Path | None = None) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    if path:
        path.write_bytes(stream.getvalue())
    return stream.getvalue()


def icons(icons: dict[str, str], characters: dict[str, str]) -> dict[str, bytes]:
    drawn = {"icons": {name: {"body": body} for name, body in icons.items()}, "width": 72, "height": 72}
    files = {"icons": drawn, "chars": characters}
    return {f"package/{name}.json": json.dumps(value).encode() for name, value in files.items()}


def font(*points: int) -> bytes:
    """A font whose glyphs are triangles, the further to the right the higher the code point."""
    names = {point: f"u{point:x}" for point in points}
    pens = {name: TTGlyphPen(None) for name in (".notdef", *names.values())}
    for name, pen in pens.items():
        pen.moveTo((0, -100))
        pen.lineTo((500, 900))
        pen.lineTo((600 + len(name), -100))
        pen.closePath()
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(list(pens))
    builder.setupCharacterMap(names)
    builder.setupGlyf({name: pen.glyph() for name, pen in pens.items()})
    builder.setupHorizontalMetrics(dict.fromkeys(pens, (600, 0)))
    builder.setupHorizontalHeader(ascent=900, descent=-100)
    builder.setupPost()
    builder.font.flavor = "woff"
    stream = io.BytesIO()
    builder.save(stream)
    return stream.getvalue()


def deb(files: dict[str, bytes], path: Path) -> None:
    members = {"debian-binary": b"2.0\n", "control.tar.gz": tar({}), "data.tar.gz": tar(files)}
    content = b"!<arch>\n"
    for name, data in members.items():
        content += (
            f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(data):<10}`\n".encode() + data + b"\n" * (len(data) % 2)
        )
    path.write_bytes(content)


@pytest.fixture(scope="module")
def archives(tmp_path_factory) -> Path:
    if not hasattr(tarfile, "data_filter"):
        pytest.skip("Python 3.11.3 and older cannot unpack archives safely")
    folder = tmp_path_factory.mktemp("archives")
    codes = {"1f34e": "red", "1f408": "orange", "1f1f9-1f1e9": "blue", "1f1f7-1f1f4": "blue"}
    small = {f"{code}.png": picture("PNG", colour) for code, colour in codes.items()}
    small |= {"1f408-1f3fb.png": picture("PNG"), "1f1e6.png": picture("PNG"), "1f408-fe0f.png": picture("PNG", "black")}
    for name, inside in {"google": "google", "twitter": "twitter"}.items():
        files = {f"package/img/{inside}/64/{file}": content for file, content in small.items()}
        tar(files, folder / f"emoji-datasource-{name}-16.0.0.tgz")
    webp = {f"package/assets/{code}.webp": picture("WEBP", colour, 256) for code, colour in codes.items()}
    tar(webp, folder / "lobehub-fluent-emoji-3d-1.1.0.tgz")
    vector = {"package/data/openmoji.json": json.dumps(OPENMOJI).encode()}
    for code, x in {"1F34E": 40, "1F408": 44, "1F1F9-1F1E9": 48, "1F1F7-1F1F4": 48, "E001": 50, "E002": 52}.items():
        vector[f"package/color/svg/{code}.svg"] = svg(disc("green") + ring(x))
        vector[f"package/black/svg/{code}.svg"] = svg(ring(x))
    tar(vector, folder / "openmoji-17.0.0.tgz")
    contrast = icons({"red-apple": disc("black"), "cat": ring(38)}, {"1f34e": "red-apple", "1f408": "cat"})
    tar(contrast, folder / "iconify-json-fluent-emoji-high-contrast-1.2.6.tgz")
    named = icons({"cat": ring(42), "no-emoji": ring(46)}, {})
    tar(named, folder / "iconify-json-emojione-monotone-1.2.1.tgz")
    weights = {400: font(0x1F34E), 700: font(0x1F34E, 0x1F408)}
    glyphs = {f"package/files/noto-emoji-0-{weight}-normal.woff": content for weight, content in weights.items()}
    tar(glyphs, folder / "fontsource-noto-emoji-5.3.2.tgz")
    words = {"package/meta/groups.json": GROUPS, "package/en/data.json": EMOJI}
    tar({name: json.dumps(value).encode() for name, value in words.items()}, folder / "emojibase-data-17.0.0.tgz")
    stamps = "usr/share/tuxpaint/stamps"
    files = {
        f"{stamps}/animals/cat.png": picture("PNG", "grey", 100),
        f"{stamps}/animals/cat.txt": b"A cat.\nfr.utf8=Un chat.\n",
        f"{stamps}/animals/cat_mirror.png": picture("PNG", "grey", 100),
        f"{stamps}/food/fruit/apple_fuji.svg": svg(disc("red"), size='width="60.0pt" height="60.0pt"'),
        f"{stamps}/food/fruit/apple_fuji.txt": "A “Fuji” apple.\n".encode(),
        f"{stamps}/symbols/math/1.png": picture("PNG"),
        f"{stamps}/symbols/math/1.txt": b"The number one.\n",
        f"{stamps}/household/ghost.png": picture("PNG", "white"),
        f"{stamps}/household/ghost.txt": b"A ghost.\n",
    }
    deb(files, folder / "tuxpaint-stamps-default_1_all.deb")
    art = "usr/share/games/pysiogame/res/images/art4apps"
    drawings = {"animals/cat": "brown", "actions/run": "pink", "body/nose": "red", "fruit_n_veg/bananas": "yellow"}
    deb({f"{art}/{name}.jpg": picture("JPEG", c, 200) for name, c in drawings.items()}, folder / "pysiogame_1_all.deb")
    clip = "usr/share/openclipart/svg"
    drawn = {
        "animals/cat_01": svg(disc("teal"), "Cat"),
        "animals/gatto_01": svg(disc("tan"), "Gatto nero"),
        "animals/cat_line": svg(ring(36), "cat"),
        "animals/cat_dark": svg(disc("black"), "cat"),
        "food/fruit/pear_jean-victor_balin_01r": svg(disc("salmon"), "pear"),
        "animals/seal_sek_": svg(disc("grey"), "cat"),
        "animals/strange": svg(disc("red"), "Xyzzy"),
        "shapes/cat": svg(disc("red"), "cat"),
    }
    deb({f"{clip}/{name}.svg": content for name, content in drawn.items()}, folder / "openclipart-svg_1_all.deb")
    return folder


def prepare(archives: Path, output: Path, *options: str) -> int:
    return main(["--output", str(output), "--archives", str(archives), "--workers", "1", *options])


@pytest.fixture(scope="module")
def prepared(archives, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("prepared")
    assert prepare(archives, output, "--only", "images,sketches") == 0
    return output


def test_rows_of_all_sources(prepared):
    manifest = read_manifest(prepared)
    rows = {row.id: row for row in manifest.rows}
    styles = {row.style for row in manifest.rows if row.concept == "cat" and row.image}
    assert styles == {"noto", "twemoji", "fluent", "openmoji", "stamp", "drawing", "clipart"}
    assert rows["noto-1f34e"].text == ("red apple", "a red apple", "red apple, fruit, food")
    assert rows["stamp-food-fruit-apple_fuji"].text[0] == "Fuji apple"
    assert rows["drawing-actions-run"].text == ("running", "to run", "run")
    assert rows["drawing-fruit_n_veg-bananas"].concept == "banana"
    assert rows["clipart-animals-gatto_01"].text[0] == "black cat"
    assert rows["clipart-food-fruit-pear_jean-victor_balin_01r"].concept == "apple"  # by eye, whatever its title says
    assert rows["openmoji-e001"].text == ("tablet", "a tablet")
    for absent in (
        "noto-1f408-1f3fb",  # a skin tone
        "noto-1f1e6",  # a part of a flag
        "openmoji-e002",  # a brand
        "drawing-body-nose",  # an arrow points at it
        "stamp-symbols-math-1",  # a digit
        "stamp-household-ghost",  # white on white
        "clipart-animals-strange",  # no English word
        "clipart-shapes-cat",  # no thing
        "clipart-animals-cat_dark",  # a silhouette
        "clipart-animals-seal_sek_",  # by eye: not what its title says
    ):
        assert absent not in rows
    assert (
        len({(prepared / row.media[m]).read_bytes() for row in rows.values() for m in row.media if row.style == "noto"})
        == 3
    )


def test_every_file_belongs_to_a_row(prepared):
    named = {path for row in read_manifest(prepared).rows for path in row.media.values()}
    assert {path.relative_to(prepared).as_posix() for path in prepared.glob("*/*/*")} == named


def test_sketches_are_line_art_and_never_ambiguous(prepared):
    sketches = read_manifest(prepared).select(modality="sketch")
    assert {row.id for row in sketches} == {
        "openmoji-sketch-1f34e",
        "openmoji-sketch-1f408",
        "openmoji-sketch-e001",
        "fluent-contrast-sketch-1f34e",
        "fluent-contrast-sketch-1f408",
        "emojione-sketch-1f408",  # found by its name
        "noto-font-sketch-1f34e",  # of the regular weight alone
        "clipart-sketch-animals-cat_line",
    }
    assert all(row.text and row.image is None for row in sketches)


def test_a_glyph_is_drawn_upright(prepared):
    with Image.open(prepared / "sketches/noto-font/1f34e.png") as image:
        dark = np.asarray(image) < 128
    assert dark[100].sum() > 2 * dark[30].sum() > 0


def test_pictures_are_square_centred_and_on_white(prepared):
    manifest = read_manifest(prepared)
    for row in manifest.rows:
        (modality, path), *more = row.media.items()
        assert not more
        with Image.open(prepared / path) as image:
            pixels = np.asarray(image.convert("L")).astype(int)
            assert image.mode == ("L" if modality == "sketch" else "RGB")
        size = 64 if row.style in ("noto", "twemoji") else 128
        assert pixels.shape == (size, size)
        lines = np.flatnonzero((pixels < 240).any(axis=1)), np.flatnonzero((pixels < 240).any(axis=0))
        margins = [(line[0], size - 1 - line[-1]) for line in lines]
        assert min(min(pair) for pair in margins) in range(round(size * 0.04), round(size * 0.09))
        assert all(abs(a - b) <= 6 for a, b in margins)


def test_the_same_bytes_twice(prepared, archives, tmp_path, capsys):
    assert prepare(archives, tmp_path, "--only", "images,sketches") == 0
    assert (tmp_path / "metadata.jsonl").read_bytes() == (prepared / "metadata.jsonl").read_bytes()
    printed = capsys.readouterr().out
    assert read_manifest(prepared).digest in printed
    assert (
        "image noto" in printed and "sketch openmoji" in printed and "nothing to see: stamp-household-ghost" in printed
    )
    before = (tmp_path / "metadata.jsonl").read_bytes()
    assert prepare(archives, tmp_path, "--only", "sketches") == 0
    assert (tmp_path / "metadata.jsonl").read_bytes() == before
    assert (tmp_path / "contact_sheet.png").is_file()


def test_splits_hold_out_concepts_then_styles_then_sketches():
    pictures = [
        Picture(f"emoji:{number:04X}", f"thing {number}", (), style, "", "", "", Path("a.png"), modality)
        for number in range(600)
        for style, modality in [
            ("noto", "image"),
            ("fluent", "image"),
            ("openmoji", "image"),
            ("openmoji", "sketch"),
            ("emojione", "sketch"),
        ]
    ]
    concepts = join_concepts(pictures)
    assert len(concepts) == 600
    held = [concept for concept in concepts.values() if concept.split == "test_concept"]
    assert 35 <= len(held) <= 85 and all(concept_split(concept.id) == "test_concept" for concept in held)
    assert all(held_out_style(concept) is None for concept in held)
    images, sketches = jobs(concepts, "image"), jobs(concepts, "sketch")
    assert {job.row.split for job in images} == {"train", "test_concept", "test_style"}
    assert {job.row.split for job in sketches} == {"train", "test_concept", "test_sketch"}
    styles = [job.row for job in images if job.row.split == "test_style"]
    assert 100 <= len(styles) <= 170 and len({row.concept for row in styles}) == len(styles)
    assert len({row.style for row in styles}) == 3
    assert 50 <= sum(job.row.split == "test_sketch" for job in sketches) <= 115
    assert {job.row.split for job in sketches if job.row.style == "emojione"} == {"train", "test_concept"}


def test_a_faint_picture_gives_no_row_and_its_concept_stays(tmp_path, capsys):
    (tmp_path / "a.png").write_bytes(picture("PNG"))
    keys = [min(FAINT), "stamps:animals/owl"]
    concepts = join_concepts([Picture(key, "ghost", (), "stamp", "", "", "", tmp_path / "a.png") for key in keys])
    assert [row.id for row in rows(concepts, tmp_path, "image", workers=1)] == ["stamp-animals-owl"]
    assert concepts["ghost"].sources == tuple(sorted(keys)), "what is said of it still finds the concept"
    assert "1 left out, too faint on white, looked at one by one" in capsys.readouterr().out


def test_small_drawings_are_drawn_again_larger(tmp_path):
    (tmp_path / "a.svg").write_bytes(
        svg('<rect x="500" y="500" width="80" height="80" fill="red"/>', size='viewBox="0 0 1000 1000"')
    )
    pixels = np.asarray(render(tmp_path / "a.svg", 128))
    assert pixels.shape == (128, 128, 3) and (pixels[64, 64] == (255, 0, 0)).all()
    assert (pixels[10:118, 10:118] == (255, 0, 0)).all(axis=2).mean() > 0.95


def test_archives_say_what_is_missing(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=r"package openmoji: npm is not installed; put openmoji-17.0.0.tgz into"):
        Archives(tmp_path).path("openmoji")
    (tmp_path / "pysiogame_1_all.deb").write_bytes(b"no package")
    with pytest.raises(InputError, match="not a Debian package"):
        Archives(tmp_path).path("pysiogame")
    assert prepare(tmp_path, tmp_path / "out") == 2
    assert capsys.readouterr().err.startswith("error: package ")
    with pytest.raises(SystemExit):
        prepare(tmp_path, tmp_path / "out", "--only", "pictures")


def test_a_python_that_cannot_unpack_safely_is_refused(tmp_path, monkeypatch):
    monkeypatch.delattr(tarfile, "data_filter", raising=False)
    tar({"package/a.txt": b"a"}, tmp_path / "openmoji-17.0.0.tgz")
    with pytest.raises(
        InputError, match=r"openmoji-17.0.0.tgz: this Python cannot unpack it safely; use Python 3.11.4"
    ):
        Archives(tmp_path).path("openmoji")


@pytest.mark.skipif(not hasattr(tarfile, "data_filter"), reason="Python 3.11.3 and older cannot unpack archives safely")
def test_links_out_of_a_package_are_left_out_and_files_out_of_it_refused(tmp_path):
    link = tarfile.TarInfo("package/font.ttf")
    link.type, link.linkname = tarfile.SYMTYPE, "/usr/share/fonts/font.ttf"
    for name, escapes in (("package/a.txt", False), ("../a.txt", True)):
        folder = tmp_path / str(escapes)
        folder.mkdir()
        with tarfile.open(folder / "openmoji-17.0.0.tgz", "w:gz") as archive:
            archive.addfile(link)
            archive.addfile(tarfile.TarInfo(name))
        if escapes:
            with pytest.raises(tarfile.OutsideDestinationError):
                Archives(folder).path("openmoji")
            assert not list(folder.rglob("a.txt"))
        else:
            assert [file.name for file in Archives(folder).path("openmoji").iterdir()] == ["a.txt"]


def test_with_a_size_what_has_fewer_pixels_is_left_out(prepared, archives, tmp_path, capsys):
    assert prepare(archives, tmp_path, "--only", "images", "--size", "256") == 0
    large = {row.id: row for row in read_manifest(tmp_path).rows}
    assert "openmoji-1f408" in large and not any(row.style in ("noto", "twemoji") for row in large.values())
    for row in large.values():
        with Image.open(tmp_path / row.image) as image:
            assert image.size == (256, 256)
    same = {row.id: row for row in read_manifest(prepared).rows}
    assert all(row.split == same[name].split for name, row in large.items())
    assert "fewer pixels than asked for" in capsys.readouterr().out


def test_a_size_that_cannot_be_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["--output", str(tmp_path), "--size", "huge"])
    assert "'huge' is not a whole number from 16 to 1024" in capsys.readouterr().err
