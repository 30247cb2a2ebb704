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
    from docendo.recipes import (
        Bench,
        Prediction,
        Run,
        bench,
        evaluate,
        explain,
        predict,
        prefill,
        probe,
        train,
        train_seeds,
    )
    from docendo.recipes.measure import measure
    from docendo.reports import cite, report
    from docendo.studies.running import Study, compare, study
    from docendo.studies.tuned import Tuned
    from docendo.studies.tuning import tune

_ELSEWHERE = {
    **dict.fromkeys(("cite", "report"), "docendo.reports"),
    **dict.fromkeys(("Study", "compare", "study"), "docendo.studies.running"),
    "Tuned": "docendo.studies.tuned",
    "tune": "docendo.studies.tuning",
}


def __getattr__(name: str) -> Any:
    """Import recipes, reports and studies when they are first asked for, as parts of docendo are useful without."""
    if name in __all__:
        return getattr(import_module(_ELSEWHERE.get(name, "docendo.recipes")), name)
    raise AttributeError(f"module 'docendo' has no attribute {name!r}")
