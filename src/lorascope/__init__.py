"""lorascope: measure what a LoRA really does to an image model, and find LoRAs by that."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lorascope.adapters import Adapter, read_adapter
    from lorascope.errors import LorascopeError
    from lorascope.grid import Grid, PromptSet
    from lorascope.library import Library
    from lorascope.measure import Outcome, Worker, index, load_worker
    from lorascope.moments import Moments
    from lorascope.protocol import Preset, Protocol
    from lorascope.search import Answer, Example, Hit, Query, Request, Searcher
    from lorascope.signature import Signature

__version__ = "0.1.0"

_HOMES = {
    "Adapter": "adapters",
    "Answer": "search",
    "Example": "search",
    "Grid": "grid",
    "Hit": "search",
    "Library": "library",
    "LorascopeError": "errors",
    "Moments": "moments",
    "Outcome": "measure",
    "Preset": "protocol",
    "PromptSet": "grid",
    "Protocol": "protocol",
    "Query": "search",
    "Request": "search",
    "Searcher": "search",
    "Signature": "signature",
    "Worker": "measure",
    "index": "measure",
    "load_worker": "measure",
    "read_adapter": "adapters",
}

__all__ = [
    "Adapter", "Answer", "Example", "Grid", "Hit", "Library", "LorascopeError", "Moments", "Outcome", "Preset",
    "PromptSet", "Protocol", "Query", "Request", "Searcher", "Signature", "Worker", "index", "load_worker",
    "read_adapter",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Import each public name when it is first asked for, so that ``import lorascope`` costs nothing."""
    if name in _HOMES:
        try:
            return getattr(import_module(f"lorascope.{_HOMES[name]}"), name)
        except ModuleNotFoundError as error:
            from lorascope.extras import missing

            raise missing(error) or error from error
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
