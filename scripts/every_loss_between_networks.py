"""Let every transfer method teach students of many families from teachers of others, a real training step each.

    python scripts/every_loss_between_networks.py --log attempts.tsv > results/every-loss-between-networks.txt

On RGB images of 32 pixels. An attempt ends well or is refused in one line by docendo; any other exception is a failure,
and so is the script then. The log has a line for each attempt as it comes; what stands in it is not tried again.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import sys
from collections.abc import Mapping
from pathlib import Path

import torch
from every_network_in_every_role import Cast, Pair, logged, read, summary

from docendo.methods.names import transfers

STUDENTS = (
    "resnet8x4",
    "wrn_16_2",
    "vgg8",
    "MobileNetV2",
    "ShuffleV2",
    "timm/mobilenetv3_small_100",
    "timm/convnext_atto",
    "timm/vit_tiny_patch16_224",
)
TEACHERS = ("resnet32x4", "ResNet50", "timm/resnet50", "timm/vit_small_patch16_224")


def main() -> None:
    """Try everything, keep a log, print a table."""
    parser = argparse.ArgumentParser(description="every transfer method between networks of many families")
    parser.add_argument("--log", type=Path, required=True, help="a line for each attempt; what it holds is kept")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    done, cast = read(arguments.log), Cast()
    with arguments.log.open("a", encoding="utf-8") as log:
        for teacher in TEACHERS:
            cast.forget(*STUDENTS)
            for student, method in itertools.product(STUDENTS, transfers()):
                pair = Pair(method, teacher, student, 32, 3)
                if pair not in done:
                    done[pair] = logged(pair, cast, log)
    raise SystemExit(_table(done))


def _table(done: Mapping[Pair, str]) -> int:
    """Print what came of each attempt; give 1 if any failed."""
    print(f"$ python {' '.join(sys.argv)}")
    print(f"{datetime.date.today()}, PyTorch {torch.__version__}; a step on RGB images of 32 pixels")
    print("Each cell: for the four teachers, in the order of the list, + a step was trained, r refused, ! failed")
    print(f"Teachers: {', '.join(TEACHERS)}\n")
    width = max(len(name) for name in STUDENTS)
    print(f"{'':{width}}  " + "  ".join(f"{method:>{max(4, len(method))}}" for method in transfers()))
    for student in STUDENTS:
        cells = []
        for method in transfers():
            found = [done[Pair(method, teacher, student, 32, 3)] for teacher in TEACHERS]
            marks = "".join("+" if r == "ok" else "r" if r.startswith("refused") else "!" for r in found)
            cells.append(f"{marks:>{max(4, len(method))}}")
        print(f"{student:{width}}  " + "  ".join(cells))
    return int(summary(done) > 0)


if __name__ == "__main__":
    main()
