"""Losses as pure functions: the first argument learns, the second teaches and is detached unless the call differs."""

from docendo.losses.confidence import confidence_penalty, top_score_difference, uniform_divergence
from docendo.losses.contrast import crd, crd_bank, crd_log_normalization
from docendo.losses.correlation import batch_correlation, class_correlation, dist
from docendo.losses.decoupled import dkd
from docendo.losses.features import attention_map, attention_transfer, hint, simkd, vid
from docendo.losses.logits import cross_entropy, hard_distillation, kd, logit_mse
from docendo.losses.margin import ofd, ofd_margin
from docendo.losses.pooled import feature_distance
from docendo.losses.relational import rkd_angle, rkd_distance
from docendo.losses.relations import correlation_congruence, pkt, similarity_preserving
from docendo.losses.self_supervision import sskd_contrast, sskd_selected, sskd_similarity
from docendo.losses.structure import fsp, hierarchical_context, nst

__all__ = [
    "attention_map",
    "attention_transfer",
    "batch_correlation",
    "class_correlation",
    "confidence_penalty",
    "correlation_congruence",
    "crd",
    "crd_bank",
    "crd_log_normalization",
    "cross_entropy",
    "dist",
    "dkd",
    "feature_distance",
    "fsp",
    "hard_distillation",
    "hierarchical_context",
    "hint",
    "kd",
    "logit_mse",
    "nst",
    "ofd",
    "ofd_margin",
    "pkt",
    "rkd_angle",
    "rkd_distance",
    "similarity_preserving",
    "simkd",
    "sskd_contrast",
    "sskd_selected",
    "sskd_similarity",
    "top_score_difference",
    "uniform_divergence",
    "vid",
]
