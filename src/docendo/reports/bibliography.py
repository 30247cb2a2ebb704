"""The entries of `citations.bib`, as BibTeX and as people read them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

_ACCENTS = {"'": "\u0301", "`": "\u0300", '"': "\u0308", "^": "\u0302", "~": "\u0303"}


@dataclass(frozen=True)
class Entry:
    """One source.

    Attributes:
        key: what LaTeX cites it by.
        bibtex: the whole entry.
        fields: by name, as BibTeX has them.
    """

    key: str
    bibtex: str
    fields: Mapping[str, str]

    @property
    def title(self) -> str:
        """The title in plain text."""
        return plain(self.fields["title"])

    @property
    def authors(self) -> str:
        """The authors in plain text: all of up to three, else the first and "et al."."""
        names = [plain(name) for name in re.split(r"\s+and\s+(?![^{]*\})", self.fields["author"])]
        return f"{names[0]} et al." if len(names) > 3 else ", ".join(names)

    @property
    def venue(self) -> str:
        """Where it was published, and when."""
        names = ("booktitle", "journal", "howpublished", "institution")
        where = next((self.fields[name] for name in names if name in self.fields), "")
        return plain(", ".join(part for part in (where.removeprefix("arXiv preprint "), self.fields["year"]) if part))

    @property
    def address(self) -> str | None:
        """Where it can be read."""
        if "eprint" in self.fields:
            return f"https://arxiv.org/abs/{self.fields['eprint']}"
        return f"https://doi.org/{self.fields['doi']}" if "doi" in self.fields else None


@cache
def entries() -> Mapping[str, Entry]:
    """Give all entries by key, in the order of the file."""
    text = (files("docendo.reports") / "citations.bib").read_text(encoding="utf-8")
    return {entry.key: entry for entry in parse(text)}


def parse(text: str) -> list[Entry]:
    """Read BibTeX whose values are all in braces, and whose entries end with a brace at the start of a line.

    >>> [entry] = parse("@misc{a2020,\\n  title = {On {B}},\\n  author = {C. D.},\\n  year = {2020},\\n}\\n")
    >>> entry.key, entry.title, entry.fields["year"]
    ('a2020', 'On B', '2020')
    """
    found = []
    for match in re.finditer(r"^@\w+\{([^,\s]+),\n(.*?)^\}$", text, flags=re.DOTALL | re.MULTILINE):
        pairs = re.findall(
            r"^\s*(\w+)\s*=\s*\{(.*?)\},?$(?=\s*\w+\s*=|\s*\Z)", match[2], flags=re.DOTALL | re.MULTILINE
        )
        found.append(Entry(match[1], match[0], {name: " ".join(value.split()) for name, value in pairs}))
    return found


def plain(tex: str) -> str:
    """Turn a value of BibTeX into plain text.

    >>> plain("Herv{\\\\'e} {\\\\L}ukasz \\\\& {FitNets} 1--2")
    'Hervé Łukasz & FitNets 1–2'
    """
    text = re.sub(r"\\([\'`\"^~])\{?(\w)\}?", lambda accent: accent[2] + _ACCENTS[accent[1]], tex)
    text = text.replace("{\\L}", "Ł").replace("\\&", "&").replace("--", "–").replace("{", "").replace("}", "")
    return unicodedata.normalize("NFC", text)
