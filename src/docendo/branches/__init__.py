"""What is grafted onto networks while they train, and dropped afterwards."""

from docendo.branches.adapters import adapter, transform
from docendo.branches.pairs import StagePairs, pair_from_the_end, paired
from docendo.branches.stem import share_stem
from docendo.branches.student_branch import StudentBranches

__all__ = ["StagePairs", "StudentBranches", "adapter", "pair_from_the_end", "paired", "share_stem", "transform"]
