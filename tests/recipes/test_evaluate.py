"""Evaluation reads what it needs and no more."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

import docendo


def test_training_images_are_not_needed(small_run: Callable[..., docendo.Run], tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for part, count in (("train", 20), ("test", 15)):
        for name in ("cat", "dog"):
            folder = tmp_path / "pets" / part / name
            folder.mkdir(parents=True)
            for i in range(count):
                Image.fromarray(random.integers(0, 256, (14, 12, 3), dtype=np.uint8)).save(folder / f"{i}.png")
    sets = {"data.train_images": 30}
    run = small_run("plain", data=tmp_path / "pets", student="resnet8", epochs=1, batch_size=10, set=sets)
    (tmp_path / "pets" / "train" / "cat" / "7.png").write_bytes(b"damaged since")
    measured = docendo.evaluate(run.folder)
    assert measured["images"] == 30
    assert measured["top1"] == run.results["networks"]["student"]["test_top1"]
