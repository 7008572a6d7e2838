"""Emoji drawn in black by other hands, as sketches: two icon sets and a font, unfolded into one SVG file an emoji."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from train.pictograms.archives import Archives

Svgs = Iterator[tuple[str, str]]
"""Code points joined by dashes, as in ``1f34e``, and the SVG that shows them."""


def unfold(archives: Archives, package: str, labels: Mapping[str, str]) -> Path:
    """Return the folder of a package's drawings, after writing them there if need be; files are named by code points.

    Args:
        archives: Where the package is.
        package: A key of :data:`READERS`.
        labels: The label of every emoji by code points, for sets that name their icons by labels.
    """
    inside = archives.path(package)
    folder = inside.parent / "drawings"
    if not folder.is_dir():
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            made = Path(scratch) / "drawings"
            made.mkdir()
            for code, svg in READERS[package](inside, labels):
                (made / f"{code}.svg").write_text(svg, encoding="utf-8")
            made.rename(folder)
    return folder


def icons(folder: Path, labels: Mapping[str, str]) -> Svgs:
    """Read a set of the Iconify project; one without a table of code points names its icons by the emoji's labels."""
    chosen = json.loads((folder / "icons.json").read_text(encoding="utf-8"))
    named = json.loads((folder / "chars.json").read_text(encoding="utf-8"))
    named = named or {code: icon_name(label) for code, label in labels.items()}
    for code, name in named.items():
        if name in chosen["icons"]:
            box = f'viewBox="0 0 {chosen["width"]} {chosen["height"]}"'
            yield code.lower(), _svg(box, chosen["icons"][name]["body"])


def icon_name(label: str) -> str:
    """Return what an icon of an emoji is called.

    Example:
        >>> icon_name("cat with tears of joy"), icon_name("flag: Åland Islands"), icon_name("woman’s hat")
        ('cat-with-tears-of-joy', 'flag-aland-islands', 'womans-hat')
    """
    plain = label.lower().replace("å", "a").replace("’", "").replace("'", "")
    return "-".join(re.findall(r"[a-z0-9]+", plain))


def glyphs(folder: Path, labels: Mapping[str, str]) -> Svgs:
    """Draw the glyphs of a font's regular weight, which lies in several files; those that are joined are left out."""
    from fontTools.pens.boundsPen import BoundsPen
    from fontTools.pens.svgPathPen import SVGPathPen
    from fontTools.ttLib import TTFont

    for file in sorted((folder / "files").glob("*-[0-9]*-400-normal.woff")):
        font = TTFont(file)
        outlines = font.getGlyphSet()
        for point, name in font.getBestCmap().items():
            bounds, path = BoundsPen(outlines), SVGPathPen(outlines)
            outlines[name].draw(bounds)
            outlines[name].draw(path)
            if bounds.bounds:
                left, bottom, right, top = bounds.bounds
                box = f'viewBox="{left} {-top} {right - left} {top - bottom}"'
                yield f"{point:x}", _svg(box, f'<path transform="scale(1,-1)" d="{path.getCommands()}"/>')


def _svg(box: str, body: str) -> str:
    return f'<svg xmlns="http://www.w3.org/2000/svg" {box}>{body}</svg>'


READERS: Mapping[str, Callable[[Path, Mapping[str, str]], Svgs]] = {
    "@iconify-json/fluent-emoji-high-contrast": icons,
    "@iconify-json/emojione-monotone": icons,
    "@fontsource/noto-emoji": glyphs,
}
