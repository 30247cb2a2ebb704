"""What is wrong in one line, and the exit code."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import docendo
from docendo.cli.errors import guarded
from docendo.errors import DocendoError, Interrupted
from tests.cli.conftest import call

WRONG = {
    "trian kd": 'unknown command "trian"; did you mean "train"?',
    "--hepl": 'unknown option "--hepl"; did you mean "--help"?',
    "train": "train needs a METHOD: plain, kd, teskd",
    "train kdd": 'unknown method "kdd"; did you mean "kd"?',
    "train kdd --help": 'unknown method "kdd"; did you mean "kd"?',
    "explain": "explain needs a METHOD: plain, kd, teskd",
    "explain sftm": 'unknown method "sftm"; did you mean "sftn"?',
    "train kd --epoch 3": 'train has no option --epoch; did you mean "--epochs"?',
    "train kd -x": "train has no option -x; known: --teacher, --student, --expert",
    "train kd more": 'train does not know what to do with "more"; see docendo train --help',
    "train kd --epochs": "--epochs needs a value after it",
    "train kd --epochs 1 --epochs 2": "--epochs is given twice: give it once",
    "train kd --epochs ten": '--epochs is "ten", but must be a whole number',
    "train kd --epochs 1.5": '--epochs is "1.5", but must be a whole number',
    "train kd --epochs 0": "epochs is 0, but should be greater than or equal to 1",
    "train kd --lr nan": "lr is nan, but should be a finite number",
    "train kd --lr quick": '--lr is "quick", but must be a number',
    "train kd --batch-size 1": "batch_size is 1, but should be greater than or equal to 2",
    "train kd --seed -1": "seed is -1, but should be greater than or equal to 0",
    "train kd --accelerator tpu": '--accelerator is "tpu", but must be auto or cpu or cuda or mps',
    "train kd --precision 16": "precision is '16', but should be '32-true'",
    "train kd --seeds 0,x": '--seeds is "0,x", but must be different whole numbers of at least 0, such as 0,1,2',
    "train kd --seed 1 --seeds 0,1": "--seed and --seeds are both given: give one of them",
    "train kd --set kd": '--set is "kd", but must be KEY=VALUE, such as --set optimizer.momentum=0.95',
    "train kd --set kd=1 --set kd=2": "--set kd is given twice: give it once",
    "train kd --set temprature=1": 'unknown setting "temprature" of kd; did you mean "temperature"?',
    "train kd --set temperature=0": "kd: temperature is '0', but must be a number above 0",
    "train kd --set optimizer.momentum=2": "optimizer.momentum is 2, but should be less than 1",
    "train kd --set lr={": "lr is '{', but should be a valid number",
    "train kd --lr 0.2 --set lr=0.1": "lr is 0.2 and, by --set, 0.1: give one of them",
    "train kd --seeds 0,1 --set seed=3": "seed is 0 and, by --set, 3: give one of them",
    "train kd --data=": "data is empty: name a data set, or a path to images",
    "train kd --data digts": 'no data set is called "digts"',
    "train kd --teacher resnet2": 'unknown network "resnet2"',
    "train kd --config none.yaml": "cannot read the configuration none.yaml: No such file or directory",
    "train plain --teacher resnet20": "plain has no teacher, only: student",
    "compare plain kd --set lr={": "lr is '{', but should be a valid number",
    "compare plain plain --data digits": "plain is there twice with the same settings: name it once",
    "tune kd --search lr={,1": "lr is '{', but should be a valid number",
    "evaluate": "evaluate needs WEIGHTS|RUN; see docendo evaluate --help",
    "evaluate none": "cannot read the weights file none: No such file or directory",
    "evaluate . --split tset": '--split is "tset", but must be test or val or train',
    "predict none": "predict needs an IMAGE too, such as: docendo predict none photo.jpg",
    "predict none a.png --top 0": "top is 0: ask for at least 1 class",
    "predict none a.png --top few": '--top is "few", but must be a whole number',
    "list": "list needs a KIND: methods, networks, data, losses",
    "list netwoks": 'there is no list of "netwoks"; did you mean "networks"?',
    "demo --seeds 0,x": '--seeds is "0,x", but must be different whole numbers of at least 0, such as 0,1,2',
    "demo --seeds 1,1": '--seeds is "1,1", but must be different whole numbers of at least 0, such as 0,1,2',
    "demo --epochs 0": "epochs is 0, but should be greater than or equal to 1",
}


@pytest.mark.parametrize("line", WRONG)
def test_wrong_input_is_one_line_and_code_2(line: str, tmp_path: Path) -> None:
    said = call(*line.split())
    assert said.code == 2
    assert said.err.startswith(f"docendo: {WRONG[line]}")
    assert said.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def raising(error: BaseException) -> Callable[[], None]:
    def command() -> None:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (DocendoError("two\n  lines"), 2, "two lines"),
        (Interrupted("stopped by SIGTERM; go on", 143), 143, "stopped by SIGTERM; go on"),
        (KeyboardInterrupt(), 130, "stopped by Ctrl-C"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "x/y.pt"), 2, "x/y.pt: No space left on device; free some"),
        (PermissionError(errno.EACCES, os.strerror(errno.EACCES), "x"), 2, "x: Permission denied"),
        (TimeoutError("timed out"), 2, "timed out"),
    ],
)
def test_exit_codes(error: BaseException, code: int, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert guarded(raising(error)) == code
    said = capsys.readouterr()
    assert said.err.startswith(f"docendo: {line}")
    assert said.err.count("\n") == 1


def test_the_unexpected_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        guarded(lambda: 1 / 0)


def test_an_interrupted_run_ends_with_its_own_code(monkeypatch: pytest.MonkeyPatch) -> None:
    def train(*words: object, **options: object) -> None:
        raise Interrupted("stopped; go on with: docendo train kd --resume", 143)

    monkeypatch.setattr(docendo, "train", train, raising=False)
    assert call("train", "kd") == (143, "", "docendo: stopped; go on with: docendo train kd --resume\n")


def test_a_closed_pipe_is_no_news() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "docendo", "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 141
