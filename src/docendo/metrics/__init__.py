"""Measures of trained networks."""

from docendo.metrics.accuracy import Accuracy, evaluate, near_chance

__all__ = ["Accuracy", "evaluate", "near_chance"]
