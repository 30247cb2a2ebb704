"""`docendo cite`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


def cite(
    *sources: Annotated[
        str, Parameter(name="RUN|STUDY|METHOD", help="Folders of runs or studies, or names of methods.")
    ],
) -> None:
    """Print BibTeX of every method, loss, recipe, data set, network and measure that runs used."""
    from docendo.reports import cite as give

    print(give(*(Path(source) if Path(source).is_dir() else source for source in sources)))
