"""Where names fit beside marks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

WIDTH, HEIGHT = 300, 300
"""Of the space for marks on a phone, in pixels: on wider screens there is more room, and what fits here fits."""

_LETTER, _LINE, _GAP = 8.0, 18.0, 10.0


class Box(NamedTuple):
    """A rectangle, in pixels from the lower left."""

    left: float
    bottom: float
    right: float
    top: float

    def meets(self, other: Box) -> bool:
        """Say whether two rectangles overlap."""
        apart = self.right <= other.left or other.right <= self.left
        return not (apart or self.top <= other.bottom or other.top <= self.bottom)


def placed(spots: Mapping[str, tuple[float, float]], labels: Mapping[str, str]) -> dict[str, str]:
    """Find a side of its mark for each label, where it covers no other mark and no other label.

    Args:
        spots: the place of each mark, from 0 to 1 in both directions.
        labels: what is to stand beside marks, by their names, the most important first.

    Returns:
        The side, as Plotly calls it, of those that fit somewhere.

    >>> placed({"a": (0.5, 0.5), "b": (0.55, 0.5)}, {"a": "a", "b": "b"})
    {'a': 'middle left', 'b': 'middle right'}
    """
    marks = {name: _around(x * WIDTH, y * HEIGHT) for name, (x, y) in spots.items()}
    taken: list[Box] = []
    found = {}
    for name, label in labels.items():
        others = [*taken, *(mark for other, mark in marks.items() if other != name)]
        for side, box in _sides(label, *spots[name]):
            inside = box.left >= 0 and box.right <= WIDTH
            if inside and not any(box.meets(other) for other in others):
                found[name] = side
                taken.append(box)
                break
    return found


def _around(x: float, y: float) -> Box:
    return Box(x - _GAP / 2, y - _GAP / 2, x + _GAP / 2, y + _GAP / 2)


def _sides(label: str, across: float, up: float) -> Iterable[tuple[str, Box]]:
    x, y, width = across * WIDTH, up * HEIGHT, _LETTER * len(label)
    low, high = y - _LINE / 2, y + _LINE / 2
    yield "middle right", Box(x + _GAP, low, x + _GAP + width, high)
    yield "middle left", Box(x - _GAP - width, low, x - _GAP, high)
    for side, shift in (("top", _LINE), ("bottom", -_LINE)):
        yield f"{side} center", Box(x - width / 2, low + shift, x + width / 2, high + shift)
