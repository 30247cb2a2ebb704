"""Kill a run with `kill -9` at random moments, resume it each time, and compare it with one that was left in peace.

    python scripts/kill_and_resume.py --kills 20

Every kill is a run of its own: begun, killed after a random part of the time that an undisturbed run takes (the first
third is Python's start; then before the first checkpoint, in the middle of a phase, between two phases, while results
are written), resumed, and compared bit for bit.
"""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

COMMAND = ["train", "sftn", "--data", "digits", "--teacher", "resnet14", "--student", "resnet8", "--epochs", "8"]
COMMAND += ["--seed", "0", "--set", "data.train_images=400", "--set", "checkpoint_seconds=0"]


def docendo(out: Path, *more: str) -> subprocess.Popen[bytes]:
    """Start the run in a folder."""
    command = [sys.executable, "-m", "docendo", *COMMAND, "--out", str(out), *more]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def finish(out: Path, *more: str) -> None:
    """Run to the end."""
    process = docendo(out, *more)
    _, errors = process.communicate()
    if process.returncode:
        raise SystemExit(f"the run in {out} failed:\n{errors.decode()}")


def weights(out: Path) -> dict[str, bytes]:
    """Give the bytes of every weights file of a run."""
    return {path.name: path.read_bytes() for path in sorted(out.glob("*.safetensors"))}


def main() -> None:
    """Kill, resume, compare."""
    parser = argparse.ArgumentParser(description="kill -9 a run at random moments, resume it, compare the weights")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    moments = random.Random(arguments.seed)
    folder = Path(tempfile.mkdtemp(prefix="docendo-kill-"))
    began = time.monotonic()
    finish(folder / "straight")
    length = time.monotonic() - began
    expected = weights(folder / "straight")
    if set(expected) != {"student.safetensors", "teacher.safetensors"}:
        raise SystemExit(f"expected the weights of student and teacher, found {', '.join(expected)}")
    different = 0
    for kill in range(1, arguments.kills + 1):
        out, delay = folder / f"killed-{kill}", moments.uniform(0.3, 1.0) * length
        process = docendo(out)
        time.sleep(delay)
        process.kill()
        process.communicate()
        checkpoints = sorted(p.name for p in (out / "checkpoints").glob("*.pt")) if out.exists() else []
        finish(out, "--resume")
        same = weights(out) == expected
        different += not same
        found = ", ".join(checkpoints) or ("no checkpoint" if out.exists() else "no folder")
        print(
            f"kill {kill:2d} after {delay:5.2f} s of {length:.2f}: {found}: {'identical' if same else 'DIFFERENT'}",
            flush=True,
        )
    shutil.rmtree(folder)
    print(f"{arguments.kills - different} of {arguments.kills} resumed runs have bit-identical weights")
    raise SystemExit(different > 0)


if __name__ == "__main__":
    main()
