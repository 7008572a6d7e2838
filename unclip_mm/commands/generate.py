"""``unclip-mm generate``: pictures from a text, a voice, a sound, a sketch, an image, a mix, or stored embeddings."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from unclip_mm import __version__
from unclip_mm.checkpoints import find_checkpoint
from unclip_mm.commands.checks import (
    MODALITIES,
    Once,
    as_path,
    make_folder,
    numbered_paths,
    parameters_as_options,
    parse_weights,
    picture_path,
    printable,
    real_number,
    whole_number,
)
from unclip_mm.commands.prompt import (
    HELP,
    Prompt,
    add_common_options,
    add_dtype_option,
    add_prompt_options,
    check_negative,
    option,
    read_negative,
    read_prompt,
)
from unclip_mm.errors import InputError
from unclip_mm.limits import MAX_SCALE
from unclip_mm.seeds import MAX_SEED, count_up

if TYPE_CHECKING:
    from unclip_mm.embeddings import Embeddings
    from unclip_mm.pipeline import UnCLIPOutput

EXAMPLES = """examples:
  unclip-mm generate --text "a red apple" --output apple.png
  unclip-mm generate --audio bark.wav --num-images 4 --output dogs/
  unclip-mm generate --text "a dog" --style fluent --output dog.png
  unclip-mm generate --text "a cat" --sketch cat.png --weights text=0.3,sketch=0.7 --output cat.png
