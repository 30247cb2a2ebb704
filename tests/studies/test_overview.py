"""How far a study is, what runs tell of themselves, and the lines that people read."""

import io

from docendo.studies.job import Job
from docendo.studies.overview import At, Event, Overview
from docendo.studies.process import shares
from docendo.studies.telling import Telling
from docendo.studies.watching import StudyLines

ROW = {"images_per_second": 1.0}


def job(name: str, epochs: int = 10) -> Job:
    label = name.rpartition("-")[0]
    return Job(f"runs/{name}", label, "plain", {}, {}, 0, epochs)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_what_is_left_is_reckoned_by_what_was_seen() -> None:
    clock = Clock()
    jobs = (job("a-seed0"), job("b-seed0", 20), job("a-seed1"), job("b-seed1", 20))
    overview = Overview(jobs, workers=1, clock=clock)
    assert overview.left() is None
    overview.started(jobs[0])
    overview.at(jobs[0], At("student", 1, 10, 0.0))
    clock.now = 5.0
    overview.at(jobs[0], At("student", 6, 10, 5.0))
    assert overview.left() == 5 + 20 + 10 + 20  # a second an epoch, whatever the run
    assert overview.part() == 5 / 60
    clock.now = 10.0
    overview.at(jobs[0], At("student", 10, 10, 10.0))
    overview.ended(jobs[0], None)
    overview.started(jobs[1])
    overview.at(jobs[1], At("student", 1, 20, 0.0))
    clock.now = 40.0
    overview.at(jobs[1], At("student", 10, 20, 10.0))
    assert overview.left() == 3 * 10 + 10 + 3 * 20  # b takes three seconds an epoch, and so will its other seed
    overview.ended(jobs[1], "no luck")
    assert overview.failed == {"runs/b-seed0": "no luck"}
    assert overview.left() == 10 + 20
    assert overview.part() == 30 / 60


def test_several_at_a_time_take_less_time_and_begin_to_count_with_their_first_step() -> None:
    clock = Clock()
    jobs = tuple(job(f"a-seed{seed}") for seed in range(4))
    overview = Overview(jobs, already=frozenset({"runs/a-seed3"}), workers=2, clock=clock)
    for one in jobs[:2]:
        overview.started(one)
    clock.now = 100.0  # Python starts
    for one in jobs[:2]:
        overview.at(one, At("student", 1, 10, 0.0))
    clock.now = 102.0
    for one in jobs[:2]:
        overview.at(one, At("student", 3, 10, 2.0))
    assert overview.left() == (8 + 8 + 10) / 2
    assert overview.part() == 14 / 40


def test_a_run_tells_where_it_is_over_all_its_phases() -> None:
    events: list[Event] = []
    telling = Telling(events.append)
    telling.say("a note")
    telling.phase("teacher", 2, 4, 0)
    telling.step(1, 1, 64, dict)  # too soon after the last
    telling.epoch({"epoch": 1, **ROW})
    telling.epoch({"epoch": 2, **ROW})
    telling.phase("student", 3, 4, 6)  # going on after epoch 1, step 2
    telling.epoch({"epoch": 2, **ROW})
    telling.epoch({"epoch": 3, **ROW})
    assert events == [
        "a note",
        At("teacher", 1, 2, 0.0),
        At("teacher", 1, 2, 1.0),
        At("teacher", 2, 2, 2.0),
        At("student", 2, 3, 2.0),
        At("student", 2, 3, 2.5),
        At("student", 3, 3, 3.5),
    ]


def test_lines_say_what_ended_and_warn_once() -> None:
    out, clock = io.StringIO(), Clock()
    jobs = tuple(job(f"a-seed{seed}") for seed in range(10))
    overview = Overview(jobs, frozenset({"runs/a-seed9"}), clock=clock)
    lines = StudyLines(out, every=0.0)
    lines.begin(overview)
    for one in jobs[:2]:
        overview.started(one)
        lines.started(one)
        lines.heard(one, "a note")
        lines.heard(one, "warning: mind this")
    overview.at(jobs[0], At("student", 1, 10, 0.0))
    clock.now = 60.0
    overview.at(jobs[0], where := At("student", 4, 10, 3.0))
    lines.heard(jobs[0], where)
    overview.ended(jobs[0], None)
    lines.ended(jobs[0], "student 97.00%", False)
    overview.ended(jobs[1], "no luck")
    lines.ended(jobs[1], "no luck", True)
    assert out.getvalue().splitlines() == [
        "10 runs, 1 of them finished before",
        "runs/a-seed0: warning: mind this",
        "runs/a-seed0: student, epoch 4/10; about 29 min left",
        "[ 2/10] runs/a-seed0: student 97.00%; about 27 min left",
        "[ 3/10] runs/a-seed1 FAILED: no luck; about 23 min left",
    ]


def test_processes_share_threads_and_cards() -> None:
    assert int(shares(0, 1, {})["OMP_NUM_THREADS"]) >= int(shares(0, 2, {})["OMP_NUM_THREADS"]) >= 1
    assert [shares(i, 3, {"CUDA_VISIBLE_DEVICES": "0,1"})["CUDA_VISIBLE_DEVICES"] for i in range(3)] == ["0", "1", "0"]
    assert "CUDA_VISIBLE_DEVICES" not in shares(1, 2, {"CUDA_VISIBLE_DEVICES": "3"})
