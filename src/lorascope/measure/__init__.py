"""Adapters x Grid -> Signatures, with a stopping rule, progress and resume."""

from lorascope.measure.index import Event, Outcome, StopRun, Watcher, index
from lorascope.measure.load import load_worker
from lorascope.measure.worker import RenderedBlock, Worker

__all__ = ["Event", "Outcome", "RenderedBlock", "StopRun", "Watcher", "Worker", "index", "load_worker"]
