"""All findings of a library, or of some of its adapters."""

from __future__ import annotations

from collections.abc import Collection

from lorascope.analysis.audit import audit
from lorascope.analysis.duplicates import duplicates
from lorascope.analysis.finding import FLAGS, Finding
from lorascope.analysis.health import health
from lorascope.encoders.encoding import Shifts
from lorascope.errors import LibraryError, ModelError, QueryError
from lorascope.library import Library, StoredProtocol
from lorascope.search import Searcher


def findings(library: Library, protocol: str = "", keys: Collection[str] | None = None) -> list[Finding]:
    """What every analysis says of adapters: what needs a look, what are copies, whose claims do not hold.

    No image is made, and no phrase is encoded: claims take part once ``audit`` has encoded their words.

    Args:
        library: its signatures, evidence and files are looked at.
        protocol: whose signatures, by name or digest; the active one if "".
        keys: of the adapters; all by default. Of some, no file is read, so that it takes a fraction of a second;
            copies that only their weights give away are left out.

    Returns:
        The findings by name of the adapter; several for one adapter, the most important first.

    Raises:
        LibraryError: no such Protocol, or what is stored is damaged.

    >>> {finding.flag for finding in findings(library)}
    {'note'}
    """
    found = [*health(library, protocol, keys), *duplicates(library, protocol, keys=keys).findings]
    found += _of_claims(library, protocol, keys)
    return sorted((one for one in found if keys is None or one.key in keys), key=lambda one: (one.name, one.key))


def flagged(library: Library, flag: str, protocol: str = "") -> set[str]:
    """The keys of the adapters of a library that have a flag.

    Raises:
        QueryError: there is no such flag.
        LibraryError: no such Protocol, or what is stored is damaged.
    """
    if flag not in FLAGS:
        raise QueryError(f"there is no flag {flag!r}: use one of {', '.join(FLAGS)}")
    if flag == "duplicate":
        found = duplicates(library, protocol).findings
    elif flag in ("mislabelled", "mute", "contradicted"):
        found = [finding for one in audit(Searcher(library, protocol=protocol)) for finding in one.findings]
    else:
        found = health(library, protocol)
    return {finding.key for finding in found if finding.flag == flag}


def audited(searcher: Searcher, keys: Collection[str] | None = None) -> list[Finding]:
    """What an audit finds; nothing where words would have to be encoded, or where there are too few adapters."""
    try:
        known = None if keys is None else [key for key in keys if key in searcher.matrix.places]
        return [finding for one in audit(searcher, known) for finding in one.findings]
    except (ModelError, LibraryError):
        return []


def _of_claims(library: Library, protocol: str, keys: Collection[str] | None) -> list[Finding]:

    def refused(stored: StoredProtocol) -> Shifts:
        raise ModelError(f"{stored.protocol}: no phrase is encoded here")

    try:
        return audited(Searcher(library, protocol=protocol, query_encoder=refused), keys)
    except LibraryError:  # no signatures yet
        return []
