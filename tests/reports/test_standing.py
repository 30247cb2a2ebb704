"""What a report says of who is better: against the statistics it is made of, in words and tables."""

import csv
import io
import statistics
from pathlib import Path

import pytest
from scipy import stats

from docendo.reports.headline import headline, second_line
from docendo.reports.making import shown_of
from docendo.reports.reading import read_record
from docendo.reports.standing import standings
from docendo.reports.tables import epochs_to, measures_table, results_table
from docendo.reports.written import write_tables
from tests.reports.conftest import Made

PLAIN, BETTER, WORSE = (0.7012, 0.7030, 0.7021), (0.7112, 0.7131, 0.7119), (0.6912, 0.6931, 0.6919)


def words(path: Path) -> tuple[str, str]:
    record = read_record(path)
    (group,) = record.groups
    standing = standings(group)
    return headline(record, group, standing), second_line(group, standing)


def test_the_best_that_helps_stands_first(made: Made, tmp_path: Path) -> None:
    for seed in range(3):
        made(f"plain-{seed}", PLAIN[seed])
        made(f"kd-{seed}", BETTER[seed])
        made(f"at-{seed}", WORSE[seed])
        made(f"sp-{seed}", PLAIN[(seed + 1) % 3])
    made("dkd-0", 0.9)
    first, second = words(tmp_path)
    assert first.startswith("kd beats plain by 1.00 ±")
    assert first.endswith("points (95%), 3 seeds.")
    assert second == "Of 4 methods 1 helps, 1 hurts, 1 shows no difference, and 1 has too few seeds to tell."


@pytest.mark.parametrize(
    ("runs", "first", "second"),
    [
        ({"kd": BETTER[:1]}, "resnet8, trained by kd, has 71.12% of 1,250 test images right.", "Nothing here tells"),
        ({"plain": PLAIN}, "resnet8, trained by plain, has 70.21% of 10,000 test images right, in the mean of 3", ""),
        ({"plain": PLAIN, "kd": PLAIN}, "kd beside plain: no difference can be seen with 3 seeds (all equal).", ""),
        ({"plain": PLAIN[:1], "kd": BETTER[:1], "at": WORSE[:1]}, "With one seed each, nothing can be said", "All 2"),
        (
            {"plain": PLAIN, "kd": PLAIN, "at": PLAIN[::-1]},
            "No method can be seen to help over plain.",
            "All 2 methods",
        ),
        ({"plain": BETTER, "kd": WORSE, "at": PLAIN}, "All methods that can be judged do worse than plain.", "All 2"),
        ({"kd": BETTER, "at": WORSE}, "Of 2 methods, kd has most test images right: 71.21%", ""),
    ],
)
def test_the_first_lines(
    runs: dict[str, tuple[float, ...]], first: str, second: str, made: Made, tmp_path: Path
) -> None:
    for label, values in runs.items():
        for seed, value in enumerate(values):
            made(f"{label}-{seed}", value)
    found = words(tmp_path)
    assert found[0].startswith(first)
    assert found[1].startswith(second)
    assert bool(found[1]) == bool(second)


def test_a_run_alone_is_shown_beside_its_teacher(made: Made, tmp_path: Path) -> None:
    run = made("kd-0", 0.3323, networks={"student": "resnet8", "teacher": "resnet20"}, others={"teacher": 0.3638})
    first, _ = words(run.folder)
    assert first == "resnet8, trained by kd, has 33.23% of 10,000 test images right; its teacher, resnet20, 36.38%."


def test_tables_agree_with_scipy(made: Made, tmp_path: Path) -> None:
    for seed in range(3):
        made(f"plain-{seed}", PLAIN[seed])
        made(f"kd-{seed}", BETTER[seed])
    write_tables(shown_of(read_record(tmp_path)), tmp_path / "tables")
    kd, plain = csv.DictReader(io.StringIO((tmp_path / "tables" / "results.csv").read_text()))
    gains = [100 * (a - b) for a, b in zip(BETTER, PLAIN, strict=True)]
    test = stats.ttest_rel([100 * v for v in BETTER], [100 * v for v in PLAIN])
    interval = test.confidence_interval(0.95)
    assert float(kd["test_top1"]) == pytest.approx(100 * statistics.fmean(BETTER))
    assert float(plain["test_top1_std"]) == pytest.approx(100 * statistics.stdev(PLAIN))
    assert float(kd["difference"]) == pytest.approx(statistics.fmean(gains))
    assert float(kd["difference_margin"]) == pytest.approx((interval.high - interval.low) / 2)
    assert float(kd["p_value"]) == pytest.approx(test.pvalue)
    assert (kd["outcome"], plain["outcome"]) == ("helps", "baseline")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "tables" / "runs.csv").read_text())))
    assert {(row["label"], row["seed"]): float(row["test_top1"]) for row in rows} == {
        (label, str(seed)): pytest.approx(100 * value)
        for label, values in (("kd", BETTER), ("plain", PLAIN))
        for seed, value in enumerate(values)
    }
    assert (
        "| kd | 3 | 71.21 ± 0.10 | +1.00 ± 0.04 | helps by 1.00 ±" in (tmp_path / "tables" / "results.md").read_text()
    )
    assert "kd & 3 & 71.21 $\\pm$ 0.10 & +1.00 $\\pm$" in (tmp_path / "tables" / "results.tex").read_text()


def test_columns_without_values_are_left_out(made: Made, tmp_path: Path) -> None:
    made("plain-0", PLAIN[0])
    made("kd-0", BETTER[0])
    (group,) = read_record(tmp_path).groups
    table = measures_table(group, standings(group))
    assert table is not None
    assert table.headings == ("Method", "Validation top-1, %", "Best epoch's, %", "Test top-5, %")


def test_one_seed_has_no_spread_and_no_interval(made: Made, tmp_path: Path) -> None:
    made("plain-0", PLAIN[0])
    made("kd-0", BETTER[0])
    (group,) = read_record(tmp_path).groups
    kd, plain = results_table(group, standings(group)).rows
    assert kd.cells[:3] == ("1", "71.12", "+1.00")
    assert kd.outcome == "untested"
    assert plain.cells == ("1", "70.12", "", "what others are compared with")


def test_epochs_are_counted_in_the_mean_of_seeds(made: Made, tmp_path: Path) -> None:
    for seed, curve in enumerate(((0.1, 0.5, 0.6), (0.1, 0.3, 0.6))):
        rows = [{"phase": "student", "epoch": e, "val_top1/student": y} for e, y in enumerate(curve, start=1)]
        made(f"kd-{seed}", 0.6, rows=rows)
    cell = read_record(tmp_path).cells[0]
    assert [epochs_to(cell, accuracy) for accuracy in (5.0, 40.0, 60.0, 61.0)] == ["1", "2", "3", "not reached"]
