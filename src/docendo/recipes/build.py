"""Networks for roles, seeded by role."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from docendo.core import Build, Method, Train
from docendo.data import Adaptation, DataSet, Expectation
from docendo.data.seeds import seed_for
from docendo.errors import DocendoError
from docendo.networks import StagedNetwork, create
from docendo.networks.catalog import PRETRAINED, canonical, is_foreign
from docendo.networks.weights import read
from docendo.recipes.settings import RunSettings, names_weights


def default_networks(data: DataSet) -> dict[str, str]:
    """Give the network of each role where the user names none, by data set."""
    if data.name == "digits":
        teacher, student = "resnet20", "resnet8"
    elif data.image_size <= 64:
        teacher, student = "wrn_40_2", "wrn_16_2"
    else:
        teacher, student = "resnet34", "resnet18"
    return {"teacher": teacher, "student": student, **dict.fromkeys(("expert", "scratch", "peer"), teacher)}


def led(method: Method, train: Train, build: Build) -> Mapping[str, StagedNetwork]:
    """Lead a method through its phases; gives the networks to deploy by role, the one to deploy first.

    Raises:
        DocendoError: it gives something else.
    """
    networks: Any = method.run(train, build)
    what = f"{type(method).__name__}.run must give the networks to deploy by role, as {{'student': student}}"
    if not isinstance(networks, Mapping) or not networks:
        raise DocendoError(f"{what}, but gave {networks!r}; does it return them?")
    for role, network in networks.items():
        if not isinstance(network, StagedNetwork):
            raise DocendoError(f"{what}, but its {role} is no network that build gave: {type(network).__name__}")
    return networks


class Builder:
    """Makes the network of a role (`docendo.core.Build`).

    Args:
        settings: the network name or weights file for each role; the seed, which with the role decides the first
            weights, whatever is built before; whether to start from published weights.
        data: the data set, whose classes, channels and image size the networks must fit.
        say: called with a line about how a network was made, or weights that may not fit.

    Raises:
        DocendoError: if published weights are asked for and no network has any.
    """

    def __init__(self, settings: RunSettings, data: DataSet, say: Callable[[str], None] = lambda text: None) -> None:
        self.networks, self.seed, self.pretrained = settings.networks, settings.seed, settings.pretrained
        self.data, self.say = data, say
        named = [name for role, name in self.networks.items() if not self.is_trained(role)]
        if self.pretrained and not any(is_foreign(canonical(name)) for name in named):
            raise DocendoError(
                f"pretrained: none of {', '.join(self.networks.values())} has published weights; "
                "name a network of timm or torchvision, or give weights files"
            )

    def __call__(self, role: str, *, frozen: bool = False, number: int = 0) -> StagedNetwork:
        """Make the network of a role."""
        named = self.networks[role]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_for(self.seed, role, "weights", *([number] if number else [])))
            if not self.is_trained(role):
                return self._create(named)
            return (
                self._from_weights(role, Path(named), frozen)
                if not number
                else self._create(read(Path(named)).network.spec.architecture)
            )

    def is_trained(self, role: str) -> bool:
        """Say whether the user gave weights for this role."""
        return names_weights(self.networks[role])

    def _create(self, name: str) -> StagedNetwork:
        data = self.data
        weights = PRETRAINED if self.pretrained and is_foreign(canonical(name)) else None
        network = create(
            name, classes=len(data.classes), channels=data.channels, image_size=data.image_size, weights=weights
        )
        for note in network.notes:
            self.say(note)
        return network

    def _from_weights(self, role: str, path: Path, frozen: bool) -> StagedNetwork:
        data, loaded = self.data, read(path)
        spec = loaded.network.spec
        if spec.classes != len(data.classes):
            raise DocendoError(
                f"{role} {path} ({spec.architecture}) tells {spec.classes} classes apart, but {data.name} has "
                f"{len(data.classes)}: give weights for {data.name}, or only a network's name to train one"
            )
        if spec.channels != data.channels:
            colours = {1: "grey", 3: "RGB"}
            raise DocendoError(
                f"{role} {path} ({spec.architecture}) reads {colours[spec.channels]} images, but {data.name} has "
                f"{colours[data.channels]} ones: give weights for {data.name}, or only a network's name to train one"
            )
        if loaded.class_names is not None and loaded.class_names != data.classes:
            ours, theirs = next((a, b) for a, b in zip(data.classes, loaded.class_names, strict=True) if a != b)
            self.say(f'warning: {role} {path} calls a class "{theirs}" that is "{ours}" in {data.name}')
        network, adaptation = loaded.network, None
        if loaded.mean is not None and loaded.std is not None:
            adaptation = Adaptation(data.expectation, Expectation(loaded.mean, loaded.std, spec.image_size))
        if frozen and adaptation is not None:
            network.adaptation = adaptation
            return network
        if adaptation is not None and adaptation.matters:
            self.say(f"warning: {role} {path} was trained on {adaptation}: it must get used to them")
        return self._at_our_size(role, path, network)

    def _at_our_size(self, role: str, path: Path, network: StagedNetwork) -> StagedNetwork:
        ours, spec = self._create(network.spec.architecture), network.spec
        try:
            ours.load_state_dict(network.state_dict())
        except RuntimeError as error:
            raise DocendoError(
                f"{role} {path} ({spec.architecture}) was made for images of {spec.image_size} pixels and cannot learn "
                f"from those of {self.data.image_size}: add --image-size {spec.image_size}"
            ) from error
        ours.spec = replace(ours.spec, architecture=spec.architecture)
        return ours
