"""Which sources a run goes back to, as keys of `citations.bib`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from docendo.reports.architecture import architecture_of
from docendo.reports.finished import Finished
from docendo.reports.record import Record

OF_METHODS: Mapping[str, tuple[str, ...]] = {
    "plain": (),
    "kd": ("hinton2015distilling",),
    "at": ("zagoruyko2017paying",),
    "ban": ("furlanello2018born",),
    "byot": ("zhang2019be",),
    "cc": ("peng2019correlation",),
    "collaborative_teaching": ("zhao2022highlight",),
    "confidence_penalty": ("pereyra2017regularizing",),
    "crd": ("tian2020contrastive",),
    "deit": ("touvron2021training",),
    "dist": ("huang2022knowledge",),
    "dkd": ("zhao2022decoupled",),
    "dml": ("zhang2018deep",),
    "fitnet": ("romero2015fitnets",),
    "fsp": ("yim2017gift",),
    "label_smoothing": ("szegedy2016rethinking",),
    "logit_mse": ("ba2014deep",),
    "mlkd": ("jin2023multi",),
    "nst": ("huang2017like",),
    "ofd": ("heo2019comprehensive",),
    "pkt": ("passalis2018learning",),
    "reviewkd": ("chen2021distilling",),
    "rkd": ("park2019relational",),
    "rocket_launching": ("zhou2018rocket",),
    "sftn": ("park2021learning",),
    "simkd": ("chen2022knowledge",),
    "sokd": ("liu2021semi",),
    "sp": ("tung2019similarity",),
    "sskd": ("xu2020knowledge",),
    "teskd": ("li2021teskd",),
    "tolerant_teacher": ("yang2019training",),
    "vid": ("ahn2019variational",),
}
"""The sources of docendo's methods by name; plain training has none."""

ALIASES = {"ctkd": "collaborative_teaching"}
"""Other names that people know a method by."""

_OF_LOSSES = {
    "kd": "hinton2015distilling",
    "at": "zagoruyko2017paying",
    "hint maps": "romero2015fitnets",
    "hint pooled": "romero2015fitnets",
    "path": "zhou2018rocket",
}
"""The sources of loss terms that methods borrow from each other, by kind; pairs of stages aside."""

_OF_DATA = {
    "digits": "alpaydin1998optical",
    "cifar10": "krizhevsky2009learning",
    "cifar100": "krizhevsky2009learning",
    "svhn": "netzer2011reading",
    "mnist": "lecun1998gradient",
    "fashion-mnist": "xiao2017fashion",
    "tiny-imagenet": "le2015tiny",
    "imagenet": "russakovsky2015imagenet",
}

_OF_VIEWS = {
    "mixup": "zhang2018mixup",
    "cutmix": "yun2019cutmix",
    "cutout": "devries2017improved",
    "randaugment": "cubuk2020randaugment",
}
"""Sources of data settings that are set."""

_OF_RECIPES = {"crd": "tian2020contrastive", "patient": "beyer2022knowledge"}
"""Sources of published protocols; those of the others are their methods'."""

_OF_NETWORKS = (
    (r"wrn|wide_?resnet", "zagoruyko2016wide"),
    (r"resnext", "xie2017aggregated"),
    (r"se_?resnet", "hu2018squeeze"),
    (r"resnet", "he2016deep"),
    (r"vgg", "simonyan2015very"),
    (r"mobilenet_?v2", "sandler2018mobilenetv2"),
    (r"mobilenet_?v3", "howard2019searching"),
    (r"shuffle(net)?_?v1", "zhang2018shufflenet"),
    (r"shuffle(net)?_?v2", "ma2018shufflenet"),
    (r"densenet", "huang2017densely"),
    (r"efficientnet", "tan2019efficientnet"),
    (r"regnet", "radosavovic2020designing"),
    (r"convnext_", "liu2022convnet"),
    (r"vit_", "dosovitskiy2021image"),
    (r"swin_", "liu2021swin"),
    (r"deit_", "touvron2021training"),
)
"""Sources of networks, by how the name begins after its library's; the first that fits."""

_OF_LIBRARIES = {"timm": "wightman2019timm", "torchvision": "torchvision2016"}

