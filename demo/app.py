"""The page: ``python -m demo.app``; ``--help`` lists its options."""

from __future__ import annotations

import argparse
import sys
import threading
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gradio as gr

from demo import create, explore, understand
from demo.studio import Studio
from demo.theme import CSS, build_theme
from demo.training_pictures import TrainingPictures
from unclip_mm.checkpoints import DEFAULT_CHECKPOINT, fetch_checkpoint
from unclip_mm.commands.loading import load_pipeline
from unclip_mm.errors import UnclipError

CACHE_CHECK, CACHE_KEPT = 10 * 60, 60 * 60
"""Seconds between looks for old files of visitors, and the age at which they are removed."""
MAX_UPLOAD = "20mb"
MAX_WAITING = 32
"""Visitors who may wait in the queue; more are told to come back later."""

HEADER = """
# unclip-mm

Say it, sing it, sketch it, write it or show it: whatever you give becomes a point in one shared space, and a decoder paints
what lies there. It all runs on this computer.
"""


def build_page(studios: Sequence[Studio], library: TrainingPictures | None = None) -> gr.Blocks:
    """Return the whole page, ready to be launched.

    Args:
        studios: The models; the first makes the pictures, all are compared.
        library: The pictures that the first was trained on, if they are here.
    """
    page = gr.Blocks(title="unclip-mm", analytics_enabled=False, delete_cache=(CACHE_CHECK, CACHE_KEPT))
    with page:
        gr.Markdown(HEADER, elem_id="header")
        with gr.Tabs():
            with gr.Tab("Create", id="create"):
                create.build(studios[0], library)
            with gr.Tab("Explore", id="explore"):
                explore.build(studios[0], library)
            with gr.Tab("Understand", id="understand"):
                understand.build(studios)
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
    """Read the command line.

    Example:
        >>> parse_arguments(["--auth", "ada:engine", "--port", "8000"]).auth
        [('ada', 'engine')]
    """
    parser = argparse.ArgumentParser(prog="python -m demo.app", description="Serve the web page of unclip-mm.")
    parser.add_argument(
        "--checkpoint",
        metavar="X",
        action="append",
        help=f"a bundled name, a folder, or a hub id (default: {DEFAULT_CHECKPOINT}); again for models to compare it with",
    )
    parser.add_argument(
        "--data",
        metavar="DIR",
        type=Path,
        help="the manifest folder of its training pictures, to show the nearest ones",
    )
    parser.add_argument("--host", default="127.0.0.1", help="the address to serve on (default: %(default)s)")
    parser.add_argument("--port", metavar="N", type=int, default=7860, help="the port (default: %(default)s)")
    parser.add_argument(
        "--share", action="store_true", help="also give the page a public address, through gradio's relay"
    )
    parser.add_argument(
        "--auth", metavar="NAME:PASSWORD", type=_login, action="append", help="ask for a login; again for more visitors"
    )
    parser.add_argument(
        "--mcp",
        action="store_true",
        help="also serve the page's functions to language models (needs the extra mcp)",
    )
    given = parser.parse_args(arguments)
    given.checkpoint = given.checkpoint or [DEFAULT_CHECKPOINT]
    return given


def _login(text: str) -> tuple[str, str]:
    name, colon, password = text.partition(":")
    if not (name and colon and password):
        raise argparse.ArgumentTypeError("is not of the form NAME:PASSWORD")
    return name, password


def main(arguments: Sequence[str] | None = None) -> int:
    """Load the model and serve the page until interrupted.

    Returns:
        The exit code: 0, or 2 where the checkpoint or the port cannot be used.
    """
    args = parse_arguments(arguments)
    try:
        for checkpoint in args.checkpoint:
            fetch_checkpoint(checkpoint)
        if args.mcp and find_spec("mcp") is None:
            raise ImportError("--mcp: the package mcp is not installed; pip install 'unclip-mm[mcp]' brings it")
        print(f"Loading {', '.join(args.checkpoint)} ...", flush=True)
        studios = [Studio(load_pipeline(checkpoint), checkpoint) for checkpoint in args.checkpoint]
        threading.Thread(target=lambda: studios[0].words and studios[0].word_vectors, daemon=True).start()
        library = None if args.data is None else TrainingPictures.from_manifest(args.data, studios[0])
        launch(
            build_page(studios, library),
            server_name=args.host,
            server_port=args.port,
            share=args.share,
            auth=args.auth,
            mcp_server=args.mcp,
        )
    except (UnclipError, OSError, ImportError) as error:
        line = " ".join(str(error).split())
        print(f"demo: error: {line}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
