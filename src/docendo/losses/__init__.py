"""Losses as pure functions: the first argument learns, the second teaches and is detached unless the call differs."""

from docendo.losses.features import attention_map, attention_transfer, hint
from docendo.losses.logits import cross_entropy, kd, logit_mse

__all__ = ["attention_map", "attention_transfer", "cross_entropy", "hint", "kd", "logit_mse"]
