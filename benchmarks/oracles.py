"""What limits the pictures: ``python -m benchmarks.oracles --data data/pictograms``.

Replaces one part of the model after the other by the truth, and has the pictures judged as ``train.evaluate`` does. From
top to bottom: the real pictures themselves (the pictures judged are left out of what they are compared with); the
autoencoder alone; the image tower and the decoder as well, from the pictures' own embeddings; the prior as well, which is
asked with the pictures' own aligned vectors; and the towers as well, asked with texts, voices, drawings and sounds. The step
from one row to the next is what that part costs.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import tyro
from PIL import Image

from train.command import one_line_errors
from train.evaluate import load_pipeline, parse_seeds
from train.evaluation.generation import OWN, REAL, Made, Prompts, choose_prompts, score
from train.evaluation.items import build_pools, images
from train.evaluation.judging import open_judge
from train.evaluation.report import table
from unclip_mm.autoencoder import decode_latents, encode_latents
from unclip_mm.data.manifest import read_manifest

ASKED = (("text", "speech"), ("sketch",), ("sound",))
"""Kinds that are asked about the same concepts."""
BATCH = 32
ROWS = {REAL: "real pictures", "autoencoder": "+ autoencoder", OWN: "+ image tower and decoder", "aligned": "+ prior"}


@torch.no_grad()
def reconstruct(pipe: Any, pictures: Sequence[Path]) -> list[Image.Image]:
    """Encode and decode pictures by the autoencoder alone."""
    made = []
    for start in range(0, len(pictures), BATCH):
        tensors = pipe.processor({"image": list(pictures[start : start + BATCH])})["image"]["pixels"]
        decoded = decode_latents(pipe.autoencoder, encode_latents(pipe.autoencoder, tensors.to(pipe.device)))
        arrays = ((decoded.float().cpu() + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
        made += [Image.fromarray(array) for array in arrays]
    return made


def make_all(pipe: Any, prompts: Prompts) -> Made:
    """Make the pictures of every row of the table."""
    files = [Path(item.value) for item in prompts.real]
    seeds = [prompts.seed * 100_000 + place for place in range(len(files))]

    def batched(make: Callable[[slice], list[Image.Image]]) -> list[Image.Image]:
        return [one for start in range(0, len(files), BATCH) for one in make(slice(start, start + BATCH))]

    made = {
        "autoencoder": reconstruct(pipe, files),
        OWN: batched(lambda part: pipe(image=files[part], seeds=seeds[part]).images),
        "aligned": batched(
            lambda part: pipe(embeddings=pipe.encode(image=files[part])["image"], seeds=seeds[part]).images
        ),
    }
    for kind, items in prompts.given.items():
        values = [item.value for item in items]
        modality = items[0].modality
        made[kind] = batched(
            lambda part, values=values, modality=modality: (
                pipe(inputs={modality: values[part]}, seeds=seeds[part]).images
            )
        )
    return Made(prompts, made)


def rows_of(records: Sequence[dict[str, dict[str, float | None]]]) -> list[list[str]]:
    """Mean and deviation over seeds, a row a variant."""
    rows = []
    for variant in (REAL, *(name for name in records[0] if name != REAL)):
        cells = [ROWS.get(variant, f"+ {variant} tower")]
        for measure, scale in (("top1", 100), ("top5", 100), ("ratio", 1)):
            values = [record[variant][measure] for record in records]
            known = [scale * value for value in values if value is not None]
            digits = 0 if scale == 100 else 2
            spread = statistics.stdev(known) if len(known) > 1 else 0.0
            cells.append(f"{statistics.mean(known):.{digits}f} ± {spread:.{digits}f}" if known else "")
        rows.append(cells)
    return rows


def main(
    data: Path,
    checkpoint: str = "pictograms",
    archives: Path | None = None,
    concepts: int = 100,
    seeds: str = "0,1,2",
) -> None:
    """Print a table for each group of kinds.

    Args:
        data: The prepared pictograms.
        checkpoint: The pipeline.
        archives: Where the package with the judge's network is or shall be; by default DATA/archives.
        concepts: A question at most.
        seeds: Each chooses concepts, items and noise anew.
    """
    pipe = load_pipeline(checkpoint, "cpu")
    manifest = read_manifest(data)
    judge, gallery = open_judge(data, archives, images(manifest), pipe.config.image_size)
    pool = build_pools(manifest, modalities=pipe.modalities)[0]
    for kinds in ASKED:
        records = []
        for seed in parse_seeds(seeds):
            prompts = choose_prompts(pool, kinds, concepts, seed)
            if prompts is not None:
                records.append(score(make_all(pipe, prompts), judge.features_of_images, gallery))
        print(f"{pool.name} concepts, asked with {' and '.join(kinds)}")
        print(table(["made by", "top-1", "top-5", "Frechet ratio"], rows_of(records)), "\n", flush=True)


if __name__ == "__main__":
    with one_line_errors("benchmarks.oracles"):
        tyro.cli(main)
