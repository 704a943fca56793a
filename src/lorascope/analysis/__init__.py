"""Questions about the adapters of a library, answered from what was measured. None of them makes an image."""

from lorascope.analysis.audit import Audit, audit
from lorascope.analysis.comparison import BehaviourComparison, compare
from lorascope.analysis.description import Describer, Description, Word, describe
from lorascope.analysis.duplicates import AdapterPair, Copy, Duplicates, Group, duplicates
from lorascope.analysis.finding import FLAGS, Finding
from lorascope.analysis.findings import findings, flagged
from lorascope.analysis.fit import BaseFit, base_fit
from lorascope.analysis.health import health
from lorascope.analysis.report import LibraryReport, report
from lorascope.analysis.versions import Version, VersionSeries, versions
from lorascope.analysis.weight import Advice, Curve, CurvePoint, advise, known_curves

__all__ = [
    "FLAGS", "Advice", "Audit", "BaseFit", "BehaviourComparison", "Copy", "Curve", "CurvePoint", "Describer",
    "Description", "Duplicates", "Finding", "Group", "LibraryReport", "AdapterPair", "VersionSeries", "Version", "Word",
    "advise", "audit", "base_fit", "compare", "describe", "duplicates", "findings", "flagged", "health", "known_curves",
    "report", "versions",
]  # fmt: skip
