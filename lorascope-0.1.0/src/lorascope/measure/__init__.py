"""Adapters x Grid -> Signatures, with a stopping rule, progress and resume.

Measuring needs torch, which is imported when one of the names below is first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lorascope.measure.events import Event, Outcome, StopRun, Watcher
    from lorascope.measure.load import load_worker
    from lorascope.measure.run import index
    from lorascope.measure.worker import RenderedBlock, Worker

_HOMES = {
    "Event": "events",
    "Outcome": "events",
    "RenderedBlock": "worker",
    "StopRun": "events",
    "Watcher": "events",
    "Worker": "worker",
    "index": "run",
    "load_worker": "load",
}

__all__ = ["Event", "Outcome", "RenderedBlock", "StopRun", "Watcher", "Worker", "index", "load_worker"]


def __getattr__(name: str) -> Any:
    """Import a name from its module."""
    if name in _HOMES:
        return getattr(import_module(f"lorascope.measure.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
