"""One finished run, as its folder tells it."""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import lcm
from pathlib import Path
from typing import Any

from docendo.errors import DocendoError
from docendo.files import read_json, read_results, read_yaml

Row = Mapping[str, Any]

MOST_IMAGES = 1_000_000
"""No test split that accuracies are counted on is taken to be larger than this."""


@dataclass(frozen=True)
class Finished:
    """A finished run.

    Attributes:
        folder: its folder.
        results: `results.json`.
        config: `config.yaml`.
        rows: of its metrics, one an epoch and phase; none where they were not kept.
        measures: `measures.json`; None where nothing was measured.
    """

    folder: Path
    results: Mapping[str, Any]
    config: Mapping[str, Any]
    rows: tuple[Row, ...]
    measures: Mapping[str, Any] | None

    @property
    def method(self) -> str:
        """The method's name."""
        return str(self.results["method"])

    @property
    def seed(self) -> int:
        """The run's seed."""
        return int(self.results["seed"])

    @property
    def data(self) -> str:
        """The data set's name."""
        return str(self.results["data"])

    @property
    def deployed(self) -> str:
        """The role of the network to deploy."""
        return str(self.results["deployed"])

    @property
    def about(self) -> Mapping[str, Any]:
        """What the results say of the network to deploy."""
        return self.network(self.deployed)

    def network(self, role: str) -> Mapping[str, Any]:
        """Give what the results say of the network of a role."""
        found: Mapping[str, Any] = self.results["networks"][role]
        return found

    @property
    def top1(self) -> float:
        """Test top-1 of the deployed network at the last epoch, in percent."""
        return 100 * float(self.about["test_top1"])

    def has_weights(self) -> bool:
        """Say whether the network to deploy is there."""
        return (self.folder / str(self.about["weights"])).is_file()

    def measured(self) -> Mapping[str, Any] | None:
        """Give what was measured of the network to deploy, if anything was."""
        found: Mapping[str, Any] | None = (self.measures or {}).get("networks", {}).get(self.deployed)
        return found

    def curve(self) -> list[tuple[int, float]]:
        """Give the validation accuracy of the deployed network after each epoch of its last phase, in percent."""
        column = self._column
        return [(int(row["epoch"]), 100 * float(row[column])) for row in self.last_phase() if column in row]

    def last_phase(self) -> list[Row]:
        """Give the rows of the last phase in which the deployed network learns."""
        own = [row for row in self.rows if self._column in row or any(c.startswith(self._terms) for c in row)]
        return [row for row in own if row["phase"] == own[-1]["phase"]]

    @property
    def _column(self) -> str:
        return f"val_top1/{self.deployed}"

    @property
    def _terms(self) -> str:
        return f"loss/{self.deployed}<"

    def tested(self) -> int:
        """Count the test images; of old runs, give the least number of them that the accuracies can be fractions of."""
        counted = (self.measured() or {}).get("images") or self.results.get("images", {}).get("test")
        if counted is not None:
            return int(counted)
        accuracies = [about[key] for about in self.results["networks"].values() for key in ("test_top1", "test_top5")]
        return count_behind(accuracies)


def points(several: Iterable[list[tuple[int, float]]]) -> dict[int, list[float]]:
    """Put the points of seeds together, by x.

    >>> points([[(1, 0.5), (2, 1.0)], [(1, 1.5)]])
    {1: [0.5, 1.5], 2: [1.0]}
    """
    together: dict[int, list[float]] = defaultdict(list)
    for curve in several:
        for x, y in curve:
            together[x].append(y)
    return dict(sorted(together.items()))


def count_behind(fractions: list[float]) -> int:
    """Give the least number of images of which all these are fractions.

    >>> count_behind([0.3323, 0.6443]), count_behind([357 / 359])
    (10000, 359)
    """
    return lcm(*(Fraction(value).limit_denominator(MOST_IMAGES).denominator for value in fractions))


def read_finished(folder: Path) -> Finished:
    """Read the folder of a finished run.

    Raises:
        DocendoError: it is none, or a file in it cannot be read.
    """
    measures = folder / "measures.json"
    return Finished(
        folder,
        read_results(folder),
        read_yaml(folder / "config.yaml", wrong="is no run's configuration: it must hold keys and values"),
        _rows(folder),
        read_json(measures) if measures.is_file() else None,
    )


def _rows(folder: Path) -> tuple[Row, ...]:
    """Read the metrics: `metrics.jsonl`, or the same as `metrics.csv`, whose empty fields were not measured."""
    lines, table = folder / "metrics.jsonl", folder / "metrics.csv"
    try:
        if lines.is_file():
            return tuple(json.loads(line) for line in lines.read_text(encoding="utf-8").splitlines())
        if table.is_file():
            with table.open(newline="", encoding="utf-8") as file:
                return tuple(_parsed(row) for row in csv.DictReader(file))
    except (OSError, ValueError) as error:
        raise DocendoError(f"cannot read the metrics in {folder}: {error}") from error
    return ()


def _parsed(row: Mapping[str, str]) -> Row:
    return {name: value if name == "phase" else float(value) for name, value in row.items() if value}
