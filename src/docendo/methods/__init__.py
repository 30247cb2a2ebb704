"""The methods, one file each. To add one: write its file, and add one line here."""

from docendo.methods.at import AT
from docendo.methods.ban import BAN
from docendo.methods.byot import BYOT
from docendo.methods.cc import CC
from docendo.methods.collaborative_teaching import CollaborativeTeaching
from docendo.methods.confidence_penalty import ConfidencePenalty
from docendo.methods.crd import CRD
from docendo.methods.deit import DeiT
from docendo.methods.dist import DIST
from docendo.methods.dkd import DKD
from docendo.methods.dml import DML
from docendo.methods.fitnet import FitNet
from docendo.methods.fsp import FSP
from docendo.methods.kd import KD
from docendo.methods.label_smoothing import LabelSmoothing
from docendo.methods.logit_mse import LogitMSE
from docendo.methods.mlkd import MLKD
from docendo.methods.names import find, name_of
from docendo.methods.nst import NST
from docendo.methods.ofd import OFD
from docendo.methods.pkt import PKT
from docendo.methods.plain import Plain
from docendo.methods.reviewkd import ReviewKD
from docendo.methods.rkd import RKD
from docendo.methods.rocket_launching import RocketLaunching
from docendo.methods.settings import Setting, make, settings_of, values_of
from docendo.methods.sftn import SFTN
from docendo.methods.simkd import SimKD
from docendo.methods.sokd import SOKD
from docendo.methods.sp import SP
from docendo.methods.sskd import SSKD
from docendo.methods.teskd import TESKD
from docendo.methods.tolerant_teacher import TolerantTeacher
from docendo.methods.vid import VID

METHODS = {
    "plain": Plain,
    "kd": KD,
    "teskd": TESKD,
    "sftn": SFTN,
    "sokd": SOKD,
    "dml": DML,
    "tolerant_teacher": TolerantTeacher,
    "ban": BAN,
    "label_smoothing": LabelSmoothing,
    "confidence_penalty": ConfidencePenalty,
    "collaborative_teaching": CollaborativeTeaching,
    "rocket_launching": RocketLaunching,
    "at": AT,
    "fitnet": FitNet,
    "byot": BYOT,
    "dkd": DKD,
    "dist": DIST,
    "mlkd": MLKD,
    "logit_mse": LogitMSE,
    "sp": SP,
    "pkt": PKT,
    "cc": CC,
    "rkd": RKD,
    "nst": NST,
    "sskd": SSKD,
    "vid": VID,
    "crd": CRD,
    "reviewkd": ReviewKD,
    "fsp": FSP,
    "ofd": OFD,
    "deit": DeiT,
    "simkd": SimKD,
}

ALIASES: dict[str, str] = {"ctkd": "collaborative_teaching"}
"""Other names that people know a method by."""

__all__ = [
    "ALIASES",
    "AT",
    "BAN",
    "BYOT",
    "CC",
    "CRD",
    "DIST",
    "DKD",
    "DML",
    "FSP",
    "KD",
    "METHODS",
    "MLKD",
    "NST",
    "OFD",
    "PKT",
    "RKD",
    "SFTN",
    "SOKD",
    "SP",
    "SSKD",
    "TESKD",
    "VID",
    "CollaborativeTeaching",
    "ConfidencePenalty",
    "DeiT",
    "FitNet",
    "LabelSmoothing",
    "LogitMSE",
    "Plain",
    "ReviewKD",
    "RocketLaunching",
    "Setting",
    "SimKD",
    "TolerantTeacher",
    "find",
    "make",
    "name_of",
    "settings_of",
    "values_of",
]
