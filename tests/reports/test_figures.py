"""Figures hold the numbers of the runs: each against means and differences computed here."""

import statistics
from pathlib import Path
from typing import Any

import pytest

from docendo.reports.figures.classes import MOST, class_changes, class_exchange, most_changed
from docendo.reports.figures.cost import training_cost, use_cost
from docendo.reports.figures.curves import all_curves, curves, shared_limits
from docendo.reports.figures.differences import differences
from docendo.reports.figures.labels import Box, placed
from docendo.reports.figures.losses import losses
from docendo.reports.figures.reliability import reliability
from docendo.reports.figures.similarity import similarity
from docendo.reports.figures.theme import GREY, PALETTE, style, styles
from docendo.reports.making import shown_of
from docendo.reports.reading import read_record
from docendo.reports.record import Record
from docendo.reports.standing import standings
from tests.reports.conftest import Made


@pytest.fixture(scope="module")
def record(study: Path) -> Record:
    return read_record(study)


def measured(record: Record, label: str) -> list[dict[str, Any]]:
    cell = next(cell for cell in record.cells if cell.label == label)
    return [dict(run.measures or {}) for run in cell.runs.values()]


def test_differences_are_seed_by_seed(record: Record) -> None:
    (group,) = record.groups
    made = differences(group, standings(group), styles(record))
    assert made is not None
    plain, kd = ({seed: run.top1 for seed, run in cell.runs.items()} for cell in record.cells)
    gains = [kd[seed] - plain[seed] for seed in (0, 1)]
    marks, mean = made.data
    assert list(marks.x) == pytest.approx(gains)
    assert mean.x[0] == pytest.approx(statistics.fmean(gains))
    assert list(mean.y) == ["kd"]


def test_curves_are_means_with_a_band_of_one_deviation(record: Record) -> None:
    (group,) = record.groups
    plain, kd = record.cells
    made = curves(kd, plain, style(0), shared_limits(group))
    assert made is not None
    band, line = made.data[2:]
    columns = list(zip(*([y for _, y in run.curve()] for run in kd.runs.values()), strict=True))
    assert list(line.x) == [1, 2]
    assert list(line.y) == pytest.approx([statistics.fmean(c) for c in columns])
    upper = [statistics.fmean(c) + statistics.stdev(c) for c in columns]
    assert list(band.y)[:2] == pytest.approx(upper)
    assert made.data[1].line.color == GREY
    assert curves(plain, plain, style(0), (0, 100)).data[-1].name == "plain"


def test_losses_are_means_of_the_terms(record: Record) -> None:
    kd = record.cells[1]
    made = losses(kd)
    assert made is not None
    assert [trace.name for trace in made.data] == ["student ← labels: ce", "student ← teacher: kd", "weighted sum"]
    last = [run.last_phase()[-1]["loss/student<teacher:kd"] for run in kd.runs.values()]
    assert made.data[1].y[-1] == pytest.approx(statistics.fmean(last))
    alone = losses(record.cells[0])
    assert alone is not None
    assert [trace.name for trace in alone.data] == ["student ← labels: ce"]


def test_bars_of_reliability_hold_all_images(record: Record) -> None:
    made = reliability(record.cells[1], record.cells[0], style(0))
    assert made is not None
    bars = made.data[0]
    shares = [share for _, share in bars.customdata]
    assert sum(shares) == pytest.approx(100)
    right = sum(share * y / 100 for share, y in zip(shares, bars.y, strict=True))
    assert right == pytest.approx(statistics.fmean(run.top1 for run in record.cells[1].runs.values()))
    sure = sum(share * (c - y) / 100 for share, (c, _), y in zip(shares, bars.customdata, bars.y, strict=True))
    assert abs(sure) <= 100


