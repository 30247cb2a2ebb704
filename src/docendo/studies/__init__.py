"""Many runs: does a method help, by how much, and how sure are we?

Pure functions from values by seed: `summarize` one method, `compare` it with a baseline, `compare_all` several with the
correction for their number, and `judge` and `describe` put that into words.
"""

from docendo.studies.comparison import Comparison, compare
from docendo.studies.correction import compare_all, holm
from docendo.studies.power import MOST_SEEDS, power, seeds_needed
from docendo.studies.summary import Summary, summarize
from docendo.studies.verdict import Verdict, describe, judge

__all__ = [
    "MOST_SEEDS",
    "Comparison",
    "Summary",
    "Verdict",
    "compare",
    "compare_all",
    "describe",
    "holm",
    "judge",
    "power",
    "seeds_needed",
    "summarize",
]
