"""Short names for what is compared: only what differs is said."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def labels(bases: Sequence[str], parts: Sequence[Mapping[str, str]]) -> list[str]:
    """Name things by their base and, where several have the same one, by those of their parts that differ.

    Args:
        bases: what each is first of all: a method.
        parts: what else could tell them apart, by kind, the word to add for each.

    Returns:
        A label for each, all different, fit for the name of a folder.

    >>> labels(["plain", "kd", "kd"], [{"student": "resnet8"}, {"T": "T1", "lr": "lr1"}, {"T": "T8", "lr": "lr1"}])
    ['plain', 'kd-T1', 'kd-T8']
    """
    made = []
    for base, own in zip(bases, parts, strict=True):
        others = [p for b, p in zip(bases, parts, strict=True) if b == base]
        telling = [word for kind, word in own.items() if len({p.get(kind) for p in others}) > 1]
        made.append("-".join(fit_for_a_folder(word) for word in dict.fromkeys((base, *telling))))
    seen: Counter[str] = Counter()
    for i, label in enumerate(made):
        seen[label] += 1
        if seen[label] > 1:
            made[i] = f"{label}-{seen[label]}"
    return made


def fit_for_a_folder(text: str) -> str:
    """Keep letters, digits and a few signs.

    >>> fit_for_a_folder("timm/vit tiny")
    'timm_vit_tiny'
    """
    return re.sub(r"[^\w.+=-]+", "_", text).strip("_") or "_"


def word_of(key: str, value: Any) -> str:
    """Write a setting as a part of a name.

    >>> word_of("optimizer.momentum", 0.9), word_of("detach", True), word_of("schedule.milestones", [0.5, 0.75])
    ('momentum0.9', 'detach-true', 'milestones0.5,0.75')
    """
    last = key.rpartition(".")[2]
    if isinstance(value, bool) or value is None:
        return f"{last}-{'none' if value is None else str(value).lower()}"
    if isinstance(value, list | tuple):
        return last + ",".join(map(str, value))
    if isinstance(value, float):
        return f"{last}{value:g}"
    return f"{last}{value}" if isinstance(value, int) else f"{last}-{value}"


def network_word(network: str) -> str:
    """Give the short name of a network or of its weights file.

    >>> network_word("teachers/big.safetensors"), network_word("timm/convnext_tiny")
    ('big', 'convnext_tiny')
    """
    return Path(network).stem if Path(network).suffix else network.rpartition("/")[2]
