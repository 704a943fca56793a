"""Fetches the adapters of a draw, each with a file beside it that says what the site says."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from lorascope.caches import Note, whole
from lorascope.errors import SiteError
from lorascope.evaluation.run import quiet
from lorascope.library import AdapterFacts, StoredAdapter
from lorascope.library.published import PublishedRow
from lorascope.sites import Civitai, download
from lorascope.sites.web import token_of

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

    Args:
        rows: the published library by version.
        strata: versions, as :func:`lorascope.evaluation.replication.draw.draw` has them.
        count: how many.
        folder: where they go.
        site: has them.
        note: called with progress.

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
    path = folder / f"{version}.safetensors"
    beside = path.with_suffix(".civitai.info")
    if path.exists() and beside.exists():
        return path
    model = row.adapter.claimed("civitai_model") or 0
    remote = site.find(f"urn:air:sdxl:lora:civitai:{model}@{version}")
    folder.mkdir(parents=True, exist_ok=True)
    with whole(beside) as partial:
        partial.write_text(json.dumps(_information(row, version, site, remote.sha256)), "utf-8")
    return download(replace(remote, name=path.name), folder, token=token_of(site.name))


def _information(row: PublishedRow, version: int, site: Civitai, sha256: str) -> dict[str, object]:
    """What is said of an adapter, in the layout of Civitai: its words as published, its trigger words of today."""
    adapter, key = row.adapter, f"sha256:{sha256}"
    said = site.claims([StoredAdapter(key, adapter.name, adapter.family, (), AdapterFacts())]).get(key, {})
    return {
        "id": version,
        "modelId": said.get("civitai_model") or adapter.claimed("civitai_model"),
        "model": {"name": adapter.claimed("title") or adapter.name, "description": adapter.claimed("description")},
        "trainedWords": said.get("triggers", []),
        "baseModel": said.get("base_model"),
        "nsfwLevel": said.get("nsfw_level"),
    }
