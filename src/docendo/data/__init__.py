"""Images as the engine wants them: splits in batches, every random choice a pure function of its seed."""

from docendo.data.crops import ResizedCrop
from docendo.data.cutout import Cutout
from docendo.data.dataset import DataSet
from docendo.data.expectation import Adaptation, Expectation, renormalise
from docendo.data.images import normalise, prepare, read_image
from docendo.data.loading import load
from docendo.data.mixing import Mixing
from docendo.data.randaugment import RandAugment
from docendo.data.seeds import generator, hashed, seed_for
from docendo.data.settings import DataSettings
from docendo.data.sources.find import image_at
from docendo.data.split import EpochTable, Split
from docendo.data.varied import Varied
from docendo.data.views import Augmentation, NoAugmentation, Shift

__all__ = [
    "Adaptation",
    "Augmentation",
    "Cutout",
    "DataSet",
    "DataSettings",
    "EpochTable",
    "Expectation",
    "Mixing",
    "NoAugmentation",
    "RandAugment",
    "ResizedCrop",
    "Shift",
    "Split",
    "Varied",
    "generator",
    "hashed",
    "image_at",
    "load",
    "normalise",
    "prepare",
    "read_image",
    "renormalise",
    "seed_for",
]
