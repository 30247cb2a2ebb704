"""One run on several processes: how they are started, what each one reads, and how they agree."""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning_fabric.strategies.launchers.multiprocessing import _MultiProcessingLauncher
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from docendo.core import LossTerm
from docendo.engine.settings import TrainSettings
from docendo.errors import DocendoError, Interrupted


class Launcher(NamedTuple):
    """What has started the processes of a run before docendo began.

    Attributes:
        name: what people call it.
        processes: how many there are in all.
        here: how many of them are on each machine.
        environment: how Fabric finds its place among them.
        option: how to ask it for another number.
    """

    name: str
    processes: int
    here: int
    environment: type[ClusterEnvironment]
    option: str


class SlurmStep(SLURMEnvironment):
    """The tasks that `srun` started, whatever its options; Fabric's own class takes no `-n`, nor parts of a job."""

    @property
    def main_address(self) -> str:
        """The machine of the first task."""
        return os.environ.get("MASTER_ADDR") or self.resolve_root_node_address(os.environ["SLURM_STEP_NODELIST"])

    @staticmethod
    def _validate_srun_used() -> None:
        pass

    @staticmethod
    def _validate_srun_variables() -> None:
        pass


def make_fabric(settings: TrainSettings) -> Fabric:
    """Choose how the processes of a run are started; they are started by `Fabric.launch`.

    Under torchrun or srun the processes are there already, and their number is taken from the environment. Else new
    ones are spawned; in a notebook, where a spawned process cannot find what was typed, they are forked.

    Raises:
        DocendoError: if the settings ask for other numbers than the launcher started, or for devices that are not
            there.
    """
    devices, nodes, strategy = settings.devices, settings.nodes, settings.strategy
    launcher = _launcher(os.environ)
    if launcher is not None:
        nodes = launcher.processes // launcher.here
        for setting, asked, there in (("devices", settings.devices, launcher.here), ("nodes", settings.nodes, nodes)):
            if asked not in (1, there):
                raise DocendoError(
                    f"{setting}={asked}, but {launcher.name} started {launcher.here} processes on {nodes} machines: "
                    f"leave devices and nodes out, or start as many by {launcher.option}"
                )
        devices = launcher.here
    elif nodes > 1 and "MASTER_ADDR" not in os.environ:
        raise DocendoError(f"nodes={nodes}, but nothing started a process on each machine: use torchrun or srun")
    if strategy == "auto" and devices * nodes > 1:
        interactive = hasattr(sys, "ps1") or "ipykernel" in sys.modules
        strategy = "ddp" if launcher or nodes > 1 else "ddp_notebook" if interactive else "ddp_spawn"
    if settings.batch_size < devices * nodes:
        raise DocendoError(
            f"a batch of {settings.batch_size} images leaves none for some of {devices * nodes} processes: give a "
            f"batch size of at least {devices * nodes}"
        )
    on_a_cpu = not torch.accelerator.is_available() if settings.accelerator == "auto" else settings.accelerator == "cpu"
    if settings.precision == "16-mixed" and on_a_cpu:
        raise DocendoError("precision 16-mixed needs a GPU: choose bf16-mixed or 32-true on a cpu")
    try:
        return Fabric(
            accelerator=settings.accelerator,
            devices=devices,
            num_nodes=nodes,
            strategy=strategy,
            precision=settings.precision,
            # Named, as Fabric would take every process of a SLURM job for one that srun started.
            plugins=[launcher.environment() if launcher else LightningEnvironment()],
        )
    except Exception as error:  # Fabric refuses impossible wishes with errors of many kinds
        wish = f"accelerator={settings.accelerator}, devices={devices}, strategy={strategy}, {settings.precision}"
        raise DocendoError(f"this machine cannot train with {wish}: {' '.join(str(error).split())}") from error


