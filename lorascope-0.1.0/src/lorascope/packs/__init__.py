"""Packs: signatures with what is needed to trust them, in a folder that any static host can serve.

A pack holds the signatures of one Protocol, by SHA-256 of the files. Its manifest names the Protocol, the Executions
and the digest of every part, so that a signature over the manifest covers all of it.
"""

from lorascope.packs.agreement import Disagreement, disagreement
from lorascope.packs.intake import Intake, pull
from lorascope.packs.manifest import Manifest
from lorascope.packs.reader import PackReader, open_pack
from lorascope.packs.writer import Draft, draft

__all__ = ["Disagreement", "Draft", "Intake", "Manifest", "PackReader", "disagreement", "draft", "open_pack", "pull"]
