"""Evaluate a trained pipeline: ``python -m train.evaluate --checkpoint X --data DIR --output report.json``.

Recall between every pair of modalities, and concept accuracy and distances of generated images in the features of a
network that is no part of the model; docs/evaluation.md says what every figure means.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro
from PIL import Image
from torch import Tensor

from train.evaluation.failures import draw_failures, find_failures
from train.evaluation.generation import Made, conditions, evaluate_generation
from train.evaluation.items import LANGUAGE, Item, Pool, build_pools, images
from train.evaluation.judging import open_judge
from train.evaluation.report import (
    GENERATION_KEYS,
    RETRIEVAL_KEYS,
    generation_table,
    over_seeds,
    retrieval_table,
    summarise,
    summary_table,
    write_report,
)
from train.evaluation.retrieval import evaluate_retrieval
from train.evaluation.sheets import draw_seeds, draw_sheet
from train.evaluation.space import (
    draw_space,
    draw_spectrum,
    draw_training,
    embed_concepts,
    encode_with,
    measure_space,
    read_training,
    space_table,
    untrained,
)
from train.judge import PACKAGE, RESOLUTION
from unclip_mm.data.manifest import read_manifest
from unclip_mm.errors import InputError, UnclipError


@dataclass(frozen=True)
class Options:
    """What to evaluate, on what, and how much of it."""

    checkpoint: str
    """The pipeline: a folder, a hub id, or "pictograms" for the bundled one."""
    data: Path
    """The manifest folder, as ``python -m train.pictograms`` prepares it."""
    output: Path
    """Where the report goes, as JSON."""
    archives: Path | None = None
    """Where the package with the judge's network is or shall be; by default DATA/archives."""
    sheets: Path | None = None
    """A folder for sheets of unpicked pictures, one a condition; none by default."""
    diagnostics: Path | None = None
    """A folder for plots of the shared space, before and after training: gaps, spectra, conflicts; none by default."""
    training_log: Path | None = None
    """With diagnostics: the log of the encoder's training (runs/NAME/encoder/log.jsonl), to draw them over its steps."""
    concepts: int = 200
    """Concepts a question at most; also the number of candidates in retrieval."""
    seeds: str = "0,1,2"
    """Each seed chooses concepts, items and noise anew; the report gives mean and deviation."""
    steps: int | None = None
    """Steps of the decoder; the pipeline's default if not given."""
    prior_steps: int | None = None
    """Steps of the prior; the pipeline's default if not given."""
    guidance_scale: float | None = None
    """Guidance of the decoder; the pipeline's default if not given."""
    prior_guidance_scale: float | None = None
    """Guidance of the prior; the pipeline's default if not given."""
    generation: bool = True
    """Also generate and judge images; retrieval alone takes a few minutes and needs no judge."""
    conditions: tuple[str, ...] = ()
    """What images are asked for with, such as ``sound`` or ``text+speech``; by default all that there is."""
    resolution: int = RESOLUTION
    """Pixels a side at which the judge looks; figures of different resolutions cannot be compared."""
    language: str = LANGUAGE
    """The language of the captions: speech in other languages is counted apart."""
    device: str = "cuda" if torch.cuda.is_available() else "cpu"
    """Where the pipeline and the judge run."""


def evaluate(options: Options) -> dict[str, Any]:
    """Run the evaluation, print its tables, write the report and the sheets, and return the report.

    Raises:
        InputError: options or data that cannot be evaluated.
        CheckpointError: a checkpoint that cannot be loaded.
    """
    seeds = parse_seeds(options.seeds)
    if options.concepts < 2:
        raise InputError(f"concepts: {options.concepts} leaves nothing to confuse; give 2 or more")
    if options.training_log is not None and options.diagnostics is None:
        raise InputError("training-log: is drawn among the diagnostics; give --diagnostics FOLDER as well")
    training = [] if options.training_log is None else read_training(options.training_log)
    manifest = read_manifest(options.data)
    pipe = load_pipeline(options.checkpoint, options.device)
    pools = build_pools(manifest, options.language, pipe.modalities)
    check_conditions(options.conditions, pools)

    def encode(modality: str, values: Sequence[str | Path]) -> Tensor:
        return pipe.encode(inputs={modality: list(values)})[modality]

    retrieval = over_seeds(evaluate_retrieval(encode, pools, options.concepts, seeds), RETRIEVAL_KEYS)
    report: dict[str, Any] = {
        "checkpoint": options.checkpoint,
        "data": {"folder": str(options.data), "digest": manifest.digest, "rows": len(manifest)},
        "settings": {name: getattr(options, name) for name in ("concepts", "language", *_SAMPLING)} | {"seeds": seeds},
        "retrieval": retrieval,
    }
    print(retrieval_table(retrieval), "\n")
    if options.diagnostics is not None:
        report["space"] = diagnose(pipe, pools, options.concepts, options.diagnostics)
        if training:
            draw_training(training, options.diagnostics / "training.png")
    if options.generation:
        report |= judge_images(pipe, pools, images(manifest), seeds, options)
        print(generation_table(report["generation"]), "\n")
    report["summary"] = summarise(retrieval, report.get("generation", []))
    print(summary_table(report["summary"]))
    write_report(report, options.output)
    return report


