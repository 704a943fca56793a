"""Fetches the adapters of a draw, each with a file beside it that says what the site says."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from lorascope.caches import Note, quiet
from lorascope.errors import SiteError
from lorascope.library.published import PublishedRow
from lorascope.sites import Civitai, fetch

MOST_FAILURES: Final = 8
"""If so many adapters in a row cannot be had, it is the site, not the adapters."""


@dataclass(frozen=True)
class Delivery:
    """Files by version, in the order of the draw, and the reasons for versions that could not be had."""

    files: Mapping[int, Path]
    missing: tuple[str, ...]


def deliver(
    rows: Mapping[int, PublishedRow],
    strata: Sequence[Sequence[int]],
    count: int,
    folder: Path,
    site: Civitai,
    note: Note = quiet,
) -> Delivery:
    """Fetch so many adapters, one of each stratum in turn. What is there already is not fetched again.

    Raises:
        SiteError: one after another cannot be had.
    """
    found: dict[int, Path] = {}
    missing: list[str] = []
    turns, failures = deque(deque(stratum) for stratum in strata), 0
    while turns and len(found) < count:
        note("fetching adapters", len(found), count)
        stratum = turns.popleft()
        while stratum:
            version = stratum.popleft()
            try:
                found[version], failures = _fetched(rows[version], version, folder, site), 0
                break
            except SiteError as error:
                missing.append(f"{rows[version].adapter.name} (version {version}): {error}")
                failures += 1
                if failures == MOST_FAILURES:
                    raise
        if stratum:
            turns.append(stratum)
    note("", len(found), count)
    return Delivery(found, tuple(missing))


def _fetched(row: PublishedRow, version: int, folder: Path, site: Civitai) -> Path:
    """The file, and beside it what the site says: the words as they were published, all else as it is today."""
    path, adapter = folder / f"{version}.safetensors", row.adapter
    if path.exists() and path.with_suffix(".civitai.info").exists():
        return path
    remote = site.find(f"urn:air:sdxl:lora:civitai:{adapter.claimed('civitai_model') or 0}@{version}")
    words = {"name": adapter.claimed("title") or adapter.name, "description": adapter.claimed("description")}
    return fetch(replace(remote, name=path.name, version={**remote.version, "model": words}), folder)
