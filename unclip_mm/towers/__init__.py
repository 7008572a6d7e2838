"""One tower a modality. A new kind of tower is one file and one line of ``TOWERS``; vectors and sequences need none."""

from __future__ import annotations

from unclip_mm.towers.audio import AudioTower
from unclip_mm.towers.base import Features, Tower
from unclip_mm.towers.text import TextTower
from unclip_mm.towers.vector import SequenceTower, VectorTower
from unclip_mm.towers.vision import VisionTower

TOWERS: dict[str, type[Tower]] = {
    "text": TextTower,
    "audio": AudioTower,
    "vision": VisionTower,
    "vector": VectorTower,
    "sequence": SequenceTower,
}

__all__ = ["TOWERS", "AudioTower", "Features", "SequenceTower", "TextTower", "Tower", "VectorTower", "VisionTower"]
