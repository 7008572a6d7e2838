"""The web page of unclip-mm: ``python -m demo.app``."""
