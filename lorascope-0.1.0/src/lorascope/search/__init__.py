"""Requests -> Answers."""

from lorascope.search.answer import Answer, Hit
from lorascope.search.phrases import load_query_encoder
from lorascope.search.query import Query, Term
from lorascope.search.request import Example, Filters, Request
from lorascope.search.searcher import Searcher

__all__ = ["Answer", "Example", "Filters", "Hit", "Query", "Request", "Searcher", "Term", "load_query_encoder"]
