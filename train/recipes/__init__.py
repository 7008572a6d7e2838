"""The recipes, by name."""

from __future__ import annotations

from train.config import Recipe
from train.recipes.pictograms import PICTOGRAMS
from train.recipes.pictograms_gpu import PICTOGRAMS_GPU
from train.recipes.tiny import TINY

RECIPES: dict[str, Recipe] = {recipe.name: recipe for recipe in (TINY, PICTOGRAMS, PICTOGRAMS_GPU)}
