"""The page: ``python -m demo.app [--checkpoint X] [--host H] [--port N] [--share]``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

import gradio as gr

from demo import create
from demo.studio import Studio
from demo.theme import CSS, build_theme
from unclip_mm.checkpoints import DEFAULT_CHECKPOINT, find_checkpoint
from unclip_mm.commands.loading import load_pipeline
from unclip_mm.errors import UnclipError

DAY = 24 * 60 * 60
MAX_UPLOAD = "20mb"
MAX_WAITING = 32
"""Visitors who may wait in the queue; more are told to come back later."""

HEADER = """
# unclip-mm

Say it, sing it, sketch it, write it or show it: whatever you give becomes a point in one shared space, and a decoder paints
what lies there. It all runs on this computer.
"""

ABOUT = """
Every modality has an **encoder** that was trained to put things that mean the same in the same place: the words *red apple*,
a voice that says them, a drawing and a picture of one come out as nearly the same **embedding**, a list of numbers. Where
you give several inputs, their embeddings are mixed with the weights you choose.

A **prior** then imagines which image embedding would belong to it, and a diffusion **decoder** paints that embedding from
noise. The **seed** is the noise: the same prompt and seed give the same picture again.

The bundled model is small. It knows pictograms, emoji and clip art, and paints in their style; it has never seen a
photograph.
"""


def build_page(studio: Studio) -> gr.Blocks:
    """Return the whole page, ready to be launched."""
    page = gr.Blocks(title="unclip-mm", analytics_enabled=False, delete_cache=(60 * 60, DAY))
    with page:
        gr.Markdown(HEADER, elem_id="header")
        create.build(studio)
        with gr.Accordion("How it works", open=False):
            gr.Markdown(ABOUT, elem_id="about")
    page.queue(max_size=MAX_WAITING)
    return page


def launch(page: gr.Blocks, **options: Any) -> tuple[Any, str, str]:
    """Serve a page with the looks and the limits of this project; ``options`` go to ``gr.Blocks.launch``."""
    return page.launch(
        theme=build_theme(),
        css=CSS,
        max_file_size=MAX_UPLOAD,
        footer_links=["api", "settings"],
        run_history=False,
        ssr_mode=False,
        **options,
    )


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m demo.app", description="Serve the web page of unclip-mm.")
    parser.add_argument(
        "--checkpoint",
        metavar="X",
        default=DEFAULT_CHECKPOINT,
        help="a bundled name, a folder, or a hub id (default: %(default)s)",
    )
    parser.add_argument("--host", default="127.0.0.1", help="the address to serve on (default: %(default)s)")
    parser.add_argument("--port", metavar="N", type=int, default=7860, help="the port (default: %(default)s)")
    parser.add_argument(
        "--share", action="store_true", help="also give the page a public address, through gradio's relay"
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Load the model and serve the page until interrupted.

    Returns:
        The exit code: 0, or 2 where the checkpoint or the port cannot be used.
    """
    args = parse_arguments(arguments)
    try:
        find_checkpoint(args.checkpoint)
        print(f"Loading {args.checkpoint} ...", flush=True)
        page = build_page(Studio(load_pipeline(args.checkpoint), args.checkpoint))
        launch(page, server_name=args.host, server_port=args.port, share=args.share)
    except (UnclipError, OSError) as error:
        line = " ".join(str(error).split())
        print(f"demo: error: {line}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
