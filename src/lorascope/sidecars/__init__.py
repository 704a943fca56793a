"""Writes what was measured into the files that other tools put beside an adapter, without losing anything of theirs."""

from lorascope.sidecars.annotation import Annotation, Annotations
from lorascope.sidecars.formats import FORMATS, AdapterNotes, Edit

__all__ = ["FORMATS", "AdapterNotes", "Annotation", "Annotations", "Edit"]