_OF_MEASURES = ("guo2017calibration", "kornblith2019similarity", "stanton2021does")


def of_method(name: str, settings: Mapping[str, Any]) -> tuple[str, ...]:
    """Give the sources of a method and of all methods that its settings name.

    >>> of_method("sftn", {"then": "at", "temperature": 1.0})
    ('park2021learning', 'zagoruyko2017paying')
    >>> of_method("losses.py:Mine", {"standardize": True})
    ('sun2024logit',)
    """
    held = [word for value in settings.values() for word in _words(value)]
    found = [key for method in (name, *held) for key in OF_METHODS.get(method, ())]
    if any(key.rpartition(".")[2] == "standardize" and value is True for key, value in settings.items()):
        found.append("sun2024logit")
    return tuple(dict.fromkeys(found))


def of_network(architecture: str) -> tuple[str, ...]:
    """Give the sources of a network, and of the library that it comes from.

    >>> of_network("resnet8x4"), of_network("timm/swin_tiny_patch4_window7_224"), of_network("mine")
    (('he2016deep',), ('liu2021swin', 'wightman2019timm'), ())
    """
    library, _, name = architecture.rpartition("/")
    found = next((key for start, key in _OF_NETWORKS if re.match(start, name, re.IGNORECASE)), None)
    return tuple(key for key in (found, _OF_LIBRARIES.get(library)) if key is not None)


def of_run(run: Finished, teachers: Iterable[Finished] = ()) -> dict[str, tuple[str, ...]]:
    """Give the sources of a run by what they are of: methods, losses, recipe, data, networks and measures.

    Args:
        run: the run.
        teachers: the runs that its weights may have come from.
    """
    config, teachers = run.config, tuple(teachers)
    data = config.get("data", {})
    networks = [architecture_of(run, role, teachers) for role in config.get("networks", {})]
    return {
        "methods": of_method(run.method, config.get("settings", {})),
        "losses": tuple(dict.fromkeys(key for kind in _kinds(run) if (key := _OF_LOSSES.get(kind)) is not None)),
        "recipe": tuple(key for key in (_OF_RECIPES.get(str(config.get("recipe"))),) if key is not None),
        "views": tuple(key for name, key in _OF_VIEWS.items() if data.get(name) is not None),
        "data": tuple(key for key in (_OF_DATA.get(run.data),) if key is not None),
        "networks": tuple(dict.fromkeys(key for network in networks for key in of_network(network))),
        "measures": _OF_MEASURES if run.measures is not None else (),
    }


def of_record(record: Record) -> dict[str, tuple[str, ...]]:
    """Give the sources of all runs in a folder by what they are of, each once."""
    return merged(of_run(run, record.teachers) for run in (*record.runs, *record.teachers))


def merged(several: Iterable[Mapping[str, Iterable[str]]]) -> dict[str, tuple[str, ...]]:
    """Put sources together; one that is several things counts as the first of them.

    >>> merged([{"methods": ("a",), "losses": ("b",)}, {"methods": ("b", "c")}])
    {'methods': ('a', 'b', 'c')}
    """
    together: dict[str, dict[str, None]] = {}
    for each in several:
        for kind, keys in each.items():
            together.setdefault(kind, {}).update(dict.fromkeys(keys))
    seen: set[str] = set()
    found = {}
    for kind, keys in together.items():
        found[kind] = tuple(key for key in keys if key not in seen)
        seen |= set(keys)
    return {kind: keys for kind, keys in found.items() if keys}


def _words(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield from (word.strip() for word in value.split(","))
    elif isinstance(value, list | tuple):
        yield from (str(word) for word in value)


def _kinds(run: Finished) -> dict[str, None]:
    """Give the kinds of loss terms in a run's metrics, without the stages that they compare."""
    columns = dict.fromkeys(name for row in run.rows for name in row if name.startswith("loss/") and ":" in name)
    kinds = (re.fullmatch(r"[^:]*<[^:]*:(.*)", name) for name in columns)
    return dict.fromkeys(re.sub(r" \d+:\d+$", "", match[1]) for match in kinds if match)
