"""``unclip-mm embed``: the embeddings of texts, sounds, sketches and images, in a safetensors file."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from unclip_mm import __version__
from unclip_mm.checkpoints import find_checkpoint
from unclip_mm.commands.checks import Once, as_path, check_writable, make_folder, printable
from unclip_mm.commands.prompt import add_common_options, add_dtype_option, add_prompt_options, read_prompt
from unclip_mm.errors import InputError

EXAMPLES = """examples:
  unclip-mm embed --text "a red apple" --audio bite.wav --output apple.safetensors
  unclip-mm embed --image one.png --image two.png --output pair.safetensors
"""


def add_parser(commands: Any) -> None:
    """Add the command to the main parser's commands."""
    parser = commands.add_parser(
        "embed",
        help="write embeddings",
        description="Write the embeddings of prompts: one row a prompt, one vector a modality.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_prompt_options(parser)
    parser.add_argument("--output", action=Once, metavar="FILE", required=True, help="a .safetensors file")
    add_dtype_option(parser)
    add_common_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Check everything, load the model, encode and write.

    Returns:
        The result as plain values: path, model, rows, modalities and dimension.
    """
    from unclip_mm.commands import loading

    prompt = read_prompt(args)
    if not prompt.values:
        raise InputError("nothing to embed; give --text, --audio, --sketch or --image")
    path = _output_path(args.output)
    find_checkpoint(args.checkpoint)

    media = loading.check_prompt(prompt)
    pipeline = loading.load_pipeline(args.checkpoint, args.dtype)
    embeddings = loading.encode(pipeline, media, prompt.rows)
    described = [prompt.describe(row) for row in range(prompt.rows)]
    metadata = {"model": args.checkpoint, "version": __version__, "dtype": args.dtype, "prompts": json.dumps(described)}
    make_folder(path)
    embeddings.save(path, metadata)
    modalities = list(embeddings.modalities)
    if not args.json:
        print(f"{printable(path)}  {len(embeddings)} x {', '.join(modalities)}  dimension {embeddings.dim}")
    return {
        "path": str(path),
        "model": args.checkpoint,
        "rows": len(embeddings),
        "modalities": modalities,
        "dimension": embeddings.dim,
        "dtype": args.dtype,
        "version": __version__,
    }


def _output_path(output: str) -> Path:
    path = as_path("--output", output)
    if path.suffix != ".safetensors":
        raise InputError(f"--output: {printable(output)} is not a safetensors name; end it in .safetensors")
    check_writable(path)
    return path
