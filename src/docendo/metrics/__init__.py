"""Measures of trained networks."""

from docendo.metrics.accuracy import Accuracy, accuracies, accuracy_of, evaluate, near_chance
from docendo.metrics.by_class import (
    ClassChanges,
    ConfusedPair,
    class_accuracy,
    class_changes,
    confused_pairs,
    confusion,
)
from docendo.metrics.calibration import Bin, calibration_error, reliability
from docendo.metrics.convergence import first_epoch
from docendo.metrics.corruptions import CORRUPTIONS, corrupt
from docendo.metrics.cost import Energy, Latency, energy, latency
from docendo.metrics.ensemble import ensemble
from docendo.metrics.fidelity import agreement, divergence
from docendo.metrics.memory import peak_memory
from docendo.metrics.probe import Probe, linear_probe
from docendo.metrics.profile import profile
from docendo.metrics.robustness import Robustness, corrupted_accuracy
from docendo.metrics.scores import brier_score, negative_log_likelihood
from docendo.metrics.similarity import Similarity, linear_cka, stage_similarity
from docendo.metrics.tolerance import Tolerance, tolerance

__all__ = [
    "CORRUPTIONS",
    "Accuracy",
    "Bin",
    "ClassChanges",
    "ConfusedPair",
    "Energy",
    "Latency",
    "Probe",
    "Robustness",
    "Similarity",
    "Tolerance",
    "accuracies",
    "accuracy_of",
    "agreement",
    "brier_score",
    "calibration_error",
    "class_accuracy",
    "class_changes",
    "confused_pairs",
    "confusion",
    "corrupt",
    "corrupted_accuracy",
    "divergence",
    "energy",
    "ensemble",
    "evaluate",
    "first_epoch",
    "latency",
    "linear_cka",
    "linear_probe",
    "near_chance",
    "negative_log_likelihood",
    "peak_memory",
    "profile",
    "reliability",
    "stage_similarity",
    "tolerance",
]
