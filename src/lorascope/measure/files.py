"""The file of an adapter that was measured, wherever it is now."""

from __future__ import annotations

from pathlib import Path

from lorascope.adapters import Delta, Names
from lorascope.adapters.items import file_of
from lorascope.errors import AdapterError, ChangedAdapter, UnreadableAdapter
from lorascope.library import StoredAdapter
from lorascope.measure.items import key_of, load_item, tensors_of


def open_measured(adapter: StoredAdapter) -> tuple[Path, bytes]:
    """Read an adapter's file: the first of its paths that still holds what was measured.

    Returns:
        The path and the file's bytes.

    Raises:
        ChangedAdapter: there are files at its paths, but each holds something else now.
        UnreadableAdapter: there is none.
    """
    changed: Path | None = None
    for path in map(Path, adapter.paths):
        try:
            data = file_of(path).read_bytes()
        except OSError:
            continue
        if _is_measured(adapter, path, data):
            return path, data
        changed = changed or path
    if changed is not None:
        raise ChangedAdapter(changed, "it is no longer the file that was measured", "Index its folder again")
    places = ", ".join(adapter.paths) or "nowhere: it was imported"
    raise UnreadableAdapter(adapter.name, f"its file is gone (it was at {places})", "Index the folder it is in now")


def measured_delta(adapter: StoredAdapter, names: Names) -> Delta:
    """What an adapter does to a base model, from the file that :func:`open_measured` finds.

    Raises:
        AdapterError: there is no such file any more, or it does not belong to this base model.
    """
    path, data = open_measured(adapter)
    return load_item(path, data, names, partial=True).called(adapter.facts.tokens)


def measured_tensors(adapter: StoredAdapter) -> str:
    """The digest of an adapter's tensors, from the file that :func:`open_measured` finds.

    Raises:
        AdapterError: there is no such file any more.
    """
    return tensors_of(*open_measured(adapter))


def _is_measured(adapter: StoredAdapter, path: Path, data: bytes) -> bool:
    """Whether a file has the adapter's digest, or at least the same tensors and settings."""
    try:
        if key_of(path, data) == adapter.key:
            return True
        known = adapter.facts.tensors
        return bool(known) and tensors_of(path, data) == known
    except AdapterError:
        return False