def check_conditions(wanted: Sequence[str], pools: Sequence[Pool]) -> None:
    """Raise an InputError that names what images cannot be asked for with."""
    known = list(dict.fromkeys("+".join(kinds) for pool in pools for kinds in conditions(pool)))
    for name in wanted:
        if name not in known:
            raise InputError(f"conditions: {name!r} is not among what there is to ask with: {', '.join(known)}")


def diagnose(pipe: Any, pools: Sequence[Pool], concepts: int, folder: Path) -> dict[str, Any]:
    """Measure and draw the space of every pool, before and after training: the part ``space`` of the report."""
    trained, fresh = (encode_with(encoder, pipe.processor) for encoder in (pipe.encoder, untrained(pipe.encoder)))
    figures: dict[str, Any] = {}
    for pool in pools:
        before, after = (embed_concepts(encode, pool, concepts) for encode in (fresh, trained))
        anchor = "image" if "image" in after.modalities else after.modalities[0]
        figures[pool.name] = {"before": measure_space(before, anchor), "after": measure_space(after, anchor)}
        print(f"{pool.name} concepts\n{space_table(**figures[pool.name])}\n")
        draw_space(before, after, folder / f"{pool.name}-space.png")
        draw_spectrum(before, after, folder / f"{pool.name}-spectrum.png")
    return figures


_SAMPLING = {
    "steps": "num_inference_steps",
    "prior_steps": "prior_steps",
    "guidance_scale": "guidance_scale",
    "prior_guidance_scale": "prior_guidance_scale",
}


def judge_images(
    pipe: Any, pools: Sequence[Pool], real: Sequence[Item], seeds: Sequence[int], options: Options
) -> dict[str, Any]:
    """Generate, judge and draw: the parts ``judge`` and ``generation`` of the report."""
    sampling = {name: getattr(options, option) for option, name in _SAMPLING.items()}

    def make(given: Mapping[str, Sequence[str | Path]], noise: Sequence[int], prior: bool) -> list[Image.Image]:
        inputs = {name: list(values) for name, values in given.items()}
        asks_prior = prior and set(inputs) != {"image"}  # of which settings are refused where it is not asked
        settings = {name: value for name, value in sampling.items() if asks_prior or not name.startswith("prior_")}
        return list(pipe(inputs=inputs, seeds=list(noise), use_prior=prior, **settings).images)

    size = pipe.config.image_size
    judge, gallery = open_judge(options.data, options.archives, real, size, options.resolution, options.device)

    def keep(pool: Pool, made: Made) -> None:
        if options.sheets is not None:
            name = f"{pool.name}-{'-'.join(made.prompts.given)}".replace(" ", "-")
            draw_sheet(made, options.sheets / f"{name}.png")
            if made.further:
                draw_seeds(made, options.sheets / f"{name}-seeds.png")
            failures = find_failures(made, judge.features_of_images, gallery)
            draw_failures(failures, options.sheets / f"{name}-failures.png")

    records = evaluate_generation(
        make,
        judge.features_of_images,
        gallery,
        pools,
        options.concepts,
        seeds,
        only=options.conditions,
        keep=keep,
        prior=pipe.prior is not None,
    )
    return {
        "judge": {"network": PACKAGE, "resolution": options.resolution, "picture_size": size, "gallery": len(real)},
        "generation": over_seeds(records, GENERATION_KEYS),
    }


def load_pipeline(checkpoint: str, device: str) -> Any:
    """Load a pipeline, silent and on its device; imported here so that ``--help`` does not wait for diffusers."""
    from unclip_mm import UnCLIPMultimodalPipeline

    pipe = UnCLIPMultimodalPipeline.from_pretrained(checkpoint).to(device)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def parse_seeds(text: str) -> list[int]:
    """Read ``0,1,2``.

    Raises:
        InputError: not whole numbers of 0 or more, or one twice.

    Example:
        >>> parse_seeds("0,1,2")
        [0, 1, 2]
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() for part in parts) or len(set(parts)) < len(parts):
        raise InputError(f"seeds: {text!r} is not a list of different whole numbers such as 0,1,2")
    return [int(part) for part in parts]


def main() -> None:
    """Read the command line and evaluate; what is wrong with the input is one line and exit code 2."""
    options = tyro.cli(Options, description=__doc__)
    try:
        evaluate(options)
    except UnclipError as error:
        sys.exit(_complain(error))


def _complain(error: UnclipError) -> int:
    print(f"error: {error}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    main()
