"""Components that several tabs have: what a prompt is given in, and what it is near to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from demo import samples

CANVAS = 512
"""Pixels of a side of the sketch canvas."""


@dataclass(frozen=True)
class Media:
    """The components of one prompt."""

    text: gr.Textbox
    audio: gr.Audio
    sketch: gr.Sketchpad
    image: gr.Image

    @property
    def components(self) -> list[Any]:
        """All of them, in the order in which ``demo.prompt.read_prompt`` takes their values."""
        return [self.text, self.audio, self.sketch, self.image]


def build_sound(label: str, name: str) -> gr.Audio:
    """Put a recorder with examples into the block that is open."""
    audio = gr.Audio(label=label, type="filepath", elem_id=name)
    gr.Examples(samples.SOUNDS, audio, label="Or take one of these")
    return audio


def build_sketchpad(label: str, name: str, height: int) -> gr.Sketchpad:
    """Put a canvas for black lines, ``height`` pixels high, into the block that is open."""
    return gr.Sketchpad(
        label=label,
        type="pil",
        format="png",
        height=height,
        canvas_size=(CANVAS, CANVAS),
        brush=gr.Brush(default_size=8, colors=["#000000"], color_mode="fixed"),
        layers=False,
        elem_id=name,
    )


def build_image(label: str, name: str, height: int) -> gr.Image:
    """Put an image upload with an example, ``height`` pixels high, into the block that is open."""
    image = gr.Image(
        label=label,
        type="filepath",
        image_mode=None,
        height=height,
        sources=["upload", "clipboard"],
        elem_id=name,
    )
    image.preprocess = uploaded_path
    gr.Examples(samples.IMAGES, image, label="Or take this one")
    return image


def build_compact(label: str, name: str, text: str = "") -> Media:
    """Put a text field, and the rest folded away below it, into the block that is open.

    For the places where a page needs several prompts.

    Args:
        label: What the visitor reads.
        name: What the components' ids start with.
        text: What the text field holds at first.
    """
    words = gr.Textbox(label=label, value=text, placeholder="words", lines=1, max_lines=2, elem_id=f"{name}-text")
    with gr.Accordion("or a sound, a sketch, an image", open=False, elem_id=f"{name}-other"), gr.Tabs():
        with gr.Tab("Sound"):
            audio = build_sound(f"{label}: sound", f"{name}-audio")
        with gr.Tab("Sketch"):
            sketch = build_sketchpad(f"{label}: sketch", f"{name}-sketch", 300)
            gr.Examples(samples.SKETCHES, sketch, label="Or take one of these")
        with gr.Tab("Image"):
            image = build_image(f"{label}: image", f"{name}-image", 220)
    return Media(words, audio, sketch, image)


def build_neighbours(name: str, visible: bool = True) -> gr.Gallery:
    """Put a gallery for training pictures into the block that is open."""
    return gr.Gallery(
        label="Nearest training pictures",
        columns=6,
        height="auto",
        object_fit="contain",
        interactive=False,
        visible=visible,
        elem_id=name,
    )


def uploaded_path(upload: Any) -> str | None:
    """Return the path of an uploaded image without opening it: what is wrong with it is said by the library, in a line."""
    return None if upload is None else upload.path
