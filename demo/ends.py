"""A compact prompt: one text field, and whatever else beside it, for the places where a page needs several prompts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from demo import samples
from demo.create import CANVAS, uploaded_path
from demo.prompt import Prompt, read_prompt


@dataclass(frozen=True)
class End:
    """The components of a prompt, in the order in which :func:`read_end` takes their values."""

    text: gr.Textbox
    audio: gr.Audio
    sketch: gr.Sketchpad
    image: gr.Image

    @property
    def media(self) -> list[Any]:
        """The components, in order."""
        return [self.text, self.audio, self.sketch, self.image]


def build_end(label: str, name: str, text: str = "") -> End:
    """Put a prompt into the block that is open.

    Args:
        label: What the visitor reads.
        name: What the components' ids start with.
        text: What the text field holds at first.
    """
    words = gr.Textbox(label=label, value=text, placeholder="words", lines=1, max_lines=2, elem_id=f"{name}-text")
    with gr.Accordion("or a sound, a sketch, an image", open=False, elem_id=f"{name}-other"), gr.Tabs():
        with gr.Tab("Sound"):
            audio = gr.Audio(label=f"{label}: sound", type="filepath", elem_id=f"{name}-audio")
            gr.Examples(samples.SOUNDS, audio, label="Or take one of these")
        with gr.Tab("Sketch"):
            sketch = gr.Sketchpad(
                label=f"{label}: sketch",
                type="pil",
                format="png",
                height=300,
                canvas_size=(CANVAS, CANVAS),
                brush=gr.Brush(default_size=8, colors=["#000000"], color_mode="fixed"),
                layers=False,
                elem_id=f"{name}-sketch",
            )
            gr.Examples(samples.SKETCHES, sketch, label="Or take one of these")
        with gr.Tab("Image"):
            image = gr.Image(
                label=f"{label}: image",
                type="filepath",
                image_mode=None,
                height=220,
                sources=["upload", "clipboard"],
                elem_id=f"{name}-image",
            )
            image.preprocess = uploaded_path
            gr.Examples(samples.IMAGES, image, label="Or take this one")
    return End(words, audio, sketch, image)


def read_end(text: str | None, audio: str | None, sketch: dict[str, Any] | None, image: str | None) -> Prompt:
    """Read the values of the four components; several of them are mixed, all alike.

    Raises:
        InputError: Nothing is given, or something given cannot be used.
    """
    return read_prompt(text, audio, sketch, image)
