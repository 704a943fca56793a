"""Query -> Hits."""

from lorascope.search.query import Query, Term
from lorascope.search.searcher import Answer, Filters, Hit, Searcher

__all__ = ["Answer", "Filters", "Hit", "Query", "Searcher", "Term"]
