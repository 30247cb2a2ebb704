"""Measures of trained networks."""

from docendo.metrics.accuracy import Accuracy, accuracies, evaluate, near_chance
from docendo.metrics.ensemble import ensemble
from docendo.metrics.memory import peak_memory
from docendo.metrics.probe import Probe, linear_probe

__all__ = ["Accuracy", "Probe", "accuracies", "ensemble", "evaluate", "linear_probe", "near_chance", "peak_memory"]
