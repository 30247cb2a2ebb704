"""How long a network takes for a batch, and how much energy, on this machine."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from docendo.errors import DocendoError
from docendo.metrics.asking import asking


class Latency(NamedTuple):
    """How long a batch takes, in milliseconds.

    Attributes:
        median: half of the batches took longer.
        lower: first quartile.
        upper: third quartile.
        images: of a batch.
        batches: how many were timed.
        device: what computed.
        threads: with how many threads of the CPU.
    """

    median: float
    lower: float
    upper: float
    images: int
    batches: int
    device: str
    threads: int


class Energy(NamedTuple):
    """What a GPU drew while it computed, all that it draws when idle included.

    Attributes:
        joules: for an image.
        watts: mean power.
        seconds: for how long it was measured.
        images: how many were computed in that time.
    """

    joules: float
    watts: float
    seconds: float
    images: int


def latency(network: nn.Module, images: Tensor, *, batches: int = 50, warm_up: int = 10) -> Latency:
    """Time a network in evaluation on one batch again and again, from images on its device to its whole output there.

    Whatever else the machine does, and the threads that PyTorch is set to use, go into it: nothing is changed here.

    Args:
        network: any module, in the form in which it is to be used.
        images: (B, C, H, W), on the network's device.
        batches: how many to time, 2 or more.
        warm_up: how many to compute before, which are not timed.

    Raises:
        DocendoError: if there are fewer than 2 batches to time.
    """
    if batches < 2:
        raise DocendoError(f"quartiles of {batches} timed batches are not defined: give batches=2 or more, 50 is usual")
    milliseconds = []
    with asking(network) as ask:
        for _ in range(warm_up):
            ask(images)
        for _ in range(batches):
            _wait(images.device)
            start = time.perf_counter()
            ask(images)
            _wait(images.device)
            milliseconds.append(1000 * (time.perf_counter() - start))
    lower, median, upper = statistics.quantiles(milliseconds, n=4, method="inclusive")
    return Latency(median, lower, upper, len(images), batches, _name(images.device), torch.get_num_threads())


def energy(network: nn.Module, images: Tensor, *, seconds: float = 3.0) -> Energy | None:
    """Measure what the device draws while a network computes one batch again and again.

    The power is what the GPU's own sensor gives (`torch.cuda.power_draw`, by NVML: `nvidia-ml-py` must be installed), a
    mean over its last moments, read after each batch. A first second is not counted, so that these are all busy ones.

    Args:
        network: any module.
        images: (B, C, H, W), on the network's device.
        seconds: for how long to measure, above 0.

    Returns:
        What was measured; None where the device does not report its power: a CPU, a GPU without NVML or a sensor.

    Raises:
        DocendoError: if there is no time to measure.
    """
    if seconds <= 0:
        raise DocendoError(f"energy cannot be measured in {seconds} seconds: give seconds above 0, such as 3")
    watts = _sensor(images.device)
    if watts is None:
        return None
    with asking(network) as ask:
        _readings(ask, images, watts, 1.0)
        start = time.perf_counter()
        readings = _readings(ask, images, watts, seconds)
        took = time.perf_counter() - start
    power, computed = statistics.fmean(readings), len(readings) * len(images)
    return Energy(power * took / computed, power, took, computed)


def _readings(
    ask: Callable[[Tensor], object], images: Tensor, watts: Callable[[], float], seconds: float
) -> list[float]:
    end = time.perf_counter() + seconds
    readings: list[float] = []
    while not readings or time.perf_counter() < end:
        ask(images)
        _wait(images.device)
        readings.append(watts())
    return readings


def _sensor(device: torch.device) -> Callable[[], float] | None:
    if device.type != "cuda":
        return None

    def watts() -> float:
        return torch.cuda.power_draw(device) / 1000

    try:
        watts()
    except Exception:  # no NVML, no sensor, no right to read it: each fails in its own way, and says the same
        return None
    return watts


def _wait(device: torch.device) -> None:
    """Wait until the device has done all it was asked for, as only CPUs answer when they are done."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
