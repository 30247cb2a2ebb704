"""Let every network of the catalog teach and learn beside a few others, and see that nothing fails inside PyTorch.

    python scripts/every_network_in_every_role.py --log attempts.tsv > results/every-network-in-every-role.txt

Each network is teacher and student of `kd` and `sftn` beside native and cut partners of other families, numbers of
stages and widths, on images of several sizes, grey and RGB: one real training step, forward and backward. An attempt
ends well or is refused in one line by docendo; any other exception is a failure, and so is the script then. The log
has a line for each attempt as it comes; what stands in it is not tried again.
"""

from __future__ import annotations

import argparse
import copy
import datetime
import gc
import itertools
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import torch
from torch import nn

from docendo.core import Batch, Phase
from docendo.engine.folding import folded
from docendo.engine.networks import Learners, answer, fit, freeze, lay_out
from docendo.errors import DocendoError
from docendo.methods import make
from docendo.networks import StagedNetwork, create, names

PARTNERS = (
    "resnet8",
    "vgg8",
    "ShuffleV2",
    "timm/mobilenetv3_small_050",
    "timm/vit_tiny_patch16_224",
    "timm/convnext_atto",
    "timm/swin_tiny_patch4_window7_224",
)
SIZES = (8, 28, 32, 64)
CHANNELS = {1: "grey", 3: "RGB"}
CLASSES = 10


class Pair(NamedTuple):
    """One thing to try: a method with two networks on images of some kind."""

    method: str
    teacher: str
    student: str
    size: int
    channels: int


class Cast:
    """Makes networks by role (`docendo.core.Build`) and keeps them, as making a cut one takes longer than a step."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str, int, int], StagedNetwork | DocendoError] = {}

    def network(self, role: str, name: str, size: int, channels: int) -> StagedNetwork:
        """Give a network of the catalog; a refusal is kept too."""
        key = role, name, size, channels
        if key not in self.kept:
            try:
                torch.manual_seed(0)
                made = create(name, classes=CLASSES, channels=channels, image_size=size)
                lay_out(made, torch.channels_last)
                made.factory = lambda: copy.deepcopy(made)  # no step changes a weight
                self.kept[key] = made
            except DocendoError as error:
                self.kept[key] = error
        found = self.kept[key]
        if isinstance(found, DocendoError):
            raise found
        return found

    def forget(self, *but: str) -> None:
        """Let go of all networks but those of some names."""
        self.kept = {key: value for key, value in self.kept.items() if key[1] in but}
        gc.collect()  # a network and its factory hold each other


class Build:
    """Gives the networks of one pair; a teacher counts as trained, so that it is frozen at once, but not SFTN's."""

    def __init__(self, cast: Cast, pair: Pair) -> None:
        self.cast, self.pair = cast, pair

    def __call__(self, role: str, *, frozen: bool = False, number: int = 0) -> StagedNetwork:
        """Give the network of a role."""
        return self.cast.network(role, getattr(self.pair, role), self.pair.size, self.pair.channels)

    def is_trained(self, role: str) -> bool:
        """Say whether the role's network is taken as it is."""
        return self.pair.method != "sftn" and role == "teacher"


def attempt(pair: Pair, cast: Cast) -> str:
    """Take a training step in each phase of a method; give "ok" or why docendo refuses the pair."""
    torch.manual_seed(1)
    images = torch.randn(2, pair.channels, pair.size, pair.size).contiguous(memory_format=torch.channels_last)
    upright = Batch.of(images, torch.tensor([0, 1]))

    def step(phase: Phase) -> Mapping[str, nn.Module]:
        if pair.method == "sftn" and phase.name == "student":
            return phase.learners  # the same step as that of kd
        freeze(phase.frozen)
        fit(phase.learners, len(images))
        batch = phase.views(upright) if phase.views else upright
        everything = {
            role: frozenset({"logits", "pooled", *(f"stages.{i}" for i in range(len(net.stages)))})  # type: ignore[arg-type]
            for role, net in phase.frozen.items()
        }
        answers = answer({role: folded(net, images) for role, net in phase.frozen.items()}, everything, batch)
        learners = Learners(phase.learners, phase.losses).train().requires_grad_(True)
        loss: Any = sum(term.weight * term.value for term in learners(batch, answers))
        loss.backward()
        if not any(p.grad is not None and p.grad.isfinite().all() for p in learners.parameters()):
            raise ArithmeticError("no gradient")
        learners.zero_grad(set_to_none=True)
        return phase.learners

    try:
        make(pair.method).run(step, Build(cast, pair))
    except DocendoError as error:
        return f"refused: {error}"
    return "ok"


