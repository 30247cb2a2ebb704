"""Which runs a study asks for: what is shared, what is equal, and how it is called. Nothing is trained here."""

from pathlib import Path
from typing import Any

import pytest

from docendo.errors import DocendoError
from docendo.networks import create, save
from docendo.studies.definition import study_settings
from docendo.studies.plan import Plan, make_plan

FOLDER = Path("here")
TEACHER = "here/teachers/teacher-seed0/teacher.safetensors"


def plan(*methods: Any, **more: Any) -> Plan:
    return make_plan(study_settings({"methods": [*methods], "seeds": [0, 1], "run": {"epochs": 2}, **more}), FOLDER)


def names(made: Plan) -> list[str]:
    return [job.name for job in made.jobs]


def test_a_frozen_teacher_is_trained_once_for_all() -> None:
    made = plan("plain", "kd", "sokd", "ctkd")
    assert names(made) == [
        *("runs/plain-seed0", "teachers/teacher-seed0", "runs/kd-seed0", "runs/sokd-seed0"),
        *("runs/collaborative_teaching-seed0", "runs/plain-seed1", "runs/kd-seed1", "runs/sokd-seed1"),
        "runs/collaborative_teaching-seed1",
    ]
    jobs = {job.name: job for job in made.jobs}
    assert jobs["teachers/teacher-seed0"].config.settings == {"role": "teacher"}
    assert jobs["runs/kd-seed1"].networks == {"teacher": TEACHER, "student": "resnet8"}
    assert jobs["runs/collaborative_teaching-seed1"].networks == {
        "expert": TEACHER,
        "scratch": "resnet20",
        "student": "resnet8",
    }
    assert all(jobs[f"runs/{m}-seed1"].needs == ("teachers/teacher-seed0",) for m in ("kd", "sokd"))
    assert [job.epochs for job in made.jobs] == [2] * 9


def test_a_friendly_teacher_is_trained_once_and_its_transfer_for_each_seed() -> None:
    made = plan({"method": "sftn", "settings": {"branch_kl": 2, "then.temperature": 3}})
    jobs = {job.name: job for job in made.jobs}
    assert [*jobs] == ["teachers/sftn-teacher-seed0", "runs/sftn-seed0", "runs/sftn-seed1"]
    teacher, run = jobs["teachers/sftn-teacher-seed0"], jobs["runs/sftn-seed1"]
    assert teacher.settings["branch_kl"] == 2.0
    assert not any(key.startswith("then") for key in teacher.settings)
    assert (run.method, run.config.settings["temperature"], run.needs) == ("kd", 3.0, (teacher.name,))
    assert run.networks["teacher"] == "here/teachers/sftn-teacher-seed0/teacher.safetensors"
    tuned = plan({"method": "sftn", "settings": {"start": "trained", "finetune_fraction": 0.5}})
    assert [(job.name, job.epochs, job.needs) for job in tuned.jobs][:3] == [
        ("teachers/teacher-seed0", 2, ()),
        ("teachers/sftn-teacher-seed0", 1, ("teachers/teacher-seed0",)),
        ("runs/sftn-seed0", 2, ("teachers/sftn-teacher-seed0",)),
    ]


def test_each_seed_may_have_teachers_of_its_own() -> None:
    made = plan("kd", "sftn", teacher_seed="each")
    assert names(made) == [
        *("teachers/teacher-seed0", "runs/kd-seed0", "runs/sftn-seed0"),
        *("teachers/teacher-seed1", "runs/kd-seed1", "runs/sftn-seed1"),
    ]
    assert [job.method for job in made.jobs[-2:]] == ["kd", "sftn"]
    assert made.jobs[-1].epochs == 4


def test_what_learns_beside_the_student_is_never_shared() -> None:
    made = plan("dml", "ban", "teskd", "rocket_launching", networks=["resnet14:resnet8"], seeds=[0])
    assert names(made) == [f"runs/{m}-seed0" for m in ("dml", "ban", "teskd", "rocket_launching")]
    assert made.jobs[0].networks == {"student": "resnet8", "peer": "resnet14"}
    assert [job.epochs for job in made.jobs] == [2, 6, 2, 2]


