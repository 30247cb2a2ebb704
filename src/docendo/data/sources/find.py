"""From the name of a data set to its source."""

from __future__ import annotations

from pathlib import Path

from docendo.data.settings import DataSettings
from docendo.data.sources.part import Found
from docendo.errors import DocendoError, nearest

BUILT_IN = ("digits", "cifar10", "cifar100")


def find(settings: DataSettings) -> Found:
    """Open a built-in data set, or the one at a path.

    Raises:
        DocendoError: there is none of that name, or it cannot be read.
    """
    # Sources are imported when they are asked for: scikit-learn and torchvision take seconds.
    if settings.name == "digits":
        from docendo.data.sources.digits import digits

        return digits()
    raise _unknown(settings.name)


def _unknown(name: str) -> DocendoError:
    path = Path(name).expanduser()
    if path.name == name:
        return DocendoError(
            f'no data set is called "{name}", and there is no such folder or file; {nearest(name, BUILT_IN)}'
        )
    if not path.parent.is_dir():
        return DocendoError(f"there is no {path}: its folder {path.parent} does not exist either")
    beside = sorted(entry.name for entry in path.parent.iterdir())
    return DocendoError(f"there is no {path}; {nearest(path.name, beside)}")
