"""Judges: models that score images against a query, so that retrievers can be compared where no answers are known."""

from lorascope.evaluation.judges.base import Judge, Verdict
from lorascope.evaluation.judges.load import find_judge, load_judge

__all__ = ["Judge", "Verdict", "find_judge", "load_judge"]
