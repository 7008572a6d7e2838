"""How much may be asked for: what the pipeline and the command line both hold to. Standard library only, for the latter."""

from __future__ import annotations

MAX_COUNT = 4096
"""The most pictures a prompt, steps of the decoder, or pictures at a time."""
MAX_SCALE = 100.0
"""The largest guidance: pictures are beyond recognition long before, and numbers overflow after."""
