"""The methods, one file each. To add one: write its file, and add one line here."""

from docendo.methods.at import AT
from docendo.methods.collaborative_teaching import CollaborativeTeaching
from docendo.methods.fitnet import FitNet
from docendo.methods.kd import KD
from docendo.methods.plain import Plain
from docendo.methods.rocket_launching import RocketLaunching
from docendo.methods.settings import Setting, make, name_of, settings_of, values_of
from docendo.methods.sftn import SFTN

METHODS = {
    "plain": Plain,
    "kd": KD,
    "sftn": SFTN,
    "collaborative_teaching": CollaborativeTeaching,
    "rocket_launching": RocketLaunching,
    "at": AT,
    "fitnet": FitNet,
}

ALIASES: dict[str, str] = {"ctkd": "collaborative_teaching"}
"""Other names that people know a method by."""

__all__ = [
    "ALIASES",
    "AT",
    "KD",
    "METHODS",
    "SFTN",
    "CollaborativeTeaching",
    "FitNet",
    "Plain",
    "RocketLaunching",
    "Setting",
    "make",
    "name_of",
    "settings_of",
    "values_of",
]
