"""How long a batch takes, and what the device draws meanwhile."""

import time

import pytest
import torch
from torch import Tensor, nn

from docendo.core import Output
from docendo.errors import DocendoError
from docendo.metrics import cost, energy, latency

IMAGES = torch.zeros(4, 1, 2, 2)


class Slow(nn.Module):
    """Takes so many milliseconds, the first few times longer."""

    def __init__(self, milliseconds: float, *first: float) -> None:
        super().__init__()
        self.left, self.milliseconds = list(first), milliseconds
        self.weight = nn.Parameter(torch.zeros(1))
        self.asked = 0

    def forward(self, images: Tensor) -> Output:
        assert not self.training
        self.asked += 1
        time.sleep((self.left.pop(0) if self.left else self.milliseconds) / 1000)
        return Output(images.flatten(1), images, ())


def test_latency_is_that_of_the_network_after_warming_up() -> None:
    network = Slow(4, 60, 60).train()
    found = latency(network, IMAGES, batches=9, warm_up=2)
    assert 4 <= found.lower <= found.median <= found.upper
    assert found.median < 40
    assert (found.images, found.batches, found.device, found.threads) == (4, 9, "cpu", torch.get_num_threads())
    assert network.asked == 11
    assert network.training
    with pytest.raises(DocendoError, match="quartiles of 1 timed batches are not defined"):
        latency(network, IMAGES, batches=1)


def test_quartiles(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter([0, 0.005, 0, 0.001, 0, 0.003, 0, 0.002, 0, 0.004])
    monkeypatch.setattr(time, "perf_counter", lambda: next(ticks))
    found = latency(Slow(0), IMAGES, batches=5, warm_up=0)
    assert found[:3] == pytest.approx((3, 2, 4))


def test_a_device_that_does_not_report_its_power_gives_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert energy(Slow(0), IMAGES) is None

    def no_sensor(device: torch.device) -> int:
        raise RuntimeError("Not Supported")

    monkeypatch.setattr(torch.cuda, "power_draw", no_sensor)
    assert cost._sensor(torch.device("cuda")) is None


def test_energy_is_power_times_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "power_draw", lambda device: 50_000)
    watts = cost._sensor(torch.device("cuda"))
    assert watts is not None
    assert watts() == 50
    readings = iter([1000.0, 40.0, 60.0, 50.0])
    monkeypatch.setattr(cost, "_sensor", lambda device: lambda: next(readings))
    ticks = iter([0.0, 2.0, 2.0, 2.0, 2.5, 3.5, 9.0, 9.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(ticks))
    found = energy(Slow(0), IMAGES, seconds=3)
    assert found is not None
    # A first second warms up; three batches of four images follow, in seven seconds at 50 watts.
    assert (found.watts, found.seconds, found.images) == (50, 7, 12)
    assert found.joules == pytest.approx(50 * 7 / 12)
    with pytest.raises(DocendoError, match="cannot be measured in 0 seconds"):
        energy(Slow(0), IMAGES, seconds=0)
