"""Adapters by what was found of them."""

from __future__ import annotations

from lorascope.analysis.duplicates import duplicates
from lorascope.analysis.finding import FLAGS
from lorascope.analysis.health import health
from lorascope.errors import QueryError
from lorascope.library import Library


def flagged(library: Library, flag: str, protocol: str = "") -> set[str]:
    """The keys of the adapters of a library that have a flag.

    Raises:
        QueryError: there is no such flag.
        LibraryError: no such Protocol, or what is stored is damaged.
    """
    if flag not in FLAGS:
        raise QueryError(f"there is no flag {flag!r}: use one of {', '.join(FLAGS)}")
    findings = duplicates(library, protocol).findings if flag == "duplicate" else health(library, protocol)
    return {finding.key for finding in findings if finding.flag == flag}
