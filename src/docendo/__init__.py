"""docendo: train image networks that teach each other, and keep the one to deploy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

__all__ = [
    "Bench",
    "Prediction",
    "Run",
    "__version__",
    "bench",
    "cite",
    "evaluate",
    "explain",
    "measure",
    "predict",
    "prefill",
    "probe",
    "report",
    "train",
]

if TYPE_CHECKING:
    from docendo.recipes import Bench, Prediction, Run, bench, evaluate, explain, predict, prefill, probe, train
    from docendo.recipes.measure import measure
    from docendo.reports import cite, report


def __getattr__(name: str) -> Any:
    """Import recipes and reports when they are first asked for, as parts of docendo are useful without them."""
    if name in ("cite", "report"):
        from docendo import reports

        return getattr(reports, name)
    if name in __all__:
        from docendo import recipes

        return getattr(recipes, name)
    raise AttributeError(f"module 'docendo' has no attribute {name!r}")