def logged(pair: Pair, cast: Cast, log: TextIO) -> str:
    """Try, and write a line about it; whatever else goes wrong is what these scripts look for."""
    began = time.perf_counter()
    try:
        result = attempt(pair, cast)
    except Exception as error:
        result = f"FAILED: {type(error).__name__}: {' '.join(str(error).split())}"
    print(*pair, f"{time.perf_counter() - began:.2f}", result, sep="\t", file=log, flush=True)
    return result


def pairs(names: Iterable[str], partners: Iterable[str], size: int, channels: int) -> Iterator[Pair]:
    """Give each network as teacher and student of both methods beside each partner."""
    for name, partner in itertools.product(names, partners):
        for method in ("kd", "sftn"):
            yield Pair(method, name, partner, size, channels)
            yield Pair(method, partner, name, size, channels)


def main() -> None:
    """Try everything, keep a log, print a table."""
    parser = argparse.ArgumentParser(description="every network of the catalog in every role of kd and sftn")
    parser.add_argument("--log", type=Path, required=True, help="a line for each attempt; what it holds is kept")
    parser.add_argument("--sizes", type=int, nargs="*", default=SIZES, help="none: only print what the log holds")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    done = read(arguments.log)
    cast = Cast()
    with arguments.log.open("a", encoding="utf-8") as log:
        for size, channels, name in itertools.product(arguments.sizes, CHANNELS, names()):
            if name == names()[0]:
                cast.forget()
            for pair in dict.fromkeys(pairs([name], PARTNERS, size, channels)):
                if pair in done:
                    continue
                done[pair] = logged(pair, cast, log)
            cast.forget(*PARTNERS)
    raise SystemExit(_table(done))


def read(log: Path) -> dict[Pair, str]:
    """Give what came of the attempts in a log."""
    found = {}
    for line in log.read_text(encoding="utf-8").splitlines() if log.exists() else ():
        method, teacher, student, size, channels, _, result = line.split("\t")
        found[Pair(method, teacher, student, int(size), int(channels))] = result
    return found


def _table(done: Mapping[Pair, str]) -> int:
    """Print what came of all attempts, by network and kind of images; give the number of failures."""
    print(f"$ python {' '.join(sys.argv)}")
    print(f"{datetime.date.today()}, PyTorch {torch.__version__}; partners: {', '.join(PARTNERS)}")
    print("Each cell: attempts (kd and sftn, teacher and student) that ended well + refused by docendo")
    kinds = sorted({(pair.size, pair.channels) for pair in done})
    print(f"\n{'':20}" + "".join(f"{f'{size} {CHANNELS[channels]}':>10}" for size, channels in kinds))
    for name in names():
        cells = []
        for kind in kinds:
            found = [r for p, r in done.items() if name in (p.teacher, p.student) and (p.size, p.channels) == kind]
            ok, refused = found.count("ok"), sum(r.startswith("refused") for r in found)
            failed = len(found) - ok - refused
            cells.append(f"{ok}+{refused}" + (f" !{failed}" if failed else ""))
        print(f"{name:20}" + "".join(f"{cell:>10}" for cell in cells))
    return summary(done)


def summary(done: Mapping[Pair, str]) -> int:
    """Print what was refused or failed, and how often; give the number of failures."""
    results = Counter(done.values())
    for kind in ("refused", "FAILED"):
        chosen = [(text, count) for text, count in results.most_common() if text.startswith(kind)]
        if chosen:
            print(f"\n{kind}, times and message:")
        for text, count in chosen:
            print(f"{count:5d}  {text.partition(': ')[2]}")
    failures = sum(count for text, count in results.items() if text.startswith("FAILED"))
    refusals = len(done) - results["ok"] - failures
    print(f"\n{len(done)} attempts: {results['ok']} ok, {refusals} refused with a message, {failures} failed")
    return int(failures > 0)


if __name__ == "__main__":
    main()
