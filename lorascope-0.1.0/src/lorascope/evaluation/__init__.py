"""The lab: whether behaviour beats descriptions, by known answers and by judges, and what earns it."""

from lorascope.evaluation.corpus import Corpus
from lorascope.evaluation.findings import Findings
from lorascope.evaluation.laboratory import EvaluationPlan, Laboratory
from lorascope.evaluation.queries import JudgedQuery, load_queries
from lorascope.evaluation.run import Evaluation, evaluate

__all__ = [
    "Corpus",
    "Evaluation",
    "Findings",
    "JudgedQuery",
    "Laboratory",
    "EvaluationPlan",
    "evaluate",
    "load_queries",
]
