"""A whole run: its folder, its results, its settings, and what it refuses."""

import json
import os
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import docendo
from docendo.errors import DocendoError, Interrupted
from docendo.methods import KD
from docendo.networks import create, load, save
from docendo.recipes.run import read_run
from docendo.recipes.settings import RUN_KEYS, Request
from tests.conftest import SMALL, Said, StopAt, same, weights

SmallRun = Callable[..., docendo.Run]


def test_a_run_folder_holds_what_it_should(small_run: SmallRun) -> None:
    run = small_run("kd")
    names = {str(p.relative_to(run.folder)) for p in run.folder.rglob("*") if p.is_file()} - {".lock"}
    assert names == {
        "config.yaml",
        "metrics.jsonl",
        "metrics.csv",
        "log.txt",
        "results.json",
        "student.safetensors",
        "teacher.safetensors",
        "checkpoints/01-teacher.done.pt",
        "checkpoints/02-student.done.pt",
    }
    results = json.loads((run.folder / "results.json").read_text())
    assert results == run.results
    assert set(results) == {
        *("method", "data", "seed", "epochs", "seconds", "images_per_second", "peak_memory_bytes", "command"),
        *("deployed", "networks", "images"),
    }
    assert results["images"] == {"train": 200, "val": 143, "test": 359}
    assert results["deployed"] == "student"
    assert run.network is run.networks["student"]
    wanted = {"test_top1", "test_top5", "val_top1", "best_val_epoch", "parameters", "macs", "weights"}
    for about in results["networks"].values():
        assert wanted <= set(about)
        assert 0 <= about["test_top1"] <= about["test_top5"] <= 1
    assert results["networks"]["student"]["parameters"] == 77_754
    rows = (run.folder / "metrics.csv").read_text().splitlines()
    assert len(rows) == 5
    assert rows[0].startswith(
        "phase,epoch,seconds,images_per_second,lr,loss/teacher<labels:ce,loss/total,val_top1/teacher"
    )


def test_the_command_and_the_configuration_repeat_the_run(small_run: SmallRun, tmp_path: Path) -> None:
    run = small_run(
        "kd", seed=2, lr=0.1, set={"temperature": 2, "schedule.milestones": "0.5,0.75", "optimizer.clip": 3}
    )
    again = small_run("kd", "again", config=run.folder / "config.yaml")
    assert same(weights(run.folder, "student"), weights(again.folder, "student"))
    out = tmp_path / "by command"
    words = shlex.split(run.results["command"])
    subprocess.run(
        [sys.executable, "-m", *words[:-2], "--out", str(out)], check=True, env=one_thread(), capture_output=True
    )
    assert same(weights(run.folder, "student"), weights(out, "student"))


def one_thread() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def test_evaluation_repeats_the_accuracy_exactly(small_run: SmallRun) -> None:
    run = small_run("kd", epochs=4)
    for role, about in run.results["networks"].items():
        measured = docendo.evaluate(run.folder / about["weights"], data="digits")
        assert (measured["top1"], measured["top5"]) == (about["test_top1"], about["test_top5"])
        assert docendo.evaluate(run.folder, role=role, split="val")["top1"] == about["val_top1"]


def test_without_validation_the_results_say_so(small_run: SmallRun) -> None:
    run = small_run("plain", set={"data.validation": 0})
    about = run.results["networks"]["student"]
    assert (about["val_top1"], about["best_val_top1"], about["best_val_epoch"]) == (None, None, None)
    with pytest.raises(DocendoError, match="no validation images"):
        docendo.evaluate(run.folder, split="val")


def test_the_best_epoch_is_the_validations_and_the_weights_the_last(small_run: SmallRun) -> None:
    run = small_run("plain", epochs=4)
    rows = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    tops = [row["val_top1/student"] for row in rows]
    about = run.results["networks"]["student"]
    assert about["best_val_top1"] == max(tops)
    assert about["best_val_epoch"] == 1 + tops.index(max(tops))
    assert about["val_top1"] == tops[-1]


