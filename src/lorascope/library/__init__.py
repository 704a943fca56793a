"""The durable store."""

from lorascope.library.directions import Directions
from lorascope.library.evidence import Block, Evidence
from lorascope.library.facts import AdapterFacts
from lorascope.library.foreign import ForeignLibrary
from lorascope.library.marks import LONGEST_NOTE, Mark
from lorascope.library.matrix import Matrix
from lorascope.library.previews import BARE
from lorascope.library.published import export_carlos, published
from lorascope.library.recomputation import lost_previews
from lorascope.library.records import (
    Pin,
    Preview,
    Refusal,
    StoredAdapter,
    StoredProtocol,
    StoredSignature,
)
from lorascope.library.store import Library, default_path, library_if_any
from lorascope.library.transfer import Merged, merge, write_manifest
from lorascope.library.verification import Damage, verify

__all__ = [
    "AdapterFacts", "BARE", "Block", "Damage", "Directions", "Evidence", "ForeignLibrary", "LONGEST_NOTE", "Library",
    "Mark", "Matrix", "Merged", "Pin", "Preview", "Refusal", "StoredAdapter", "StoredProtocol", "StoredSignature",
    "default_path", "export_carlos", "library_if_any", "lost_previews", "merge", "published", "verify",
    "write_manifest",
]  # fmt: skip
