"""docendo: train image networks that teach each other, and keep the one to deploy."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

__all__ = [
    "Bench",
    "Prediction",
    "Run",
    "Study",
    "Tuned",
    "__version__",
    "bench",
    "cite",
    "compare",
    "evaluate",
    "explain",
    "measure",
    "predict",
    "prefill",
    "probe",
    "report",
    "study",
    "train",
    "train_seeds",
    "tune",
]

if TYPE_CHECKING:
    from docendo.recipes.apply import Prediction, evaluate, predict, probe
    from docendo.recipes.explanation import explain
    from docendo.recipes.measure import measure
    from docendo.recipes.prefilling import prefill
    from docendo.recipes.run import Run, train
    from docendo.recipes.seeds import train_seeds
    from docendo.recipes.speed import Bench, bench
    from docendo.reports import cite, report
    from docendo.studies.running import Study, compare, study
    from docendo.studies.tuned import Tuned
    from docendo.studies.tuning import tune

_HOMES = {
    "docendo.recipes.apply": ("Prediction", "evaluate", "predict", "probe"),
    "docendo.recipes.explanation": ("explain",),
    "docendo.recipes.measure": ("measure",),
    "docendo.recipes.prefilling": ("prefill",),
    "docendo.recipes.run": ("Run", "train"),
    "docendo.recipes.seeds": ("train_seeds",),
    "docendo.recipes.speed": ("Bench", "bench"),
    "docendo.reports": ("cite", "report"),
    "docendo.studies.running": ("Study", "compare", "study"),
    "docendo.studies.tuned": ("Tuned",),
    "docendo.studies.tuning": ("tune",),
}


def __getattr__(name: str) -> Any:
    """Import recipes, reports and studies when they are first asked for, as parts of docendo are useful without."""
    home = next((home for home, names in _HOMES.items() if name in names), None)
    if home is not None:
        return getattr(import_module(home), name)
    raise AttributeError(f"module 'docendo' has no attribute {name!r}")
