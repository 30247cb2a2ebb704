"""Images as the engine wants them: splits in batches, every random choice a pure function of its seed."""

from docendo.data.dataset import DataSet
from docendo.data.expectation import Adaptation, Expectation, renormalise
from docendo.data.images import normalise, prepare, read_image
from docendo.data.loading import load
from docendo.data.seeds import generator, seed_for
from docendo.data.settings import DataSettings
from docendo.data.sources.find import image_at
from docendo.data.split import EpochTable, Split
from docendo.data.views import Augmentation, NoAugmentation, ResizedCrop, Shift

__all__ = [
    "Adaptation",
    "Augmentation",
    "DataSet",
    "DataSettings",
    "EpochTable",
    "Expectation",
    "NoAugmentation",
    "ResizedCrop",
    "Shift",
    "Split",
    "generator",
    "image_at",
    "load",
    "normalise",
    "prepare",
    "read_image",
    "renormalise",
    "seed_for",
]
