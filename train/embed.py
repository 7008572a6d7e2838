"""Compute what no training changes, once: ``python -m train.embed --recipe pictograms --data data/pictograms``.

Every item of the manifest goes through its processor and the frozen part of its tower. The results lie in
``RUN/cache`` and are read by all other trainings; of pictures, and with trainable backbones, they are the processed
inputs themselves.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from train.command import one_line_errors
from train.models import build_processor
from train.stage import default_run, find_recipe
from train.versions import Version
from unclip_mm.data.cache import ModalityCache, pixels_to_bytes
from unclip_mm.data.manifest import INFORMATION, Manifest, Row, read_manifest
from unclip_mm.encoder import MultimodalEncoder, build_encoder
from unclip_mm.errors import InputError
from unclip_mm.processing import MultimodalProcessor, VisionProcessor
from unclip_mm.upsampler import FACTOR

PICTURES = "pictures"
"""The part of the cache that holds the training pictures at the size in which they are to be made."""
LARGE = "large"
"""The part that holds those that have the pixels at twice that size, for the upsampler; only where it is asked for."""


@dataclass(frozen=True)
class Item:
    """One raw input of one modality, and what is written about it."""

    source: Any
    about: dict[str, str]


def items(manifest: Manifest, modality: str) -> list[Item]:
    """List the raw inputs of a modality; equal captions of one concept and split are one item."""
    found: dict[Any, Item] = {}
    for row in manifest.rows:
        if modality not in row.modalities:
            continue
        about = {"row": row.id, "concept": row.concept, "split": row.split}
        about |= {name: getattr(row, name) for name in INFORMATION if getattr(row, name) is not None}
        if modality == "text":
            for caption in row.text:
                found.setdefault((row.concept, caption, row.split), Item(caption, about | {"text": caption}))
        else:
            found[row.id] = Item(_media(manifest, row, modality), about | _label(row))
    return list(found.values())


def with_versions(found: list[Item], versions: dict[str, int]) -> list[Item]:
    """Add other versions of training sounds, as many of each as ``versions`` says of its kind."""
    made = [
        Item(Version(item.source, seed), item.about | {"row": f"{item.about['row']}/{seed}"})
        for item in found
        if item.about["split"] == "train"
        for seed in range(versions.get(item.about.get("kind", ""), 0))
    ]
    return found + made


def _media(manifest: Manifest, row: Row, modality: str) -> Path:
    return manifest.path(row, modality)


def _label(row: Row) -> dict[str, str]:
    return {"text": row.text[0]} if row.text else {}


def compute(
    encoder: MultimodalEncoder, processor: MultimodalProcessor, modality: str, inputs: list[Item], batch_size: int = 32
) -> ModalityCache:
    """Run every item through its processor and the frozen part of its tower."""
    parts: defaultdict[str, list[Tensor]] = defaultdict(list)
    order = _by_length(inputs)
    for start in tqdm(range(0, len(order), batch_size), desc=modality, unit="batch"):
        batch = [inputs[i] for i in order[start : start + batch_size]]
        tensors = processor({modality: [_load(item.source) for item in batch]})[modality]
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=encoder.tower(modality).frozen):
            features = encoder.features(modality, tensors)
        raw = encoder.tower(modality).backbone is None
        for name, values in (_packed(features) if raw else _halved(_packed(features))).items():
            parts[name].append(values)
    return ModalityCache({name: _join(values) for name, values in parts.items()}, [inputs[i].about for i in order])


def compute_pictures(manifest: Manifest, size: int, batch_size: int = 32, whole: bool = False) -> ModalityCache:
    """Read the pictures that may be trained on, ``size`` pixels a side; or, ``whole``, those that need not be enlarged.

    Raises:
        InputError: There are none.
    """
    processor = MultimodalProcessor({"image": VisionProcessor(size)})
    inputs = [item for item in items(manifest, "image") if item.about["split"] in ("train", "validation")]
    if whole:
        inputs = [item for item in inputs if _side(item.source) >= size]
    if not inputs:
        raise InputError(f"data: no picture to train on has {size} pixels a side; prepare larger ones")
    parts = []
    for start in tqdm(range(0, len(inputs), batch_size), desc=PICTURES, unit="batch"):
        sources = [item.source for item in inputs[start : start + batch_size]]
        parts.append(pixels_to_bytes(processor({"image": sources})["image"]["pixels"]))
    return ModalityCache({"pixels": torch.cat(parts)}, [item.about for item in inputs])


def _side(file: Path) -> int:
    with Image.open(file) as image:
        return min(image.size)


def _by_length(inputs: list[Item]) -> list[int]:
    """Order texts by length and files by size, so that little is padded."""

    def length(i: int) -> int:
        source = inputs[i].source
        file = source.file if isinstance(source, Version) else source
        return len(file) if isinstance(file, str) else file.stat().st_size

    return sorted(range(len(inputs)), key=length)


def _load(source: Any) -> Any:
    """Make a version of a sound; what is not one is read by its processor."""
    return source.load() if isinstance(source, Version) else source


def _packed(features: dict[str, Tensor]) -> dict[str, Tensor]:
    """Bytes for pixels, and sequences without their padding."""
    if "mask" in features:
        return {"tokens": features["tokens"][features["mask"]], "lengths": features["mask"].sum(dim=1)}
    return {name: pixels_to_bytes(values) if name == "pixels" else values for name, values in features.items()}


def _halved(features: dict[str, Tensor]) -> dict[str, Tensor]:
    """Half precision for what networks say and hear; somebody's own vectors may need more, and are kept as they are."""
    return {name: values.half() if values.is_floating_point() else values for name, values in features.items()}


