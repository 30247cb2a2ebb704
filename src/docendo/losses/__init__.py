"""Losses as pure functions: the first argument learns, the second teaches and is detached unless the call differs."""

from docendo.losses.features import attention_map, attention_transfer, hint
from docendo.losses.logits import (
    confidence_penalty,
    cross_entropy,
    kd,
    logit_mse,
    top_score_difference,
    uniform_divergence,
)
from docendo.losses.pooled import feature_distance

__all__ = [
    "attention_map",
    "attention_transfer",
    "confidence_penalty",
    "cross_entropy",
    "feature_distance",
    "hint",
    "kd",
    "logit_mse",
    "top_score_difference",
    "uniform_divergence",
]
