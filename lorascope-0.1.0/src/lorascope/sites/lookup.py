"""Asks sites for the adapters of a library, batch by batch; each batch is kept before the next one is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

from lorascope.library import Library, StoredAdapter
from lorascope.sites.record import Site


@dataclass(frozen=True)
class LookUp:
    """How far a look-up has come."""

    site: str
    asked: int
    found: int
    total: int


def look_up(
    library: Library, adapters: Sequence[StoredAdapter], site: Site, *, days: int = 30, today: date | None = None
) -> Iterator[LookUp]:
    """Keep what a site says of adapters as claims of that site and day.

    Args:
        library: where they are kept; what is measured does not change.
        adapters: which ones.
        site: whom to ask.
        days: an answer of less than so many days ago is not asked for again.
        today: the day of the answers.

    Yields:
        How far it has come, after each batch.

    Raises:
        SiteError: the site does not answer as documented; earlier batches are kept.
    """
    day = today or date.today()
    oldest = (day - timedelta(days=days)).isoformat()
    left = [one for one in adapters if str(one.facts.sites.get(site.name, {}).get("date", "")) <= oldest]
    found = 0
    for start in range(0, len(left), site.batch):
        batch = left[start : start + site.batch]
        claims = site.claims(batch)
        with library.transaction():
            known = library.adapters.get(one.key for one in batch)  # a run may have changed them since
            changed = [
                replace(one, facts=replace(one.facts, sites={**one.facts.sites, site.name: {
                    "date": day.isoformat(), "claims": dict(claims.get(one.key, {})),
                }}))
                for one in known.values()
            ]  # fmt: skip
            library.adapters.add([replace(one, paths=()) for one in changed], {})
        found += len(claims)
        yield LookUp(site.name, start + len(batch), found, len(left))
