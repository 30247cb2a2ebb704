"""Losses as pure functions: the first argument learns, the second teaches and is detached unless the call differs."""

from docendo.losses.logits import cross_entropy, kd

__all__ = ["cross_entropy", "kd"]
