"""The tools that a run can log to. Each package is imported when its log begins."""

from __future__ import annotations

import hashlib
import importlib
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from docendo.engine.progress import Silent

Values = Mapping[str, float]

PROJECT = "docendo"
"""What runs are kept under."""


class Log(Protocol):
    """A log of one run, which is also told how it goes (`docendo.engine.progress.Progress`)."""

    def say(self, text: str) -> None:
        """See `Progress`."""

    def phase(self, name: str, epochs: int, steps: int, done: int) -> None:
        """See `Progress`."""

    def step(self, epoch: int, step: int, images: int, losses: Callable[[], Mapping[str, float]]) -> None:
        """See `Progress`."""

    def epoch(self, row: Mapping[str, Any]) -> None:
        """See `Progress`."""

    def values(self, values: Values, epoch: int | None) -> None:
        """Log numbers by name, of an epoch, or of the whole run."""

    def close(self, well: bool) -> None:
        """End it; `well` if the run came to its end."""


class _Epochs(Silent, ABC):
    """Logs each row of metrics as it comes."""

    def epoch(self, row: Mapping[str, Any]) -> None:
        """Log the row, under the name of its phase."""
        numbers = {k: float(v) for k, v in row.items() if k not in ("phase", "epoch") and v is not None}
        self.values({tag(f"{row['phase']}/{name}"): value for name, value in numbers.items()}, int(row["epoch"]))

    @abstractmethod
    def values(self, values: Values, epoch: int | None) -> None:
        """Log numbers by name."""


class Tensorboard(_Epochs):
    """TensorBoard's files, in `tensorboard` in the run folder."""

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(str(folder / "tensorboard"))
        self._writer.add_text("settings", "\n".join(f"    {key}: {value}" for key, value in flat(settings)))

    def values(self, values: Values, epoch: int | None) -> None:
        """Log numbers by name."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, epoch)

    def close(self, well: bool) -> None:
        """Write what is left."""
        self._writer.close()


class Wandb(_Epochs):
    """Weights & Biases; a run that goes on is the same run there, by its folder."""

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self._wandb = importlib.import_module("wandb")
        name, config = folder.name, dict(settings)
        self._run = self._wandb.init(
            project=PROJECT, name=name, id=identity(folder), dir=str(folder), config=config, resume="allow"
        )

    def values(self, values: Values, epoch: int | None) -> None:
        """Log numbers by name; those of the whole run go to its summary."""
        if epoch is None:
            self._run.summary.update(dict(values))
        else:
            self._run.log({**values, "epoch": epoch})

    def close(self, well: bool) -> None:
        """Say how it ended."""
        self._run.finish(exit_code=0 if well else 1)


class Trackio(_Epochs):
    """Trackio; a run that goes on is the same run there, by its folder."""

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self._trackio = importlib.import_module("trackio")
        name = f"{folder.name}-{identity(folder)[:6]}"
        self._trackio.init(project=PROJECT, name=name, config=dict(settings), resume="allow")

    def values(self, values: Values, epoch: int | None) -> None:
        """Log numbers by name."""
        self._trackio.log({**values, **({} if epoch is None else {"epoch": epoch})})

    def close(self, well: bool) -> None:
        """Send what is left."""
        self._trackio.finish()


class MLflow(_Epochs):
    """MLflow, where its own settings say; a run that goes on is the same run there, whose id the run folder keeps."""

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self._mlflow = importlib.import_module("mlflow")
        kept = folder / "mlflow-run-id.txt"
        self._mlflow.set_experiment(PROJECT)
        if kept.is_file():
            self._mlflow.start_run(run_id=kept.read_text().strip())
            return
        run = self._mlflow.start_run(run_name=folder.name)
        self._mlflow.log_params({tag(key): str(value) for key, value in flat(settings)})
        kept.write_text(run.info.run_id + "\n")

    def values(self, values: Values, epoch: int | None) -> None:
        """Log numbers by name."""
        self._mlflow.log_metrics(dict(values), step=epoch)

    def close(self, well: bool) -> None:
        """Say how it ended."""
        self._mlflow.end_run("FINISHED" if well else "FAILED")


LOGS: Mapping[str, Callable[[Path, Mapping[str, Any]], Log]] = {
    "tensorboard": Tensorboard,
    "wandb": Wandb,
    "mlflow": MLflow,
    "trackio": Trackio,
}
"""By the name of their package."""


def tag(name: str) -> str:
    """Write the name of a number so that every tool takes it.

    >>> tag("student/loss/student<teacher:kd"), tag("generation 0/val_top1/student")
    ('student/loss/student_from_teacher_kd', 'generation_0/val_top1/student')
    """
    return re.sub(r"[^\w./-]", "_", name.replace("<", "_from_"))


def flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Give settings by dotted key.

    >>> list(flat({"epochs": 3, "data": {"name": "digits"}}))
    [('epochs', 3), ('data.name', 'digits')]
    """
    for key, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def identity(folder: Path) -> str:
    """Give what tells a run's folder from others on this machine, the same whenever it is asked."""
    return hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
