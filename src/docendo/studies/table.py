"""What a study shows: for each cell its mean and spread, and what the difference from its baseline means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from docendo.files import read_results
from docendo.studies.comparison import Comparison
from docendo.studies.correction import compare_all
from docendo.studies.summary import Summary, summarize
from docendo.studies.verdict import Verdict, judge


@dataclass(frozen=True)
class Row:
    """One cell. Values are test top-1 of the deployed network at the last epoch, in percent.

    Attributes:
        label: its name.
        network: the deployed network.
        values: by seed.
        summary: mean and spread; None without a finished run.
        comparison: with the baseline; None of the baseline itself, or where one of both has no finished run.
        verdict: the same in words.
        failed: seeds whose runs failed.
        is_baseline: whether others are compared with it.
    """

    label: str
    network: str
    values: Mapping[int, float]
    summary: Summary | None
    comparison: Comparison | None
    verdict: Verdict | None
    failed: tuple[int, ...]
    is_baseline: bool


def rows_of(folder: Path, index: Mapping[str, Any]) -> list[Row]:
    """Make the table of a study.

    Args:
        folder: the study's.
        index: as `docendo.studies.folder.write_index` gives it.

    Returns:
        A row for each cell, in the order of the index.
    """
    cells = {cell["label"]: cell for cell in index["cells"]}
    values = {label: _values(folder, cell) for label, cell in cells.items()}
    comparisons: dict[str, Comparison] = {}
    for baseline in dict.fromkeys(cell["baseline"] for cell in cells.values() if cell["baseline"]):
        against = {label: values[label] for label, c in cells.items() if c["baseline"] == baseline and values[label]}
        if values[baseline]:
            resolution = 100 / cells[baseline]["test_images"]
            comparisons |= compare_all(against, values[baseline], resolution=resolution)
    return [
        Row(
            label=label,
            network=cell["networks"].get(_deployed(folder, cell), ""),
            values=values[label],
            summary=summarize(values[label], resolution=100 / cell["test_images"]) if values[label] else None,
            comparison=comparisons.get(label),
            verdict=judge(comparisons[label]) if label in comparisons else None,
            failed=tuple(int(seed) for seed in cell["failed"]),
            is_baseline=cell["baseline"] is None,
        )
        for label, cell in cells.items()
    ]


def _values(folder: Path, cell: Mapping[str, Any]) -> dict[int, float]:
    results = {int(seed): read_results(folder / run) for seed, run in cell["seeds"].items()}
    return {seed: 100 * found["networks"][found["deployed"]]["test_top1"] for seed, found in results.items()}


def _deployed(folder: Path, cell: Mapping[str, Any]) -> str:
    run = next(iter(cell["seeds"].values()), None)
    return str(read_results(folder / run)["deployed"]) if run else "student"
