"""Prepares the pictogram data from packages: pictures in several styles, line-art sketches, captions, speech, sounds.

Run it with ``python -m train.pictograms --output DIR``; docs/data.md describes what it writes.
"""
