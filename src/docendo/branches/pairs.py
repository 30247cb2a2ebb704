"""Which stage of one network goes with which stage of another."""

from __future__ import annotations


def pair_from_the_end(teacher_stages: int, student_stages: int) -> tuple[tuple[int, int], ...]:
    """Pair stages last with last, then backwards, as many as both have; in ascending order.

    Args:
        teacher_stages: how many stages the teacher has.
        student_stages: how many stages the student has.

    Returns:
        Pairs of indices from 0: (teacher's stage, student's stage).

    >>> pair_from_the_end(4, 3)
    ((1, 0), (2, 1), (3, 2))
    """
    shared = min(teacher_stages, student_stages)
    return tuple((teacher_stages - shared + k, student_stages - shared + k) for k in range(shared))
