"""Questions about the adapters of a library, answered from what was measured. None of them makes an image."""

from lorascope.analysis.audit import Audit, audit
from lorascope.analysis.comparison import BehaviourComparison, compare
from lorascope.analysis.description import Description, Word, describe
from lorascope.analysis.duplicates import AdapterPair, Copy, Duplicates, Group, duplicates
from lorascope.analysis.finding import FLAGS, Finding
from lorascope.analysis.findings import findings, flagged
from lorascope.analysis.health import health
from lorascope.analysis.weight import Advice, Curve, CurvePoint, advise, known_curves

__all__ = [
    "FLAGS",
    "Advice",
    "Audit",
    "BehaviourComparison",
    "Copy",
    "Curve",
    "CurvePoint",
    "Description",
    "Duplicates",
    "Finding",
    "Group",
    "AdapterPair",
    "Word",
    "advise",
    "audit",
    "compare",
    "describe",
    "duplicates",
    "findings",
    "flagged",
    "health",
    "known_curves",
]
