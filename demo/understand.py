"""Understand: how it works, how near the modalities come to each other, models side by side, and the measured figures."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from demo.create import PIPELINE_QUEUE, as_message
from demo.media import build_compact
from demo.prompt import NAMES, choose_seeds, read_prompt
from demo.studio import Settings, Studio
from unclip_mm import InputError
from unclip_mm.checkpoints import is_bundled
from unclip_mm.seeds import MAX_SEED

PICTURES = Path(__file__).parent.parent / "docs" / "pictures"
SEEDS_A_MODEL = 4

HOW = """
Every modality has an **encoder** that was trained to put things that mean the same in the same place: the words *red apple*,
a voice that says them, a drawing and a picture of one come out as nearly the same **embedding**, a list of numbers. Where
you give several inputs, their embeddings are mixed with the weights you choose.

A **prior** then imagines which image embedding would belong to it, and a diffusion **decoder** paints that embedding from
noise. The **seed** is the noise: the same prompt and seed give the same picture again.

The bundled model is small. It knows pictograms, emoji and clip art, and paints in their style; it has never seen a
photograph.
"""
SPACE = """
Each dot below is one text, recording, drawing or picture of a thing that the model knows; grey lines join what is one thing.
Before training, each modality is an island. Training brings them onto each other, and what is left between their centres is
the **modality gap**. Most of it is one shift a modality, which is taken out before the prior: *moved* under *How near*.
"""
NEAR = (
    "Give the same thing in two ways or more: write it, say it, draw it. The cosine is 1 where two embeddings agree, and 0 "
    "where they have nothing to do with each other; *moved* is once the shift between the modalities is taken out."
)
SIDE_BY_SIDE = "The same words and the same seeds, by every model that the page was started with."
ONE_MODEL = (
    "Start the page with `--checkpoint A --checkpoint B` to see several models here, such as the same recipe trained with "
    "two objectives: the same words and seeds, side by side. docs/objectives.md compares the objectives by their figures."
)


def build(studios: Sequence[Studio]) -> None:
    """Put the whole tab into the block that is open.

    Args:
        studios: The models; the first is the one that the other tabs use.
    """
    studio = studios[0]
    with gr.Tabs():
        with gr.Tab("How it works", id="how"):
            gr.Markdown(HOW, elem_id="about")
            if is_bundled(studio.name):
                gr.Markdown(SPACE, elem_id="about-space")
                gr.Image(
                    str(PICTURES / "space.png"),
                    label="The shared space, before and after training",
                    show_label=False,
                    interactive=False,
                    buttons=["fullscreen"],
                    elem_id="space",
                )
        with gr.Tab("How near", id="near"):
            _build_near(studio)
        with gr.Tab("Side by side", id="models"):
            _build_models(studios)
        with gr.Tab("Figures", id="figures"):
            gr.Markdown(studio.card() or "This checkpoint has no model card.", elem_id="card")


def _build_near(studio: Studio) -> None:
    gr.Markdown(NEAR)
    given = build_compact("One thing, in several ways", "ways", "a fish")
    button = gr.Button("Compare", variant="primary", elem_id="compare")
    headers = ["between", "and", "cosine", "moved"]
    table = gr.Dataframe(
        headers=headers, datatype=["str", "str", "number", "number"], interactive=False, elem_id="cosines"
    )

    def cosines(
        text: str | None = None,
        audio: str | None = None,
        sketch: dict[str, Any] | None = None,
        image: str | None = None,
    ) -> list[list[Any]]:
        try:
            prompt = read_prompt(text, audio, sketch, image)
            if len(prompt.media) < 2:
                raise InputError(f"Only the {NAMES[next(iter(prompt.media))]} is given: give at least one thing more.")
            return [[*pair, *(round(one, 3) for one in both)] for pair, both in studio.cosines(prompt).items()]
        except InputError as error:
            raise as_message(error) from None

    button.click(
        cosines,
        given.components,
        table,
        api_name="cosines",
        api_description="Cosines between the embeddings of several inputs, as encoded, and moved to where images lie.",
        concurrency_id=PIPELINE_QUEUE,
        trigger_mode="once",
    )


def _build_models(studios: Sequence[Studio]) -> None:
    if len(studios) == 1:
        gr.Markdown(ONE_MODEL)
        return
    gr.Markdown(SIDE_BY_SIDE)
    with gr.Row():
        text = gr.Textbox(label="Words", value="a red apple", max_lines=2, elem_id="models-text")
        seed = gr.Number(value=0, precision=0, minimum=0, maximum=MAX_SEED, label="Seed", elem_id="models-seed")
    button = gr.Button("Make pictures with each", variant="primary", elem_id="models-make")
    galleries = [
        gr.Gallery(
            label=studio.name,
            format="png",
            columns=SEEDS_A_MODEL,
            rows=1,
            height="auto",
            object_fit="contain",
            interactive=False,
            elem_id=f"model-{number}",
        )
        for number, studio in enumerate(studios)
    ]

    def side_by_side(text: str | None = None, seed: float = 0) -> Iterator[list[list[tuple[str, str]]]]:
        try:
            prompt = read_prompt(text, None, None, None)
            seeds = choose_seeds(seed, True, SEEDS_A_MODEL)
            shown: list[list[tuple[str, str]]] = [[] for _ in studios]
            with tempfile.TemporaryDirectory(prefix="unclip-mm-") as folder:
                for number, studio in enumerate(studios):
                    for picture in studio.paint(prompt, seeds, Settings(use_prior=studio.has_prior)):
                        file = picture.save(Path(folder), f"{number}-{picture.seed}")
                        shown[number].append((str(file), f"seed {picture.seed}"))
                        yield shown
        except InputError as error:
            raise as_message(error) from None

    button.click(
        side_by_side,
        [text, seed],
        galleries,
        api_name="side_by_side",
        api_description="The same words and seeds by every model of the page.",
        concurrency_id=PIPELINE_QUEUE,
        trigger_mode="once",
    )
