"""Studies in real processes: killed at any moment, and worked on by two at once."""

import json
import os
import random
import re
import signal
import time
from collections import Counter
from pathlib import Path

import optuna
import pytest

from docendo.studies.shared import title_of
from docendo.studies.storage import open_storage
from tests.studies.zygote import Started, Zygote

TINY = ("--no-report", "--teacher", "resnet8", "--set", "data.train_images=200", "--set", "checkpoint_seconds=0")
ALONE = (TINY[0], *TINY[3:])
ONE = ("--epochs", "1")
KILLS = 3


def table(text: str) -> str:
    """Give what a study shows at its end."""
    return text.partition("─\n")[2].partition("Runs, weights")[0]


def results(folder: Path) -> list[Path]:
    return sorted(folder.glob("*/*/results.json"))


def wait_for(process: Started, path: Path, many: int = 1) -> None:
    """Wait until so many runs are finished, or a process has ended by itself."""
    until = time.monotonic() + 60
    while len(results(path)) < many and not table(process.log.read_text()):
        assert time.monotonic() < until, process.log.read_text()
        time.sleep(0.005)


def times_trained(folder: Path) -> Counter[str]:
    """Count how often each phase of each run was begun."""
    logs = {path.parent.name: path.read_text() for path in folder.rglob("log.txt")}
    return Counter(
        f"{run} {phase}" for run, log in logs.items() for phase in re.findall(r"^(.+): 1 epoch of ", log, re.M)
    )


def test_killed_at_any_moment_it_gives_the_same_table(processes: Zygote, tmp_path: Path) -> None:
    command = ("compare", "plain", "sftn", "--seeds", "0", *ONE, *TINY)
    straight = processes.start(*command, "--out", "straight", log=tmp_path / "straight.txt", cwd=tmp_path).wait()
    assert straight[0] == 0, straight[1]
    random.seed(0)
    killed = 0
    for kill in range(KILLS):
        process = processes.start(*command, "--out", "killed", log=tmp_path / "killed.txt", cwd=tmp_path)
        wait_for(process, tmp_path / "killed", len(results(tmp_path / "killed")) + min(kill, 1))
        time.sleep(random.uniform(0, 0.3))
        process.kill()
        killed += not table(process.log.read_text())
    assert killed == KILLS
    last = processes.start(*command, "--out", "killed", log=tmp_path / "killed.txt", cwd=tmp_path).wait()
    assert last[0] == 0, last[1]
    assert table(last[1]) == table(straight[1]) != ""
    for path in (tmp_path / "straight").rglob("*.safetensors"):
        again = tmp_path / "killed" / path.relative_to(tmp_path / "straight")
        assert again.read_bytes() == path.read_bytes()


def test_a_process_that_dies_is_replaced(processes: Zygote, tmp_path: Path) -> None:
    command = ("compare", "plain", "--seeds", "0,1,2", *ALONE, "--epochs", "3", "--out", "out", "--jobs", "2")
    study = processes.start(*command, log=tmp_path / "log.txt", cwd=tmp_path)
    wait_for(study, tmp_path / "out")
    for pid in study.children():
        os.kill(pid, signal.SIGKILL)
    code, said = study.wait()
    assert code == 0, said
    assert "its process ended by itself, by SIGKILL" in said
    assert len(results(tmp_path / "out")) == 3
    assert [*(tmp_path / "out/.workers").iterdir()] == []


def two_share(processes: Zygote, folder: Path, storage: str) -> None:
    command = ("compare", "plain", "kd", "--seeds", "0,1", *ONE, *TINY, "--out", "shared", "--storage", storage)
    first, second = (processes.start(*command, log=folder / f"{i}.txt", cwd=folder) for i in "12")
    (code, said), (other_code, other_said) = first.wait(), second.wait()
    assert (code, other_code) == (0, 0), said + other_said
    assert table(said) == table(other_said) != ""
    assert len(results(folder / "shared")) == 5
    trained = times_trained(folder / "shared")
    assert set(trained.values()) == {1}
    assert len(trained) == 5
    assert len(workers(folder / "shared", storage)) == 2


def workers(folder: Path, storage: str) -> set[str]:
    """Give who finished the runs of a study, each of which has one finished trial."""
    opened = open_storage(storage, folder)
    trials = opened.get_all_trials(opened.get_study_id_from_name(title_of(folder)))
    done = [trial for trial in trials if trial.state == optuna.trial.TrialState.COMPLETE]
    assert Counter(trial.user_attrs["run"] for trial in done) == {
        str(p.parent.relative_to(folder)): 1 for p in results(folder)
    }
    if hasattr(opened, "engine"):
        opened.remove_session()
        opened.engine.dispose()
    return {trial.user_attrs["worker"]["name"] for trial in done}


def test_two_share_the_work_through_an_sqlite_file(processes: Zygote, tmp_path: Path) -> None:
    two_share(processes, tmp_path, "sqlite")


@pytest.mark.postgresql
def test_two_share_the_work_through_postgresql(postgresql: str, processes: Zygote, tmp_path: Path) -> None:
    two_share(processes, tmp_path, postgresql)


def test_a_worker_that_dies_is_replaced(processes: Zygote, tmp_path: Path) -> None:
    command = ("compare", "plain", "--seeds", "0,1,2", *ONE, *ALONE, "--out", "shared", "--storage", "sqlite")
    first = processes.start(*command, log=tmp_path / "1.txt", cwd=tmp_path)
    second = processes.start(*command, log=tmp_path / "2.txt", cwd=tmp_path)
    wait_for(first, tmp_path / "shared")
    first.kill()
    code, said = second.wait()
    assert code == 0, said
    index = json.loads((tmp_path / "shared" / "index.json").read_text())
    assert index["cells"][0]["seeds"] == {str(seed): f"runs/plain-seed{seed}" for seed in range(3)}
    assert index["cells"][0]["failed"] == {}


def test_two_search_together(processes: Zygote, tmp_path: Path) -> None:
    command = ("tune", "kd", "--teacher", "resnet8", "--epochs", "1", "--set", "data.train_images=200", "--trials", "4")
    command += ("--out", "out", "--storage", "sqlite")
    both = [processes.start(*command, log=tmp_path / f"{i}.txt", cwd=tmp_path) for i in "12"]
    ended = [one.wait() for one in both]
    assert [code for code, _ in ended] == [0, 0], ended
    assert 4 <= len([*(tmp_path / "out/trials").iterdir()]) <= 5
    assert (tmp_path / "out/teachers/teacher-seed0/log.txt").read_text().count("teacher: 1 epoch of") == 1
    best = [text.partition("\n  docendo train ")[2] for _, text in ended]
    assert best[0] == best[1] != ""
