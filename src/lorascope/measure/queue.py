"""Which files of some folders are to be measured: found, read as far as their headers, sorted out."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path

from lorascope.adapters import Adapter, read_adapter, read_header, scan
from lorascope.adapters.items import (
    IMAGE_ENCODER,
    Conditions,
    component_kind,
    condition_of,
    file_of,
    item_path,
    stamp_of,
)
from lorascope.errors import AdapterError, UnreadableAdapter, WrongBase, place_of
from lorascope.families import title_of
from lorascope.library import Library, Refusal
from lorascope.library.refusals import refusal
from lorascope.measure.shard import Shard
from lorascope.measure.stopping import StoppingRule


@dataclass
class SortedFiles:
    """What was found: adapters to measure, files known already (path to key) and files left out.

    ``vanished`` are places of files that were left out by an earlier run and are not there any more.
    """

    adapters: list[Adapter] = field(default_factory=list)
    known: dict[Path, str] = field(default_factory=dict)
    refused: list[Refusal] = field(default_factory=list)
    vanished: list[str] = field(default_factory=list)


def gather(
    paths: Iterable[Path],
    library: Library,
    family: str,
    done: Set[str],
    tell: Callable[[int], None],
    *,
    follow_links: bool = False,
    shard: Shard | None = None,
    conditions: Conditions | None = None,
) -> SortedFiles:
    """Sort out every candidate file under some folders.

    Args:
        paths: folders and files.
        library: files it knows by size and time, and that are ``done``, are not even opened.
        family: the base family of the Protocol.
        done: keys of adapters that need no more measuring.
        tell: called with the number of files seen so far.
        follow_links: follow links that lead out of the folders, too.
        shard: only files of this part; all by default.
        conditions: ways of conditioning for ControlNets and IP-Adapters; those that the library knows by default.
    """
    found = SortedFiles()
    stamps = library.adapters.stamps()
    given, met, others = list(paths), set[str](), set[str]()

    files = scan(given, lambda error: found.refused.append(refusal(error)), follow_links=follow_links)
    for count, path in enumerate(files, 1):
        tell(count)
        if shard is not None and not shard.holds(path):
            others.add(place_of(path))
            continue
        for item in _items(path, conditions or Conditions(), stamps):
            met.add(place_of(item))
            key = known_key(item, stamps)
            if key is not None and key in done:
                found.known[item] = key
                continue
            try:
                adapter = read_adapter(item)
                _check_family(adapter, family)
                found.adapters.append(adapter)
            except AdapterError as error:
                found.refused.append(refusal(error))
    roots = [place_of(path) for path in given]
    unseen = [refused.path for refused in found.refused if refused.code == UnreadableAdapter.code]
    found.vanished = [
        old
        for old in (refused.path for refused in library.refusals.all())
        if old not in met and str(file_of(old)) not in others and _under(old, roots) and not _under(old, unseen)
    ]
    return found


def _items(path: Path, conditions: Conditions, stamps: Mapping[str, tuple[str, int, int]]) -> list[Path]:
    """The items of a file: one for each way of conditioning if it is a ControlNet or an IP-Adapter, else itself.

    The image encoder of an IP-Adapter is none.
    """
    if path.parent.name == IMAGE_ENCODER:
        return []
    if place_of(path) in stamps:
        return [path]
    try:
        kind = component_kind(read_header(path).tensors)
    except AdapterError:  # which is refused where it is read
        kind = ""
    known = (condition_of(place) for place in stamps if kind and place.startswith(f"{place_of(path)}#"))
    return [item_path(path, way) for way in (conditions.of(kind) or known if kind else ())] or [path]


def _under(place: str, folders: Iterable[str]) -> bool:
    return any(place == folder or place.startswith(folder.rstrip(os.sep) + os.sep) for folder in folders)


def finished(library: Library, protocols: Iterable[str], rule: StoppingRule) -> set[str]:
    """Keys of adapters that need no more measuring under any of some Protocols.

    They were measured to the Precision or a finer one, and well enough for the thresholds as they are now; or well
    enough to be certain that the thresholds hide them.
    """
    return set.intersection(*(_finished(library, protocol, rule) for protocol in protocols))


def _finished(library: Library, protocol: str, rule: StoppingRule) -> set[str]:
    labels = library.signatures.precisions(protocol)
    if not rule.sequential:
        return {key for key, label in labels.items() if rule.precision.name == "glance" or label == "full"}
    # the intervals of a glance do not allow for repeated looks
    sequential = [key for key, label in labels.items() if label not in ("glance", "full")]
    done = {key for key, label in labels.items() if label == "full"}
    stored = library.signatures.get(protocol, sequential)
    return done | {key for key, one in stored.items() if rule.spares(one.signature, labels[key])}


def known_key(path: Path, stamps: Mapping[str, tuple[str, int, int]]) -> str | None:
    """The key of a file that looks as it did when it was read: same path, size and time. None for any other."""
    found = stamps.get(place_of(path))
    if found is None:
        return None
    key, size, mtime_ns = found
    try:
        return key if stamp_of(path) == (size, mtime_ns) else None
    except OSError:
        return None


def _check_family(adapter: Adapter, family: str) -> None:
    if adapter.family not in (family, "unknown"):
        raise WrongBase(adapter.path, title_of(adapter.family), title_of(family))
