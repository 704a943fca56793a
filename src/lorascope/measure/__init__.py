"""Adapters x Grid -> Signatures, with a stopping rule, progress and resume."""

from lorascope.measure.bench import Bench
from lorascope.measure.index import Event, Outcome, StopRun, Watcher, index
from lorascope.measure.load import load_bench

__all__ = ["Bench", "Event", "Outcome", "StopRun", "Watcher", "index", "load_bench"]
