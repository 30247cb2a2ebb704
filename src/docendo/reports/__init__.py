"""Reports of finished runs and studies, and what they go back to: reads folders, trains and measures nothing."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

from docendo.errors import DocendoError
from docendo.reports.citing import cite

__all__ = ["cite", "report"]

if TYPE_CHECKING:
    from docendo.reports.making import report


def __getattr__(name: str) -> Any:
    """Import what makes reports when it is first asked for, as Plotly is an extra and sources need none."""
    if name == "report":
        if importlib.util.find_spec("plotly") is None:
            raise DocendoError("a report needs Plotly, which is not installed: pip install 'docendo[report]'")
        from docendo.reports.making import report

        return report
    raise AttributeError(f"module 'docendo.reports' has no attribute {name!r}")
