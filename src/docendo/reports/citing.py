"""`docendo cite`: BibTeX of what a run, a study or a method goes back to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from docendo.errors import DocendoError, nearest
from docendo.reports.bibliography import entries
from docendo.reports.credits import ALIASES, OF_METHODS, merged, of_record
from docendo.reports.reading import read_record


def cite(*sources: str | Path) -> str:
    """Give BibTeX of every method, loss, recipe, data set, network and measure that runs used, each entry once.

    Args:
        sources: folders of runs or studies, or names of methods.

    Returns:
        The entries, under a comment that says what they are of.

    Raises:
        DocendoError: what is neither a folder nor a method, with the nearest method.

    >>> print(cite("kd"))
    % methods
    @article{hinton2015distilling,
      title = {Distilling the Knowledge in a Neural Network},
      author = {Geoffrey Hinton and Oriol Vinyals and Jeff Dean},
      journal = {arXiv preprint arXiv:1503.02531},
      year = {2015},
      eprint = {1503.02531},
      archiveprefix = {arXiv},
    }
    """
    if not sources:
        raise DocendoError("cite needs a run, a study or a method, such as: docendo cite kd")
    found = merged(map(_of, sources))
    if not found:
        return "% nothing to cite: training on labels alone has no source"
    return "\n\n".join(_section(kind, keys) for kind, keys in found.items())


def _of(source: str | Path) -> Mapping[str, Iterable[str]]:
    if Path(source).is_dir():
        return of_record(read_record(source))
    name = str(source).lower().replace("-", "_")
    name = ALIASES.get(name, name)
    if name not in OF_METHODS:
        raise DocendoError(f'"{source}" is neither a folder nor a method; {nearest(str(source), OF_METHODS)}')
    return {"methods": OF_METHODS[name]}


def _section(kind: str, keys: Iterable[str]) -> str:
    known = entries()
    return f"% {kind}\n" + "\n\n".join(known[key].bibtex for key in keys)