def test_a_grid_runs_nothing_twice_and_says_only_what_differs() -> None:
    made = plan(
        "plain",
        {"method": "kd", "settings": {"temperature": [1, 8]}},
        networks=["resnet20:resnet8", "resnet14:resnet8"],
        vary={"lr": [0.1, 0.05]},
        seeds=[0],
    )
    found = {cell.label: cell.baseline for cell in made.cells}
    assert len(found) == 10
    assert found["plain-lr0.1"] is None
    assert found["kd-temperature8-resnet14-lr0.05"] == "plain-lr0.05"
    assert sum(job.name.startswith("runs/plain") for job in made.jobs) == 2
    assert sum(job.name.startswith("teachers/") for job in made.jobs) == 4
    again = make_plan(study_settings(made.definition.model_dump(mode="json")), FOLDER)
    assert (again.jobs, again.definition) == (made.jobs, made.definition)


def test_data_sets_are_cells_too() -> None:
    made = plan("plain", data=["digits", {"name": "digits", "train_images": 200}], seeds=[0])
    assert [cell.label for cell in made.cells] == ["plain", "plain-train_images200"]
    assert [cell.point.settings.data.train_images for cell in made.cells] == [None, 200]
    assert [cell.baseline for cell in made.cells] == [None, None]


def test_the_baseline_is_plain_or_what_one_says() -> None:
    assert plan("kd", "plain").baseline == "plain"
    assert plan("kd", "at").baseline == "kd"
    chosen = plan("plain", {"method": "kd", "label": "old kd"}, baseline="old kd")
    assert {cell.label: cell.baseline for cell in chosen.cells} == {"plain": "old_kd", "old_kd": None}
    with pytest.raises(DocendoError, match=r'the baseline "att" is not among the methods; did you mean "at"\?'):
        plan("plain", "at", baseline="att")


def test_what_was_asked_for_is_filled_in() -> None:
    made = make_plan(study_settings({"methods": ["plain", "ctkd"], "seeds": [0]}), FOLDER)
    definition = made.definition
    assert definition.networks == ({"student": "resnet8", "expert": "resnet20", "scratch": "resnet20"},)
    assert definition.run == {"epochs": 20}
    assert [one.label for one in definition.methods] == ["plain", "collaborative_teaching"]


def test_given_weights_are_taken_and_who_learns_starts_from_scratch(tmp_path: Path) -> None:
    file = tmp_path / "mine.safetensors"
    network = create("resnet14", classes=10, channels=1, image_size=8)
    save(network, file, class_names=None, mean=None, std=None, role="teacher")
    made = plan("kd", "ctkd", "sftn", networks=[{"teacher": str(file)}], seeds=[0])
    networks = {job.name: job.networks for job in made.jobs}
    assert networks["runs/kd-seed0"]["teacher"] == str(file)
    assert networks["runs/collaborative_teaching-seed0"] == {
        "student": "resnet8",
        "expert": str(file),
        "scratch": "resnet14",
    }
    assert networks["teachers/sftn-teacher-seed0"]["teacher"] == "resnet14"
    assert "teachers/teacher-seed0" not in networks


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            {"networks": [{"scratch": "resnet8"}]},
            "a network is given for a scratch, but kd know only: student, teacher",
        ),
        ({"networks": ["resnet9:resnet8"]}, 'unknown network "resnet9"'),
        ({"run": {"epoch": 3}}, r'unknown setting "epoch" of kd; did you mean "epochs"\?'),
        ({"data": ["digit"]}, r'did you mean "digits"\?'),
    ],
)
def test_mistakes_are_found_before_anything_is_trained(more: dict[str, Any], message: str) -> None:
    with pytest.raises(DocendoError, match=message):
        plan("kd", **more)
