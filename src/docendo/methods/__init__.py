"""The methods, one file each. To add one: write its file, and add one line here."""

from docendo.methods.kd import KD
from docendo.methods.plain import Plain
from docendo.methods.settings import Setting, make, name_of, settings_of, values_of
from docendo.methods.sftn import SFTN

METHODS = {
    "plain": Plain,
    "kd": KD,
    "sftn": SFTN,
}

ALIASES: dict[str, str] = {}
"""Other names that people know a method by."""

__all__ = ["ALIASES", "KD", "METHODS", "SFTN", "Plain", "Setting", "make", "name_of", "settings_of", "values_of"]
