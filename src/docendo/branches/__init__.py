"""What is grafted onto networks while they train, and dropped afterwards."""

from docendo.branches.pairs import pair_from_the_end
from docendo.branches.student_branch import StudentBranches, transform

__all__ = ["StudentBranches", "pair_from_the_end", "transform"]
