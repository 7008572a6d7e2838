"""Raw media into arrays: the only place that opens media files.

Every function takes a file or something in memory, checks it, and gives one plain form of it back. What cannot be used
raises an :class:`~unclip_mm.errors.InputError` of one line that names the input, what is wrong with it, and what would
be right. ``name`` is what that line calls the input; by default it is the path, or the kind of input.
"""

from __future__ import annotations

from unclip_mm.inputs.audio import MAX_AUDIO_SECONDS, MIN_AUDIO_SECONDS, load_audio
from unclip_mm.inputs.images import MAX_PIXELS, load_image, load_sketch, open_image
from unclip_mm.inputs.text import MAX_CHARACTERS, check_text
from unclip_mm.inputs.vectors import load_vector

__all__ = [
    "MAX_AUDIO_SECONDS",
    "MAX_CHARACTERS",
    "MAX_PIXELS",
    "MIN_AUDIO_SECONDS",
    "check_text",
    "load_audio",
    "load_image",
    "load_sketch",
    "load_vector",
    "open_image",
]
