"""Questions about the adapters of a library, answered from their signatures."""

from lorascope.analysis.description import Description, Word, describe

__all__ = ["Description", "Word", "describe"]
