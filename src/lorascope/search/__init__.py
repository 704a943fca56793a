"""Query -> Hits."""

from lorascope.search.answer import Answer, Filters, Hit
from lorascope.search.phrases import load_query_encoder
from lorascope.search.query import Query, Term
from lorascope.search.searcher import Searcher

__all__ = ["Answer", "Filters", "Hit", "Query", "Searcher", "Term", "load_query_encoder"]
