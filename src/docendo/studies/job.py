"""One run of a study, and how it is done."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from docendo.engine.progress import Progress
from docendo.errors import DocendoError
from docendo.recipes.measure import measure
from docendo.recipes.run import train
from docendo.recipes.settings import Request, RunSettings


@dataclass(frozen=True)
class Job:
    """One run.

    Attributes:
        name: its folder within the study's: "runs/kd-seed0", "teachers/teacher-seed0".
        label: what it has in common with the same for other seeds.
        method: the name of the method that is run.
        networks: network names or weights files by role; files of the study itself start with its folder.
        settings: what `docendo.train` takes as `set`, its epochs among them.
        seed: the run's seed.
        epochs: how many it takes over all phases.
        needs: names of the jobs whose weights it reads.
    """

    name: str
    label: str
    method: str
    networks: Mapping[str, str]
    settings: Mapping[str, Any]
    seed: int
    epochs: int
    needs: tuple[str, ...] = ()

    @property
    def compared(self) -> bool:
        """Whether it belongs to a cell, and is not a teacher that serves several."""
        return self.name.startswith("runs/")

    @property
    def config(self) -> RunSettings:
        """The settings that its folder holds."""
        flags = {"seed": self.seed, **{f"networks.{role}": network for role, network in self.networks.items()}}
        # With networks and epochs given, nothing depends on the images.
        return Request(self.method, flags, self.settings).resolve(image_size=0, networks=self.networks)


def run_job(job: Job, folder: Path, progress: Progress, *, test: bool = True) -> str | None:
    """Do one run, or go on with it, and measure it; whatever goes wrong with it is its own affair.

    Args:
        job: which.
        folder: the study's.
        progress: is told what happens.
        test: whether to look at the test images at its end.

    Returns:
        None if it finished, else why it failed, in one line; its log.txt has the rest.

    Raises:
        Interrupted: Ctrl-C or SIGTERM, after saving.
        KeyboardInterrupt: Ctrl-C where there was nothing to save.
    """
    out = folder / job.name
    networks: dict[str, Any] = dict(job.networks)
    try:
        train(
            job.method,
            **networks,
            set=job.settings,
            seed=job.seed,
            out=out,
            resume=True,
            progress=progress,
            test=test,
        )
    except Exception as error:  # a method of the user's own, or a device, may fail in any way
        return failure_of(error, out)
    if job.compared:
        measure_job(job, folder, progress)
    return None


def measure_job(job: Job, folder: Path, progress: Progress) -> None:
    """Measure a finished run beyond its accuracy, for the report; a run stands without, too."""
    try:
        measure(folder / job.name)
    except Exception as error:  # such as memory that runs out; the run itself is done
        progress.say(f"warning: not measured: {error or type(error).__name__}")


def failure_of(error: Exception, out: Path) -> str:
    """Say in one line why a run failed; what is no message for its user goes to the run's log with all else.

    Args:
        error: which is being handled.
        out: the run's folder.
    """
    if isinstance(error, DocendoError):
        return _one_line(error)
    with contextlib.suppress(OSError), (out / "log.txt").open("a", encoding="utf-8") as log:
        log.write(traceback.format_exc())
    return _one_line(f"{type(error).__name__}: {error}")


def _one_line(error: object) -> str:
    return " ".join(str(error).split())
