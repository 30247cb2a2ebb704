"""Complete runs: from what a user names to networks, files and results."""

from docendo.recipes.apply import Prediction, evaluate, predict, probe
from docendo.recipes.explanation import Explanation, explain
from docendo.recipes.measure import measure
from docendo.recipes.pairs import PAIRS, Pair
from docendo.recipes.prefilling import prefill
from docendo.recipes.protocols import RECIPES, Recipe
from docendo.recipes.run import Run, train
from docendo.recipes.seeds import train_seeds
from docendo.recipes.settings import RunSettings
from docendo.recipes.speed import Bench, bench

__all__ = [
    "PAIRS",
    "RECIPES",
    "Bench",
    "Explanation",
    "Pair",
    "Prediction",
    "Recipe",
    "Run",
    "RunSettings",
    "bench",
    "evaluate",
    "explain",
    "measure",
    "predict",
    "prefill",
    "probe",
    "train",
    "train_seeds",
]