def test_the_best_test_epoch_is_measured_on_request_and_changes_nothing(small_run: SmallRun) -> None:
    run, other = (
        small_run("kd", epochs=4, set={"best_on_test": True}),
        small_run("kd", epochs=4, out="other"),
    )
    rows = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    tops = [row["test_top1/student"] for row in rows if "test_top1/student" in row]
    about, plain = (each.results["networks"]["student"] for each in (run, other))
    assert len(tops) == 4
    assert (about["best_test_top1"], about["test_top1"]) == (max(tops), tops[-1])
    assert about == {**plain, "best_test_top1": max(tops)}
    assert same(weights(run.folder, "student"), weights(other.folder, "student"))


def test_a_search_may_not_look_at_the_best_test_epoch(tmp_path: Path) -> None:
    with pytest.raises(DocendoError, match="a search of settings must not: leave it out"):
        docendo.train("plain", set={"best_on_test": True}, test=False, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_from_before_there_was_a_setting_is_known_again(small_run: SmallRun) -> None:
    run = small_run("plain")
    path = run.folder / "config.yaml"
    then = yaml.safe_load(path.read_text())
    del then["best_on_test"]
    path.write_text(yaml.safe_dump({**then, "compile": False}))
    assert small_run("plain", resume=True).results == run.results
    with pytest.raises(DocendoError, match=r"belongs to another run \(compile is off there, frozen here\)"):
        small_run("plain", set={"compile": "frozen"}, resume=True)


def test_a_run_goes_on_on_another_machine(small_run: SmallRun) -> None:
    straight = small_run("kd", out="straight")
    with pytest.raises(Interrupted):
        small_run("kd", progress=StopAt(3))
    with pytest.raises(Interrupted):
        small_run("kd", resume=True, set={"checkpoint_seconds": 5, "data.workers": 0}, progress=StopAt(3))
    run = small_run("kd", resume=True, set={"teacher_memory": "off", "accelerator": "cpu"})
    assert same(weights(run.folder, "teacher"), weights(straight.folder, "teacher"))


def test_a_checkpoint_from_before_there_was_a_setting_is_known_again(small_run: SmallRun) -> None:
    straight = small_run("plain", out="straight")
    with pytest.raises(Interrupted):
        small_run("plain", out="run", progress=StopAt(6))
    (checkpoint,) = (straight.folder.parent / "run" / "checkpoints").glob("*.pt")
    recipe = json.loads(torch.load(checkpoint, weights_only=True)["made_from"])["recipe"]
    assert "frozen_precision" not in recipe
    assert recipe["epochs"] == 2
    run = small_run("plain", resume=True)
    assert same(weights(run.folder, "student"), weights(straight.folder, "student"))


def test_a_finished_run_is_only_read(small_run: SmallRun) -> None:
    run = small_run("kd")
    before = {p: p.stat().st_mtime_ns for p in run.folder.rglob("*.safetensors")}
    again = small_run("kd", resume=True)
    assert again.results == run.results
    assert {p: p.stat().st_mtime_ns for p in run.folder.rglob("*.safetensors")} == before
    images = torch.randn(2, 1, 8, 8)
    expected = run.network.to(memory_format=torch.contiguous_format)(images).logits
    assert torch.equal(again.network(images).logits, expected)


def test_a_teachers_file_teaches(small_run: SmallRun) -> None:
    teacher = small_run("plain", "teacher", teacher="resnet14", set={"role": "teacher"}).folder / "teacher.safetensors"
    run = small_run("kd", teacher=teacher)
    assert [p.name for p in (run.folder / "checkpoints").iterdir()] == ["01-student.done.pt"]
    assert same(weights(run.folder, "teacher"), weights(teacher.parent, "teacher"))
    assert run.results["networks"]["teacher"]["best_val_epoch"] is None


def test_a_students_file_is_where_it_starts(small_run: SmallRun) -> None:
    student = small_run("plain", "first").folder / "student.safetensors"
    said = Said()
    run = small_run("plain", student=student, set={"checkpoint_seconds": 30, "optimizer.weight_decay": 0}, lr=1e-30)
    key = "layer3.0.conv2.weight"
    torch.testing.assert_close(weights(run.folder, "student")[key], weights(student.parent, "student")[key])
    assert not said.lines


def test_killed_and_resumed_is_straight_through(tmp_path: Path) -> None:
    """`scripts/kill_and_resume.py` does this twenty times at random; here one run is killed early, midway, and late."""
    wish: dict[str, Any] = {"teacher": "resnet8", "epochs": 4, "set": SMALL}
    straight = docendo.train("kd", **wish, out=tmp_path / "straight", progress=Said())
    command = [sys.executable, "-m", "docendo", "train", "kd", "--teacher", "resnet8", "--epochs", "4", "--resume"]
    command += ["--set", "data.train_images=200", "--set", "checkpoint_seconds=0", "--out", str(tmp_path / "killed")]
    log = tmp_path / "killed" / "log.txt"
    for epochs in (0, 3, 6):  # of eight in two phases
        process = subprocess.Popen(command, env=one_thread(), stdout=subprocess.DEVNULL)
        while not log.exists() or log.read_text().count("validation: ") < epochs:
            assert process.poll() is None
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()
    docendo.train("kd", **wish, out=tmp_path / "killed", progress=Said(), resume=True)
    assert same(weights(straight.folder, "student"), weights(tmp_path / "killed", "student"))


def test_killed_between_two_phases(small_run: SmallRun) -> None:
    straight = small_run("kd", "straight")
    with pytest.raises(Interrupted):
        small_run("kd", progress=StopAt(9))
    folder = straight.folder.parent / "run"
    (folder / "checkpoints" / "02-student.pt").unlink()
    resumed = small_run("kd", resume=True)
    assert same(weights(straight.folder, "student"), weights(resumed.folder, "student"))


def test_killed_before_anything_was_written(small_run: SmallRun, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".config.yaml.1.tmp").write_text("half a li")
    said = Said()
    straight, resumed = small_run("plain", "straight"), small_run("plain", resume=True, progress=said)
    assert same(weights(straight.folder, "student"), weights(resumed.folder, "student"))
    begins = f"nothing to resume in {tmp_path / 'run'}: this run begins there"
    assert begins in said.lines
    again = Said()
    small_run("plain", resume=True, progress=again)
    assert again.lines == [f"already finished: {tmp_path / 'run'}"]


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "method": ({"method": "kdd"}, r'unknown method "kdd"; did you mean "kd"\?'),
    "network": ({"student": "resnet9"}, r'unknown network "resnet9"'),
    "data": ({"data": "digit"}, r'digit.*did you mean "digits"\?'),
    "setting": ({"set": {"temprature": 2}}, r'unknown setting "temprature" of kd; did you mean "temperature"\?'),
    "run setting": ({"set": {"optimizer.momentun": 2}}, r'did you mean "optimizer.momentum"\?'),
    "held setting": ({"method": "sftn", "set": {"then.kdd": 2}}, r'did you mean "then.kd"\?'),
    "setting's range": ({"set": {"temperature": -1}}, r"kd: temperature is -1, but must be a number above 0"),
    "run setting's range": ({"set": {"optimizer.momentum": 2}}, r"optimizer.momentum is 2, but should be less than 1"),
    "milestones": ({"set": {"schedule.milestones": "0.75,0.5"}}, r"schedule.milestones is .* ascending fractions"),
    "epochs": ({"epochs": 0}, r"epochs is 0, but should be greater than or equal to 1"),
    "batch size": ({"batch_size": 1}, r"batch_size is 1, but should be greater than or equal to 2"),
    "lr nan": ({"lr": float("nan")}, r"lr is nan, but should be"),
    "lr negative": ({"lr": -0.1}, r"lr is -0.1, but should be greater than 0"),
    "seed": ({"seed": -1}, r"seed is -1, but should be greater than or equal to 0"),
    "devices": ({"devices": 0}, r"devices is 0, but should be greater than or equal to 1"),
    "accelerator": ({"accelerator": "abacus"}, r"this machine cannot train with accelerator=abacus"),
    "role": ({"method": "plain", "teacher": "resnet8"}, r"plain has no teacher, only: student; .* --set role=teacher"),
    "weights that are not there": ({"teacher": "no/such.pth"}, r"no/such.pth"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_wrong_input_gets_one_line_and_writes_nothing(what: str, tmp_path: Path) -> None:
    arguments, message = REFUSED[what]
    with pytest.raises(DocendoError, match=message) as error:
        docendo.train(**{"method": "kd", "epochs": 1, "out": tmp_path / "run", **arguments}, progress=Said())
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_configuration_files_are_checked(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    for text, message in {
        "epochs: 2\nepoch: 3": r'config.yaml: unknown setting "epoch"; did you mean "epochs"\?',
        "data: {nme: digits}": r'unknown setting "data.nme"; did you mean "data.name"\?',
        "method: sftn": r"config.yaml is of another method than kd",
        "- 1": r"is not a run's configuration",
        "a: [": r"is not a YAML file",
    }.items():
        config.write_text(text)
        with pytest.raises(DocendoError, match=message):
            docendo.train("kd", config=config, out=tmp_path / "run")
    with pytest.raises(DocendoError, match=r"cannot read the configuration .*nothing.yaml: No such file"):
        docendo.train("kd", config=tmp_path / "nothing.yaml", out=tmp_path / "run")


def test_a_configuration_may_name_its_method_otherwise(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("method: ctkd\nsettings: {path: 0.5}")
    assert Request("ctkd", config=config).method.path == 0.5


def test_every_run_setting_is_described() -> None:
    assert {"epochs", "optimizer.momentum", "schedule.milestones", "data.pad", "seed", "precision"} <= set(RUN_KEYS)


def test_an_out_that_is_not_ours_is_left_alone(small_run: SmallRun, tmp_path: Path) -> None:
    run = small_run("plain")
    before = {p: p.read_bytes() for p in run.folder.rglob("*") if p.is_file()}
    with pytest.raises(DocendoError, match=r"belongs to another run \(seed is 0 there, 1 here\): choose another --out"):
        small_run("plain", seed=1, resume=True)
    with pytest.raises(DocendoError, match=r"already holds this run, finished: add --resume"):
        small_run("plain")
    assert {p: p.read_bytes() for p in run.folder.rglob("*") if p.is_file()} == before
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.tex").touch()
    with pytest.raises(DocendoError, match="holds files but no run of docendo"):
        small_run("plain", "thesis")
    with pytest.raises(DocendoError, match="is a file"):
        small_run("plain", "thesis/thesis.tex")


def test_a_second_process_is_kept_out(small_run: SmallRun) -> None:
    class Meddling(Said):
        def say(self, text: str) -> None:
            if text.startswith("student"):
                with pytest.raises(DocendoError, match="another process is training in"):
                    small_run("kd", resume=True)
                self.lines.append("kept out")

        def phase(self, name: str, epochs: int, steps: int, done: int) -> None:
            self.say(name)

    meddling = Meddling()
    small_run("kd", progress=meddling)
    assert "kept out" in meddling.lines


def test_weights_that_do_not_fit_are_refused_with_both_values(small_run: SmallRun, tmp_path: Path) -> None:
    def file(name: str, classes: int, channels: int) -> Path:
        network = create("resnet8", classes=classes, channels=channels, image_size=8)
        save(network, tmp_path / name, class_names=None, mean=None, std=None, role="teacher")
        return tmp_path / name

    with pytest.raises(DocendoError, match=r"tells 7 classes apart, but digits has 10"):
        small_run("kd", teacher=file("seven.safetensors", 7, 1))
    with pytest.raises(DocendoError, match=r"reads RGB images, but digits has grey ones"):
        small_run("kd", teacher=file("rgb.safetensors", 10, 3))
    damaged = file("damaged.safetensors", 10, 1)
    damaged.write_bytes(damaged.read_bytes()[:-100])
    with pytest.raises(DocendoError, match=r"damaged"):
        small_run("kd", teacher=damaged)


def test_a_full_disk_is_one_line_and_the_run_goes_on_later(tmp_path: Path, small_run: SmallRun) -> None:
    """A limit on file sizes stands for the full disk: checkpoints no longer fit, the log still does."""
    command = [sys.executable, "-m", "docendo", "train", "plain", "--epochs", "2"]
    command += ["--set", "data.train_images=200", "--set", "checkpoint_seconds=0", "--out", str(tmp_path / "run")]
    full = subprocess.run(
        command,
        env=one_thread(),
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)),
    )
    assert full.returncode == 2
    assert "could not write" in full.stderr.splitlines()[-1]
    assert "Traceback" not in full.stderr
    assert not list((tmp_path / "run").rglob("*.tmp"))
    resumed, straight = small_run("plain", resume=True), small_run("plain", "straight")
    assert same(weights(resumed.folder, "student"), weights(straight.folder, "student"))


def test_predictions_name_classes(small_run: SmallRun, tmp_path: Path) -> None:
    from PIL import Image

    run = small_run("plain")
    Image.new("RGB", (40, 30)).save(tmp_path / "black.png")
    (prediction,) = docendo.predict(run.folder, [tmp_path / "black.png"], top=3)
    assert len(prediction.classes) == 3
    assert all(name in [str(i) for i in range(10)] for name, _ in prediction.classes)
    assert [p for _, p in prediction.classes] == sorted((p for _, p in prediction.classes), reverse=True)
    with pytest.raises(DocendoError, match=r"nothing.png"):
        docendo.predict(run.folder, [tmp_path / "nothing.png"])


def test_an_unfinished_run_says_so(small_run: SmallRun, tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        small_run("plain", progress=StopAt(2))
    with pytest.raises(DocendoError, match="is a run that has not finished: go on with it by --resume"):
        docendo.evaluate(tmp_path / "run")


def test_the_default_folder_is_named_after_the_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    run = docendo.train(KD(), epochs=1, teacher="resnet8", set={"data.train_images": 100}, progress=Said())
    assert run.folder == Path("runs/kd-digits-resnet8-resnet8-seed0")
    assert load(run.folder / "student.safetensors").spec.architecture == "resnet8"
    assert yaml.safe_load((run.folder / "config.yaml").read_text())["networks"] == {
        "teacher": "resnet8",
        "student": "resnet8",
    }
    shutil.rmtree("runs")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{bad", r"damaged \(Expecting property name"),
        ("{}", r"damaged \(there is no method\)"),
        ("[]", "no JSON object"),
    ],
)
def test_damaged_results_are_said_in_a_line_by_all_who_read_them(small_run: SmallRun, text: str, reason: str) -> None:
    run = small_run("plain", student="resnet8", epochs=1)
    results = run.folder / "results.json"
    before = results.read_text()
    results.write_text(text)
    for read in (docendo.evaluate, docendo.measure, lambda folder: docendo.predict(folder, "photo.png"), read_run):
        with pytest.raises(DocendoError, match=rf"results\.json .*{reason}"):
            read(run.folder)
    results.unlink()
    again = small_run("plain", student="resnet8", epochs=1, resume=True)  # moved away, it is made again
    assert again.results["networks"] == json.loads(before)["networks"]


def test_one_number_may_stand_for_a_list_of_one() -> None:
    sets = {"data.mean": "0.5", "data.std": "0.25", "schedule.milestones": "0.5"}
    settings = Request("plain", {}, sets).resolve(image_size=8, networks={"student": "resnet8"})
    assert (settings.data.mean, settings.data.std, settings.schedule.milestones) == ((0.5,), (0.25,), (0.5,))


def test_a_key_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("epochs: 3\nepochs: 5\n")
    with pytest.raises(DocendoError, match=r'is not a YAML file: "epochs" is there twice'):
        Request("plain", {}, {}, config)
    config.write_text("data: digits\n")
    with pytest.raises(
        DocendoError, match=r"data is 'digits', but should be keys and values of its own, such as name:"
    ):
        Request("plain", {"data.name": "digits"}, {}, config)
