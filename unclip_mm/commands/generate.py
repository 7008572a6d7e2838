"""``unclip-mm generate``: pictures from a text, a voice, a sound, a sketch, an image, a mix, or stored embeddings."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from unclip_mm import __version__
from unclip_mm.checkpoints import find_checkpoint
from unclip_mm.commands.checks import (
    MODALITIES,
    check_file,
    make_folder,
    numbered_paths,
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
    add_prompt_options,
    check_negative,
    check_prompt,
)
from unclip_mm.errors import InputError

if TYPE_CHECKING:
    from unclip_mm.embeddings import Embeddings
    from unclip_mm.pipeline import UnCLIPMultimodalPipeline

EXAMPLES = """examples:
  unclip-mm generate --text "a red apple" --output apple.png
  unclip-mm generate --audio bark.wav --num-images 4 --output dogs/
  unclip-mm generate --text "a cat" --sketch cat.png --weights text=0.3,sketch=0.7 --output cat.png
"""
SETTINGS = ("num_inference_steps", "prior_steps", "guidance_scale", "prior_guidance_scale")


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
        "--embeddings", metavar="FILE", help="embeddings written by 'unclip-mm embed', one picture a row"
    )
    parser.add_argument("--output", metavar="FILE-or-DIR", required=True, help="a .png file, or a folder")
    steer = parser.add_argument_group("steering")
    steer.add_argument(
        "--weights", metavar="text=0.3,audio=0.7", help="how much each modality counts (default: equally)"
    )
    for modality in MODALITIES:
        metavar, _ = HELP[modality]
        steer.add_argument(f"--negative-{modality}", metavar=metavar, help=f"{modality} to lead the picture away from")
    steer.add_argument("--guidance-scale", metavar="X", type=real_number(0, 100), help="how closely pixels follow")
    steer.add_argument("--prior-guidance-scale", metavar="X", type=real_number(0, 100), help="the same for the prior")
    steer.add_argument("--no-prior", action="store_true", help="decode the prompt's embedding without the prior")
    amount = parser.add_argument_group("amount")
    amount.add_argument("--seed", metavar="N", type=whole_number(0, 2**32 - 1), help="seed of the first picture")
    amount.add_argument(
        "--num-images", metavar="N", type=whole_number(1, 10_000), default=1, help="pictures a prompt (default: 1)"
    )
    amount.add_argument("--steps", metavar="N", type=whole_number(1, 1000), help="steps of the decoder")
    amount.add_argument("--prior-steps", metavar="N", type=whole_number(1, 1000), help="steps of the prior")
    add_common_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Check everything, load the model, make the pictures and write them.

    Returns:
        The result as plain values: model, settings and a list of pictures with path, seed and prompt.
    """
    from unclip_mm.commands import loading

    prompt = check_prompt(args)
    stored = _stored_embeddings(args, prompt)
    negative = check_negative(args)
    weights = parse_weights(args.weights, None if stored else prompt.values) if args.weights is not None else None
    path = picture_path(args.output)
    find_checkpoint(args.checkpoint)

    embeddings = loading.load_embeddings(stored) if stored else None
    media = loading.load_prompt(prompt)
    negative_media = {f"negative_{name}": loading.load_media(name, value) for name, value in negative.items()}
    pipeline = loading.load_pipeline(args.checkpoint)
    started = time.perf_counter()
    if embeddings is None:
        embeddings = loading.encode_prompt(pipeline, media, prompt.rows)
    if stored:
        prompt = Prompt({"embeddings": [f"{stored.name} row {row}" for row in range(len(embeddings))]})

    call = {**_given_settings(args), **negative_media, "weights": weights, "use_prior": not args.no_prior}
    facts = {
        "model": args.checkpoint,
        "weights": weights,
        "negative": {name: value if name == "text" else Path(value).name for name, value in negative.items()},
        "use_prior": not args.no_prior,
        **_settings(args, pipeline),
        "version": __version__,
    }
    pictures = []
    jobs = _plan(len(embeddings), args, path)
    for start in range(0, len(jobs), loading.BATCH_SIZE):
        batch = jobs[start : start + loading.BATCH_SIZE]
        for job, image in zip(batch, _make(pipeline, embeddings, batch, call), strict=True):
            described = prompt.describe(job.row)
            _save(image, job, {"prompt": described, "seed": job.seed, **facts})
            pictures.append({"path": str(job.path), "seed": job.seed, "prompt": described})
            if not args.json:
                print(f"{printable(job.path)}  seed {job.seed}", flush=True)
    return {**facts, "seconds": round(time.perf_counter() - started, 3), "pictures": pictures}


def _stored_embeddings(args: argparse.Namespace, prompt: Prompt) -> Path | None:
    if args.embeddings is None:
        if not prompt.values:
            raise InputError(
                "nothing to make a picture from; give --text, --audio, --sketch or --image, or --embeddings"
            )
        return None
    if prompt.values:
        raise InputError(
            f"--embeddings: cannot be joined with --{next(iter(prompt.values))}; embed both and mix them in Python"
        )
    return check_file("--embeddings", args.embeddings)


def _plan(rows: int, args: argparse.Namespace, path: Path) -> list[Job]:
    import secrets

    count = rows * args.num_images
    first = secrets.randbelow(2**31) if args.seed is None else args.seed
    paths = numbered_paths(path, count)
    return [Job(index // args.num_images, first + index, paths[index]) for index in range(count)]


def _make(
    pipeline: UnCLIPMultimodalPipeline, embeddings: Embeddings, batch: list[Job], call: dict[str, Any]
) -> list[Any]:
    rows = embeddings.rows([job.row for job in batch])
    return list(pipeline(embeddings=rows, seeds=[job.seed for job in batch], **call).images)


def _given_settings(args: argparse.Namespace) -> dict[str, Any]:
    return {
        "num_inference_steps": args.steps,
        "prior_steps": args.prior_steps,
        "guidance_scale": args.guidance_scale,
        "prior_guidance_scale": args.prior_guidance_scale,
    }


def _settings(args: argparse.Namespace, pipeline: UnCLIPMultimodalPipeline) -> dict[str, Any]:
    """The settings in force: what was given, else the pipeline's own default."""
    given = _given_settings(args)
    return {name: given[name] if given[name] is not None else pipeline.config.get(name) for name in SETTINGS}


def _save(image: Any, job: Job, metadata: dict[str, Any]) -> None:
    from unclip_mm.png import save_png

    make_folder(job.path)
    try:
        save_png(image, job.path, metadata)
    except OSError as error:
        raise InputError(f"--output: {printable(job.path)} cannot be written ({error.strerror or error})") from None