def _join(parts: list[Tensor]) -> Tensor:
    """Put batches end to end; where a trainable tower's inputs differ in length, the shorter ones are padded with 0."""
    longest = [max(part.shape[axis] for part in parts) for axis in range(1, parts[0].ndim)]
    if parts[0].ndim < 2 or all(list(part.shape[1:]) == longest for part in parts):
        return torch.cat(parts)
    padding = [[n - size for n, size in zip(longest, part.shape[1:], strict=True)] for part in parts]
    flat = [[value for n in reversed(pads) for value in (0, n)] for pads in padding]
    return torch.cat([torch.nn.functional.pad(part, pads) for part, pads in zip(parts, flat, strict=True)])


def main(
    recipe: str = "pictograms",
    data: Path | None = None,
    run: Path | None = None,
    modalities: tuple[str, ...] = (),
) -> None:
    """Fill the cache of a run.

    Args:
        recipe: Name of a recipe.
        data: The manifest folder; data/RECIPE'S DATA by default.
        run: Folder of the run; runs/RECIPE by default.
        modalities: Only these (or "pictures", what the renderer is to make, or "large", what the upsampler is); by
            default all but "large" that are not cached yet.
    """
    chosen = find_recipe(recipe)
    folder = (run or default_run(recipe)) / "cache"
    manifest = read_manifest(data or Path("data") / chosen.data)
    parts = (*chosen.encoder.towers, PICTURES)
    wanted = modalities or tuple(part for part in parts if not (folder / f"{part}.safetensors").is_file())
    saved = folder.parent / "export" / "processor"
    # A folder of larger pictures has other captions: what reads the run's captions stays as it is.
    if set(wanted) - {PICTURES, LARGE} or not saved.is_dir():
        encoder = build_encoder(chosen.encoder.dim, chosen.encoder.towers).eval()
        processor = build_processor(chosen, [t for row in manifest.rows if row.split == "train" for t in row.text])
        if saved.is_dir():  # what is cached already was read by these: a tokenizer of other captions spells otherwise
            before = MultimodalProcessor.from_pretrained(saved).processors
            kept = {name: before[name] for name in processor.modalities if name in before and name not in wanted}
            processor = MultimodalProcessor({**processor.processors, **kept})
        processor.save_pretrained(saved)
    for modality in wanted:
        if modality in (PICTURES, LARGE):
            large = modality == LARGE
            size = chosen.renderer.picture_size * (FACTOR if large else 1)
            cache = compute_pictures(manifest, size, whole=large)
        else:
            inputs = items(manifest, modality)
            if not any(item.about["split"] == "train" for item in inputs):
                raise InputError(
                    f"data: no row to train on has {modality!r}, for which the recipe has a tower; give some, or take the "
                    "tower out of the recipe"
                )
            if modality == "audio":
                inputs = with_versions(inputs, chosen.encoder.versions)
            cache = compute(encoder, processor, modality, inputs)
        cache.save(folder, modality)
        sizes = ", ".join(f"{name} {tuple(values.shape)}" for name, values in cache.tensors.items())
        print(f"{modality}: {len(cache)} items; {sizes}")


if __name__ == "__main__":
    with one_line_errors("train.embed"):
        tyro.cli(main)
