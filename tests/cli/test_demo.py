"""`docendo demo`."""

from pathlib import Path

from docendo.cli.demo import how_to_read, spread
from docendo.data import DataSettings, load
from tests.cli.conftest import call


def test_demo_trains_compares_and_reuses(tmp_path: Path) -> None:
    first = call("demo", "--seeds", "0", "--epochs", "1")
    assert (first.code, first.err) == (0, "")
    assert sorted(p.name for p in (tmp_path / "runs/demo").iterdir()) == ["kd-seed0", "plain-seed0", "sftn-seed0"]
    assert "\nfriendly teacher: 1 epoch in 0:" in first.out
    rows = [line.split() for line in first.out.partition("─\n")[2].splitlines()[:5]]
    assert [row[:3] for row in rows[:2]] == [["plain", "student", "resnet8"], ["kd", "student", "resnet8"]]
    assert rows[2][:2] == rows[4][:2] == ["teacher", "resnet20"]
    assert rows[3][0] == "sftn"
    assert all("±" not in row for row in rows)
    assert all("77,754" in row or "272,186" in row for row in rows)
    second = call("demo", "--seeds", "0", "--epochs", "1")
    assert "already finished: runs/demo/sftn-seed0" in second.out
    assert second.out.partition("─\n")[2] == first.out.partition("─\n")[2]
    other = call("demo", "--seeds", "0", "--epochs", "2")
    assert other.code == 2
    assert "epochs is 1 there, 2 here" in other.err


def test_how_to_read_is_honest() -> None:
    images = len(load(DataSettings()).test)
    assert "nothing is known of the spread" in how_to_read(1, images)
    assert "359 test digits, all easy, and one of them is 0.28 points" in how_to_read(3, images)


def test_spread_is_the_sample_standard_deviation() -> None:
    assert spread([0.5, 0.6, 0.7]) == "60.00 ± 10.00%"
