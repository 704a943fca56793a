"""How well queries with known answers are answered."""

from lorascope.evaluation.judgements import Judgement, read_judgements
from lorascope.evaluation.measures import ndcg, precision_at_1, reciprocal_rank
from lorascope.evaluation.run import Row, evaluate

__all__ = ["Judgement", "Row", "evaluate", "ndcg", "precision_at_1", "read_judgements", "reciprocal_rank"]