def _launcher(environment: Mapping[str, str]) -> Launcher | None:
    """Say what has started this process together with others, if anything has."""
    if "TORCHELASTIC_RUN_ID" in environment:
        total, here = int(environment["WORLD_SIZE"]), int(environment["LOCAL_WORLD_SIZE"])
        launcher = Launcher("torchrun", total, here, TorchElasticEnvironment, "torchrun --nnodes, --nproc-per-node")
    elif "SLURM_STEP_ID" in environment:  # set by srun only: the other variables also stand in a batch script
        total, spread = int(environment["SLURM_STEP_NUM_TASKS"]), environment["SLURM_STEP_TASKS_PER_NODE"]
        each = re.fullmatch(r"(\d+)(?:\(x\d+\))?", spread)
        if each is None:
            raise DocendoError(
                f"SLURM spread {total} tasks over its machines as {spread}, but each must have as many: "
                "use srun --nodes and --ntasks-per-node"
            )
        launcher = Launcher("srun", total, int(each[1]), SlurmStep, "srun --nodes, --ntasks-per-node")
    else:
        return None
    return launcher if launcher.processes > 1 else None


def launch(fabric: Fabric, function: Callable[..., Any], *args: Any) -> Any:
    """Run `function(fabric, *args)` in every process of the fabric and give what the first one returned.

    Mistakes that the user can put right, and wishes to stop, come out as they would from one process.

    Args:
        fabric: from `make_fabric`.
        function: what each process does; must be importable where processes are spawned.
        args: plain or picklable arguments.
    """
    if not isinstance(fabric.strategy.launcher, _MultiProcessingLauncher):
        caught: Any = _caught
        returned, error = fabric.launch(caught, function, *args)
        if error is not None:
            raise error
        return returned
    with tempfile.TemporaryDirectory() as folder, _waiting():
        note = Path(folder) / "error"
        try:
            work: Any = _noted
            returned, stopped = fabric.launch(work, note, function, *args)
        except Exception as error:  # the exception of a spawned process comes as a page of text
            if note.exists():
                raise DocendoError(note.read_text()) from error
            raise
    if stopped is not None:
        raise stopped
    return returned


def _caught(fabric: Fabric, function: Callable[..., Any], *args: Any) -> tuple[Any, BaseException | None]:
    """Give an exception back instead of raising it: `Fabric.launch` would leave `DataLoader` wrapped once more."""
    try:
        return function(fabric, *args), None
    except BaseException as error:
        return None, error


def _noted(fabric: Fabric, note: Path, function: Callable[..., Any], *args: Any) -> tuple[Any, Interrupted | None]:
    try:
        return function(fabric, *args), None
    except DocendoError as error:
        if not note.exists():
            note.write_text(str(error))
        raise
    except Interrupted as error:
        return None, error
    except KeyboardInterrupt:
        return None, Interrupted("stopped before training began", 130)


@contextmanager
def _waiting() -> Iterator[None]:
    """Let the spawned processes be the ones that stop: they save, this one waits for them."""

    def forward(number: int, frame: Any) -> None:
        for child in multiprocessing.active_children():
            child.terminate()

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, lambda number, frame: None), signal.signal(signal.SIGTERM, forward)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before[0])
        signal.signal(signal.SIGTERM, before[1])


def scaled(terms: tuple[LossTerm, ...], here: int, everywhere: int, processes: int) -> tuple[LossTerm, ...]:
    """Scale the terms of a process so that the mean over processes is the loss of the whole batch.

    Args:
        terms: the loss terms of this process's part of the batch.
        here: images in that part.
        everywhere: images in the whole batch.
        processes: how many share it.
    """
    if processes == 1:
        return terms
    factor = {"mean": processes * here / everywhere, "sum": float(processes), "whole": 1.0}
    return tuple(term._replace(value=term.value * factor[term.over_batch]) for term in terms)


def gathered(here: int, everywhere: int, x: Tensor) -> Tensor:
    """Give the rows of all processes' parts of a batch, in its order; gradients flow back to each (`whole_batch`).

    Args:
        here: images in this process's part, which is every n-th of the batch.
        everywhere: images in the whole batch.
        x: (here * k, ...), k rows for each image.
    """
    of_images = x.reshape(here, -1, *x.shape[1:])
    rows = of_images.new_zeros(everywhere, *of_images.shape[1:])
    rows[dist.get_rank() :: dist.get_world_size()] = of_images
    total: Tensor = _SumOfAll.apply(rows)
    return total.flatten(0, 1)


