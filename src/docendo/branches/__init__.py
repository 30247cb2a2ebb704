"""What is grafted onto networks while they train, and dropped afterwards."""

from docendo.branches.adapters import adapter, transform
from docendo.branches.bank import Bank, Embeddings
from docendo.branches.bridge import FeatureAdapter, new_top, with_top
from docendo.branches.connectors import Connectors, before_relu, openness
from docendo.branches.gaussians import Gaussians
from docendo.branches.heads import Heads, head_weights
from docendo.branches.pairs import StagePairs, pair_from_the_end, paired
from docendo.branches.pyramid import Pyramid
from docendo.branches.reused_head import has_other_head, with_head_of
from docendo.branches.review import Review
from docendo.branches.rotations import RotationHeads, turned, upright, with_rotations
from docendo.branches.same_widths import SameWidths
from docendo.branches.shallow_classifiers import ShallowClassifiers
from docendo.branches.stem import share_stem
from docendo.branches.student_branch import StudentBranches
from docendo.branches.token import DistillationToken
from docendo.branches.widths import pooled_width

__all__ = [
    "Bank",
    "Connectors",
    "DistillationToken",
    "Embeddings",
    "FeatureAdapter",
    "Gaussians",
    "Heads",
    "Pyramid",
    "Review",
    "RotationHeads",
    "SameWidths",
    "ShallowClassifiers",
    "StagePairs",
    "StudentBranches",
    "adapter",
    "before_relu",
    "has_other_head",
    "head_weights",
    "new_top",
    "openness",
    "pair_from_the_end",
    "paired",
    "pooled_width",
    "share_stem",
    "transform",
    "turned",
    "upright",
    "with_head_of",
    "with_rotations",
    "with_top",
]