def test_changes_of_classes_are_differences_of_means(record: Record) -> None:
    made = class_changes(record.cells[1], record.cells[0], style(0))
    assert made is not None
    own, other = (
        [statistics.fmean(values) for values in zip(*each, strict=True)]
        for each in (
            [found["networks"]["student"]["class_accuracy"] for found in measured(record, label)]
            for label in ("kd", "plain")
        )
    )
    expected = {str(i): 100 * (a - b) for i, (a, b) in enumerate(zip(own, other, strict=True))}
    assert dict(zip(made.data[0].y, made.data[0].x, strict=True)) == pytest.approx(expected)
    assert list(made.data[0].x) == sorted(made.data[0].x, reverse=True)


def test_images_gained_and_lost_against_the_teacher(record: Record) -> None:
    made = class_exchange(record.cells[1], style(0))
    assert made is not None
    found = measured(record, "kd")[0]["networks"]["student"]["teacher"]
    assert sum(made.data[0].x) == sum(found["gained"])
    assert sum(made.data[1].x) == -sum(found["lost"])
    assert class_exchange(record.cells[0], style(0)) is None


def test_of_many_classes_both_ends_are_shown() -> None:
    chosen = most_changed({str(i): float(i) for i in range(100)})
    assert len(chosen) == MOST
    first, *_, last = chosen
    assert (first, last) == ("99", "0")


def test_alignment_is_the_mean_over_seeds(record: Record) -> None:
    made = similarity(record.cells[1])
    assert made is not None
    first, second = (f["networks"]["student"]["teacher"]["similarity"] for f in measured(record, "kd"))
    assert made.data[0].z[2][1] == pytest.approx((first[2][1] + second[2][1]) / 2)
    assert similarity(record.cells[0]) is None


def test_cost_is_that_of_the_results(record: Record) -> None:
    (group,) = record.groups
    standing = standings(group)
    training = training_cost(group, standing, styles(record))
    assert training is not None
    assert [trace.x[0] for trace in training.data] == [one.seconds for one in standing]
    # student and teacher are both of resnet8, so that there is nothing to see
    assert use_cost(record, group, styles(record)) is None


def test_teachers_are_shown_by_what_they_cost_to_use(made: Made) -> None:
    run = made("kd-0", 0.33, networks={"student": "resnet8", "teacher": "resnet20"}, others={"teacher": 0.36})
    record = read_record(run.folder)
    drawn = use_cost(record, record.groups[0], styles(record))
    assert drawn is not None
    assert [(trace.x[0], round(trace.y[0], 6), trace.marker.symbol) for trace in drawn.data] == [
        (2e6, 33.0, "circle"),
        (5e6, 36.0, "diamond-open"),
    ]


def test_all_that_was_measured_in_a_run_is_drawn(made: Made) -> None:
    row = {"phase": "s", "epoch": 1, "val_top1/pyramid.stage1": 0.2, "val_top1/student": 0.3}
    drawn = all_curves(made("teskd-0", 0.3, rows=[row]))
    assert drawn is not None
    assert [trace.name for trace in drawn.data] == ["student", "pyramid.stage1"]
    assert all_curves(made("kd-0", 0.3)) is None


def test_labels_cover_nothing() -> None:
    spots = {str(i): (0.5 + i / 50, 0.5) for i in range(5)}
    sides = placed(spots, dict.fromkeys(spots, "a long name"))
    assert sides.keys() < spots.keys()
    assert Box(0, 0, 2, 2).meets(Box(1, 1, 3, 3))
    assert not Box(0, 0, 1, 1).meets(Box(1, 0, 2, 1))


def test_styles_differ_and_the_baseline_is_grey(record: Record) -> None:
    found = styles(record)
    assert found["plain"].colour == GREY
    assert found["kd"].colour in PALETTE
    assert len({style(i) for i in range(18)}) == 18
    assert shown_of(record).styles == found


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("colour", [*PALETTE, GREY])
@pytest.mark.parametrize("paper", ["#ffffff", "#14171a"])
def test_colours_stand_out_on_light_and_dark_pages(colour: str, paper: str) -> None:
    dark, light = sorted((luminance(colour), luminance(paper)))
    assert (light + 0.05) / (dark + 0.05) >= 3