class SynchronisedBatchNorm(TorchFunctionMode):
    """While entered, every BatchNorm in training takes its statistics over all processes; gradients flow through.

    It stands in for `torch.nn.functional.batch_norm`, so it serves every kind of BatchNorm layer on any device without
    touching a module: keys and classes stay as they are. Parts of different size are weighted by their size.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Replace batch_norm in training; pass everything else on."""
        if func is F.batch_norm:
            return _batch_norm(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _of_every_process(x: Tensor) -> Tensor:
    """Stack a vector of every process, (processes, N); gradients flow back to each."""
    rows = x.new_zeros(dist.get_world_size(), len(x))
    mine = torch.zeros_like(rows)
    mine[dist.get_rank()] = 1
    total: Tensor = _SumOfAll.apply(rows + mine * x)
    return total


class _SumOfAll(torch.autograd.Function):
    """The sum of a tensor over processes; its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].contiguous().clone()
        dist.all_reduce(total)
        return total


def _batch_norm(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    if not training:
        return F.batch_norm(x, running_mean, running_var, weight, bias, training, momentum, eps)
    wide = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
    over = [0, *range(2, x.ndim)]
    shape = [1, -1, *[1] * (x.ndim - 2)]
    channels = x.shape[1]
    mean_here = wide.mean(over)
    spread_here = (wide - mean_here.view(shape)).square().sum(over)
    size_here = wide.new_tensor([x.numel() / channels])
    # One exchange, then the parts are put together in the stable way of Chan, Golub and LeVeque (1979).
    parts = _of_every_process(torch.cat([mean_here, spread_here, size_here]))
    means, spreads, sizes = parts[:, :channels], parts[:, channels:-1], parts[:, -1:]
    count = sizes.sum()
    mean = (means * sizes).sum(0) / count
    centred = wide - mean.view(shape)
    variance = (spreads + sizes * (means - mean).square()).sum(0) / count
    if running_mean is not None and running_var is not None:
        with torch.no_grad():
            unbiased = variance * count / (count - 1)
            running_mean.lerp_(mean.to(running_mean.dtype), momentum)
            running_var.lerp_(unbiased.to(running_var.dtype), momentum)
    y = centred * torch.rsqrt(variance + eps).view(shape)
    if weight is not None:
        y = y * weight.view(shape)
    if bias is not None:
        y = y + bias.view(shape)
    return y.to(dtype=x.dtype)


def agree(fabric: Fabric, *flags: bool) -> tuple[bool, ...]:
    """Give, for each flag, whether any process has raised it; every process gets the same answer."""
    if fabric.world_size == 1:
        return flags
    raised = torch.tensor(flags, dtype=torch.int32, device=fabric.device)
    dist.all_reduce(raised, op=dist.ReduceOp.MAX)
    return tuple(bool(flag) for flag in raised.tolist())


def summed(fabric: Fabric, values: Tensor) -> Tensor:
    """Give the sum of a tensor over processes."""
    if fabric.world_size == 1:
        return values
    values = values.clone()
    dist.all_reduce(values)
    return values


def average(fabric: Fabric, values: Tensor) -> Tensor:
    """Give the mean of a tensor over processes."""
    return summed(fabric, values) / fabric.world_size


def first_checks(fabric: Fabric, check: Callable[[], None]) -> None:
    """Let the first process check something, and every process refuse what it refuses: none waits for the others.

    Raises:
        DocendoError: in every process, with what the first one's check raised.
    """
    refused = None
    if fabric.is_global_zero:
        try:
            check()
        except DocendoError as error:
            refused = str(error)
    refused = everyones(fabric, refused)[0]
    if refused is not None:
        raise DocendoError(refused)


def everyones(fabric: Fabric, mine: Any) -> list[Any]:
    """Give a plain value of every process, in the order of their ranks."""
    if fabric.world_size == 1:
        return [mine]
    gathered: list[Any] = [None] * fabric.world_size
    dist.all_gather_object(gathered, mine)
    return gathered
