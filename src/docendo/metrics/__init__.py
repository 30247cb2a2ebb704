"""Measures of trained networks."""

from docendo.metrics.accuracy import Accuracy, accuracies, evaluate, near_chance
from docendo.metrics.memory import peak_memory

__all__ = ["Accuracy", "accuracies", "evaluate", "near_chance", "peak_memory"]
