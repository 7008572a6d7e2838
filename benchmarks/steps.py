"""What fewer steps cost: ``python -m benchmarks.steps --data data/pictograms --teacher runs/pictograms/export/decoder``.

Makes pictures of seen concepts from their words, by the checkpoint's decoder and, where one is given, by the decoder that it
was distilled from, in fewer and more steps, and has them judged as ``train.evaluate`` does. With ``--part prior`` it is the
prior that takes fewer and more, and does without guidance. Times and distances are also given relative to the last row, the
slowest, in one run. Nothing else should run beside it.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tyro
from PIL import Image

from train.command import one_line_errors
from train.config import DistillConfig
from train.evaluate import load_pipeline, parse_seeds
from train.evaluation.generation import Features, Gallery, Prompts, choose_prompts
from train.evaluation.items import Pool, build_pools, images
from train.evaluation.judging import open_judge
from train.evaluation.report import table
from unclip_mm.data.manifest import read_manifest
from unclip_mm.decoder import EmbeddingDecoder
from unclip_mm.errors import InputError
from unclip_mm.metrics import concept_accuracy, frechet_distance

BATCH = 20


@dataclass(frozen=True)
class Way:
    """A way to make the pictures."""

    name: str
    decoder: EmbeddingDecoder
    steps: int
    settings: dict[str, float]


def decoder_ways(pipe: Any, teacher: EmbeddingDecoder | None, guidance: float) -> list[Way]:
    """Return the ways to paint, the slowest last."""

    def way(name: str, decoder: EmbeddingDecoder, steps: int, scale: float) -> Way:
        return Way(name, decoder, steps, {"num_inference_steps": steps, "guidance_scale": scale})

    own = [way("checkpoint", pipe.decoder, steps, pipe.config.guidance_scale) for steps in (1, 2, 4, 8, 50)]
    if teacher is None:
        return own
    return own[:-1] + [way("teacher, guided", teacher, steps, guidance) for steps in (4, 12, 50)]


def prior_ways(pipe: Any) -> list[Way]:
    """Return the ways to imagine, the slowest last."""

    def way(name: str, steps: int, scale: float) -> Way:
        return Way(name, pipe.decoder, steps, {"prior_steps": steps, "prior_guidance_scale": scale})

    unguided = [way("prior, unguided", steps, 1.0) for steps in (5, 10)]
    return unguided + [way("prior", steps, pipe.config.prior_guidance_scale) for steps in (2, 5, 10, 50)]


def prompts_of(pool: Pool, concepts: int, seed: int) -> Prompts:
    """Choose what is asked for with one seed.

    Raises:
        InputError: There are not two concepts with words and a picture.
    """
    prompts = choose_prompts(pool, ("text",), concepts, seed)
    if prompts is None:
        raise InputError("data: fewer than two seen concepts have words and a picture; give the prepared pictograms")
    return prompts


def make(pipe: Any, way: Way, prompts: Prompts) -> tuple[list[Image.Image], float]:
    """Make the pictures of all prompts; return them, and the seconds that one took."""
    pipe.decoder = way.decoder
    [items] = prompts.given.values()
    words = [item.value for item in items]
    seeds = [prompts.seed * 100_000 + place for place in range(len(words))]
    made: list[Image.Image] = []
    started = time.perf_counter()
    for start in range(0, len(words), BATCH):
        part = slice(start, start + BATCH)
        made += pipe(text=words[part], seeds=seeds[part], **way.settings).images
    return made, (time.perf_counter() - started) / len(words)


def measure(pipe: Any, way: Way, prompts: Sequence[Prompts], features: Features, gallery: Gallery) -> dict[str, float]:
    """Return the means over seeds of the Frechet distance to real pictures, top-5 accuracy and seconds a picture."""
    found: dict[str, list[float]] = {"distance": [], "top5": [], "seconds": []}
    for one in prompts:
        made, seconds = make(pipe, way, one)
        vectors, asked = features(made), set(one.concepts)
        found["distance"].append(frechet_distance(vectors, gallery.of(lambda item, asked=asked: item.concept in asked)))
        found["top5"].append(concept_accuracy(vectors, one.concepts, gallery.features, gallery.concepts, 5, None))
        found["seconds"].append(seconds)
    return {name: statistics.mean(values) for name, values in found.items()}


def rows_of(compared: Sequence[Way], measured: Sequence[dict[str, float]]) -> list[list[str]]:
    """Return a row a way, with what it costs relative to the last."""
    last = measured[-1]
    return [
        [
            way.name,
            str(way.steps),
            f"{one['seconds']:.3f}",
            f"{one['seconds'] / last['seconds']:.2f}",
            f"{one['distance']:.3f}",
            f"{one['distance'] / last['distance']:.3f}",
            f"{100 * one['top5']:.0f}",
        ]
        for way, one in zip(compared, measured, strict=True)
    ]


def main(
    data: Path,
    checkpoint: str = "pictograms",
    part: Literal["decoder", "prior"] = "decoder",
    teacher: Path | None = None,
    archives: Path | None = None,
    concepts: int = 100,
    seeds: str = "0,1,2",
    teacher_guidance: float = DistillConfig.guidance_scale,
) -> None:
    """Print the table.

    Args:
        data: The prepared pictograms.
        checkpoint: The pipeline.
        part: Which of its parts takes fewer steps and more.
        teacher: The folder of the decoder that the checkpoint's was distilled from.
        archives: Where the package with the judge's network is or shall be; by default DATA/archives.
        concepts: Asked for with each seed.
        seeds: Each chooses concepts and noise anew.
        teacher_guidance: The guidance scale that the teacher is sampled with; by default what it is distilled with.
    """
    pipe = load_pipeline(checkpoint, "cpu")
    manifest = read_manifest(data)
    judge, gallery = open_judge(data, archives, images(manifest), pipe.config.image_size)
    pool = build_pools(manifest, modalities=pipe.modalities)[0]
    prompts = [prompts_of(pool, concepts, seed) for seed in parse_seeds(seeds)]
    loaded = None if teacher is None else EmbeddingDecoder.from_pretrained(teacher).eval()
    compared = prior_ways(pipe) if part == "prior" else decoder_ways(pipe, loaded, teacher_guidance)
    for way in compared:
        make(pipe, way, prompts_of(pool, BATCH, 0))  # the first run of each takes longer: it is not counted
    measured = [measure(pipe, way, prompts, judge.features_of_images, gallery) for way in compared]
    header = [part, "steps", "s a picture", "relative", "Frechet", "relative", "top-5"]
    print(table(header, rows_of(compared, measured)))


if __name__ == "__main__":
    with one_line_errors("benchmarks.steps"):
        tyro.cli(main)