"""


class Job(NamedTuple):
    """One picture to make: which prompt, which seed, where it goes."""

    row: int
    seed: int
    path: Path


def add_parser(commands: Any) -> None:
    """Add the command to the main parser's commands."""
    parser = commands.add_parser(
        "generate",
        help="make pictures",
        description="Make pictures from any mix of words, sound, sketch and image, or from stored embeddings.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_prompt_options(parser)
    parser.add_argument(
        "--embeddings", action=Once, metavar="FILE", help="embeddings written by 'unclip-mm embed', one picture a row"
    )
    parser.add_argument("--output", action=Once, metavar="FILE-or-DIR", required=True, help="a .png file, or a folder")
    steer = parser.add_argument_group("steering")
    steer.add_argument("--weights", action=Once, metavar="text=0.3,audio=0.7", help="how much each counts; the rest 0")
    for modality in MODALITIES:
        metavar, _ = HELP[modality]
        away = f"{modality} to lead the picture away from: one for all prompts, or one a prompt"
        steer.add_argument(f"--negative-{modality}", action="append", default=[], metavar=metavar, help=away)
    scale: dict[str, Any] = {"action": Once, "metavar": "X", "type": real_number(0, MAX_SCALE)}
    steer.add_argument("--guidance-scale", **scale, help="how closely pixels follow")
    guided = "the same for the prior (default: the model's, and at least 2 for a style, 3 to lead away)"
    steer.add_argument("--prior-guidance-scale", **scale, help=guided)
    steer.add_argument(
        "--no-prior", action="store_true", help="do without the prior: a prompt means one picture, whatever the seed"
    )
    steer.add_argument(
        "--style", action=Once, metavar="NAME", help="one of the model's styles, see 'unclip-mm info' (default: any)"
    )
    steer.add_argument("--upsample", action="store_true", help="make the pictures twice as large")
    amount = parser.add_argument_group("amount")
    number: dict[str, Any] = {"action": Once, "metavar": "N"}
    amount.add_argument("--seed", **number, type=whole_number(0, MAX_SEED), help="seed of the first picture")
    amount.add_argument(
        "--num-images", **number, type=whole_number(1, 10_000), default=1, help="pictures a prompt (default: 1)"
    )
    amount.add_argument("--steps", **number, type=whole_number(1, 1000), help="steps of the decoder")
    amount.add_argument("--prior-steps", **number, type=whole_number(1, 1000), help="steps of the prior")
    add_dtype_option(parser)
    add_common_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Check everything, load the model, make the pictures and write them.

    Returns:
        The result as plain values: model, settings and a list of pictures with path, seed and prompt.
    """
    from unclip_mm.commands import loading
    from unclip_mm.png import save_png

    prompt = read_prompt(args)
    _check_sources(args, prompt)
    negative = read_negative(args)
    weights = parse_weights(args.weights, prompt.values or None) if args.weights is not None else None
    path = picture_path(args.output)
    find_checkpoint(args.checkpoint)
    media = loading.check_prompt(prompt)
    against = loading.check_prompt(negative, called=lambda name: f"--negative-{name}")
    embeddings = _stored_embeddings(args.embeddings) if args.embeddings is not None else None
    if embeddings is not None:
        prompt = Prompt({"embeddings": [f"{args.embeddings} row {row}" for row in range(len(embeddings))]})
    check_negative(negative, prompt.rows)

    pipeline: Any = loading.load_pipeline(args.checkpoint, args.dtype)
    started = time.perf_counter()
    call = {**_given_settings(args), "weights": weights, "use_prior": not args.no_prior}
    call |= {"style": args.style, "upsample": args.upsample}
    facts: dict[str, Any] = {}
    pictures = []
    for batch in batches(plan(prompt.rows, args.num_images, args.seed, path), args.num_images, loading.BATCH_SIZE):
        rows = list(dict.fromkeys(job.row for job in batch))
        source = loading.rows_of(media, rows) if embeddings is None else {"embeddings": embeddings.rows(rows)}
        away = {f"negative_{name}": of if len(of) == 1 else [of[row] for row in rows] for name, of in against.items()}
        options = {**call, "num_images_per_prompt": len(batch) // len(rows), "seeds": [job.seed for job in batch]}
        with parameters_as_options():
            made = pipeline(**source, **away, **options)
        facts = _facts(args, weights, pipeline.config, made)
        for job, image in zip(batch, made.images, strict=True):
            told = {"prompt": prompt.describe(job.row), "seed": job.seed, "negative": negative.describe(job.row)}
            make_folder(job.path)
            save_png(image, job.path, {**told, **facts})
            pictures.append({"path": str(job.path), **told})
            if not args.json:
                print(f"{printable(job.path)}  seed {job.seed}", flush=True)
    return {**facts, "seconds": round(time.perf_counter() - started, 3), "pictures": pictures}


def plan(rows: int, num_images: int, seed: int | None, path: Path) -> list[Job]:
    """Every picture to make, prompt by prompt; seeds count up from the first, which is drawn if it is not given.

    Example:
        >>> [(job.row, job.seed, str(job.path)) for job in plan(2, 1, 7, Path("a.png"))]
        [(0, 7, 'a-1.png'), (1, 8, 'a-2.png')]
    """
    import secrets

    first = secrets.randbelow(2**31) if seed is None else seed
    paths = numbered_paths(path, rows * num_images)
    seeds = count_up(first, len(paths))
    return [Job(index // num_images, seeds[index], path) for index, path in enumerate(paths)]


def batches(jobs: list[Job], num_images: int, size: int) -> Iterator[list[Job]]:
    """Cut the jobs into batches: several prompts of one picture each, or one prompt with several pictures.

    Example:
        >>> [len(batch) for batch in batches(plan(3, 5, 0, Path("a.png")), 5, 4)]
        [4, 1, 4, 1, 4, 1]
    """
    group = len(jobs) if num_images == 1 else num_images
    for first in range(0, len(jobs), group):
        for start in range(first, first + group, size):
            yield jobs[start : min(start + size, first + group)]


def _check_sources(args: argparse.Namespace, prompt: Prompt) -> None:
    if args.embeddings is None and not prompt.values:
        raise InputError("nothing to make a picture from; give --text, --audio, --sketch or --image, or --embeddings")
    if args.embeddings is not None and prompt.values:
        other = option(next(iter(prompt.values)))
        raise InputError(f"--embeddings: cannot be joined with {other}; embed both and mix them in Python")


def _stored_embeddings(name: str) -> Embeddings:
    from unclip_mm.inputs.files import readable_path

    path = readable_path(as_path("--embeddings", name), f"--embeddings {printable(name)}")
    from unclip_mm.embeddings import Embeddings

    embeddings = Embeddings.load(path)
    if not len(embeddings):
        raise InputError(f"--embeddings: {printable(name)} has no rows; give at least one")
    return embeddings


def _given_settings(args: argparse.Namespace) -> dict[str, Any]:
    return {
        "num_inference_steps": args.steps,
        "prior_steps": args.prior_steps,
        "guidance_scale": args.guidance_scale,
        "prior_guidance_scale": args.prior_guidance_scale,
    }


def _facts(
    args: argparse.Namespace, weights: Mapping[str, float] | None, defaults: Mapping[str, Any], made: UnCLIPOutput
) -> dict[str, Any]:
    """How pictures were made: what was given, else the pipeline's default; None for the prior's where it was not asked."""
    given = _given_settings(args)
    settings = {name: defaults.get(name) if value is None else value for name, value in given.items()}
    # The same for all, as one style is.
    settings["prior_guidance_scale"] = made.prior_guidance_scales[0] if made.prior_guidance_scales else None
    if not made.asked_prior:
        settings["prior_steps"] = None
    return {
        "model": args.checkpoint,
        "weights": weights,
        "use_prior": made.asked_prior,
        "style": args.style,
        "upsample": args.upsample,
        "dtype": args.dtype,
        **settings,
        "version": __version__,
    }
