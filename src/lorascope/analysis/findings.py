"""All findings of a library, or of some of its adapters."""

from __future__ import annotations

from collections.abc import Collection

from lorascope.analysis.duplicates import duplicates
from lorascope.analysis.finding import FLAGS, Finding
from lorascope.analysis.health import health
from lorascope.errors import QueryError
from lorascope.library import Library


def findings(library: Library, protocol: str = "", keys: Collection[str] | None = None) -> list[Finding]:
    """What every analysis says of adapters: those that need a look, and those that are copies.

    No image is made.

    Args:
        library: its signatures, evidence and files are looked at.
        protocol: whose signatures, by name or digest; the active one if "".
        keys: of the adapters; all by default. Of some, no file is read, so that it takes a fraction of a second;
            copies that only their weights give away are left out.

    Returns:
        The findings by name of the adapter; several for one adapter, the most important first.

    Raises:
        LibraryError: no such Protocol, or what is stored is damaged.

    >>> [(finding.flag, finding.seen) for finding in findings(library)]
    []
    """
    found = [*health(library, protocol, keys), *duplicates(library, protocol, keys=keys).findings]
    return sorted((one for one in found if keys is None or one.key in keys), key=lambda one: (one.name, one.key))


def flagged(library: Library, flag: str, protocol: str = "") -> set[str]:
    """The keys of the adapters of a library that have a flag.

    Raises:
        QueryError: there is no such flag.
        LibraryError: no such Protocol, or what is stored is damaged.
    """
    if flag not in FLAGS:
        raise QueryError(f"there is no flag {flag!r}: use one of {', '.join(FLAGS)}")
    found = duplicates(library, protocol).findings if flag == "duplicate" else health(library, protocol)
    return {finding.key for finding in found if finding.flag == flag}
