"""Data: the manifest folder that holds the pictures, sketches, sounds and captions to train on."""

from __future__ import annotations
