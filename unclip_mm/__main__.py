"""``python -m unclip_mm`` is the command ``unclip-mm``."""

from __future__ import annotations

import sys

from unclip_mm.cli import main

if __name__ == "__main__":
    sys.exit(main())
