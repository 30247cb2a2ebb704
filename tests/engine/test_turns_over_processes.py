"""Turns, and statistics that drift, are those of one process on two."""

from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric

from docendo.engine.processes import launch, make_fabric
from docendo.engine.progress import Silent
from docendo.methods import DML, SOKD
from docendo.recipes.run import _run
from docendo.recipes.settings import Request
from tests.conftest import weights

METHODS = {"turns": DML(updates="alternating"), "drift": SOKD(frozen_statistics="batch")}


def request(method: DML | SOKD, processes: int) -> Request:
    networks = {f"networks.{role}": "resnet8" for role in method.roles}
    machine = {"accelerator": "cpu", "devices": processes, "precision": "64-true"}
    # The last batch of an epoch, of 8 images, is shared as well.
    return Request(method, {**machine, **networks, "data.train_images": 72, "epochs": 3, "lr": 0.02})


def train_all(fabric: Fabric, folder: Path) -> None:
    torch.set_num_threads(1)
    for name, method in METHODS.items():
        _run(fabric, request(method, fabric.world_size), folder / f"{name}-{fabric.world_size}", False, Silent())


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("processes")
    for processes in (1, 2):
        launch(make_fabric(request(METHODS["turns"], processes).machine), train_all, folder)
    return folder


@pytest.mark.parametrize(
    ("name", "roles"), [("turns", ("student", "peer")), ("drift", ("student", "evolved_teacher", "teacher"))]
)
def test_two_processes_give_the_weights_of_one(name: str, roles: tuple[str, ...], trained: Path) -> None:
    for role in roles:
        one, two = (weights(trained / f"{name}-{processes}", role) for processes in (1, 2))
        for key, tensor in one.items():  # stored in float32, so that they agree but for the last bit
            torch.testing.assert_close(two[key], tensor, rtol=1e-6, atol=1e-9)
