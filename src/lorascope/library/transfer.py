"""Libraries in and out: other libraries, a manifest of the corpus."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Container
from pathlib import Path
from typing import Any

from lorascope.caches import whole
from lorascope.library.records import StoredAdapter
from lorascope.library.store import Library


def merge(source: Path, library: Library) -> int:
    """Take over what another library knows and this one does not.

    Of two signatures of one adapter the one of more cells stays. Where both measured it with other trigger words, the
    other's blocks are not taken: a signature has one wording. What lies at a path is known better here, where it was
    looked at, than in a library that may be older.

    Returns:
        How many adapters the other library has. Merging twice changes nothing.

    Raises:
        LibraryError: the other one cannot be read.
    """
    with Library(source) as other:
        known = {stored.protocol.digest for stored in library.protocols.all()}
        for stored in reversed(other.protocols.all()):
            if stored.protocol.digest not in known:
                library.protocols.add(stored.protocol, stored.preset, origin=stored.origin)
            mean = other.protocols.baseline_mean(stored.protocol.digest)
            if mean is not None and library.protocols.baseline_mean(stored.protocol.digest) is None:
                library.protocols.put_baseline_mean(stored.protocol.digest, mean)
        adapters = other.adapters.all()
        here = library.adapters.get(adapters)
        seen = {*library.adapters.stamps(), *(refusal.path for refusal in library.refusals.all())}
        stamps = {path: (size, time) for path, (_, size, time) in other.adapters.stamps().items() if path not in seen}
        library.adapters.add([_joined(here.get(key), theirs, stamps) for key, theirs in adapters.items()], stamps)
        for stored in other.protocols.all():
            digest = stored.protocol.digest
            for key, found in other.signatures.get(digest, adapters).items():
                library.signatures.put(digest, found.precision, {key: found.signature})
        library.absorb(other, [key for key, mine in here.items() if _reworded(mine, adapters[key])])
        return len(adapters)


def _worn(adapter: StoredAdapter) -> dict[str, str]:
    """The trigger words that an adapter was measured with, by scene."""
    return adapter.facts.get("worn", {})


def _joined(mine: StoredAdapter | None, theirs: StoredAdapter, places: Container[str]) -> StoredAdapter:
    """What is known here, with some of the other's paths, and with its words for scenes that were not measured here."""
    paths = tuple(path for path in theirs.paths if path in places)
    if mine is None:
        return dataclasses.replace(theirs, paths=paths)
    facts = mine.facts | ({"worn": _worn(theirs) | _worn(mine)} if _worn(theirs) else {})
    return dataclasses.replace(mine, paths=paths, facts=facts)


def _reworded(mine: StoredAdapter, theirs: StoredAdapter) -> bool:
    return any(_worn(mine).get(scene, words) != words for scene, words in _worn(theirs).items())


def write_manifest(library: Library, path: Path) -> int:
    """Write what was let in by which rule, and why each other file was left out, as JSON.

    Returns:
        How many adapters it lists.

    Raises:
        OutputError: the file cannot be written.
    """
    adapters = library.adapters.all()
    manifest = {
        "rule": "every file that matches the base model of its Protocol and passes every check of the adapter reader",
        "protocols": [json.loads(stored.protocol.to_json()) for stored in library.protocols.all()],
        "runs": [run | {"request": _without_owner(run["request"])} for run in library.runs.all()],
        "adapters": [
            {"key": a.key, "name": a.name, "family": a.family, "paths": a.paths} | _coverage(a)
            for a in adapters.values()
        ],
        "left_out": [vars(refusal) for refusal in library.refusals.all()],
    }
    with whole(path) as partial:
        # an older run may have noted a path that is no UTF-8: what stands for its bytes is spelt as JSON spells it
        partial.write_text(json.dumps(manifest, indent=1, ensure_ascii=False), "utf-8", "backslashreplace")
    return len(adapters)


def _without_owner(request: dict[str, Any]) -> dict[str, Any]:
    """Which process did it is nobody else's business."""
    return {name: value for name, value in request.items() if name != "owner"}


def _coverage(adapter: StoredAdapter) -> dict[str, Any]:
    return {name: adapter.facts[name] for name in ("modules_matched", "modules_total") if name in adapter.facts}
