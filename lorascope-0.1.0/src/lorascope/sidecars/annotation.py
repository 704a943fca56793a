"""From notes on adapters to changes of sidecars: shown first, written whole, undone as they were."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from lorascope.adapters.sidecar import MAX_SIDECAR
from lorascope.caches import whole
from lorascope.errors import OutputError, UsageError
from lorascope.models import data_dir
from lorascope.sidecars.formats import FORMATS, AdapterNotes, Edit, known_tips
from lorascope.sidecars.journal import Journal, Record
from lorascope.sidecars.json_text import JsonText, Place

_PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".avif", ".mp4", ".webm")


@dataclass(frozen=True)
class Annotation:
    """One file that would be changed, or why it is not.

    Attributes:
        path: the file.
        edits: what changes in it; none for a preview.
        kept: fields that a person wrote otherwise, which stay.
        before: its bytes now; None if there is none.
        after: its bytes then; None if nothing changes.
        problem: why it cannot be changed; "" if it can.
    """

    path: Path
    edits: tuple[Edit, ...] = ()
    kept: tuple[Edit, ...] = ()
    before: bytes | None = None
    after: bytes | None = None
    problem: str = ""


@final
class Annotations:
    r"""Plans, writes and undoes changes of sidecars of one tool.

    Examples:
        >>> annotations = Annotations("a1111", journal=Path("journal.jsonl"))
        >>> plan = list(annotations.plan(Path("ink.safetensors"), AdapterNotes(weight=0.7)))
        >>> plan[0].after
        b'{\n    "preferred weight": 0.7\n}'
    """

    def __init__(self, tool: str, *, replace: bool = False, journal: Path | None = None) -> None:
        """Choose a tool.

        Args:
            tool: one of `FORMATS`.
            replace: also change what a person, or another program, has written.
            journal: the file that remembers what was written; the one in the data folder by default.

        Raises:
            UsageError: there is no such tool.
        """
        if tool not in FORMATS:
            raise UsageError(f"--to {tool}: choose one of {', '.join(FORMATS)}")
        self._tool, self._format, self._replace = tool, FORMATS[tool], replace
        self._journal = Journal(journal or data_dir() / "annotations.jsonl")
        self._ours = self._journal.written()

    def plan(self, adapter: Path, notes: AdapterNotes) -> Iterator[Annotation]:
        """What would change beside one adapter: its sidecar, and a preview where it has none."""
        path = adapter.with_name(adapter.stem + self._format.ending)
        try:
            yield from self._sidecar(path, notes)
        except (OSError, ValueError) as error:
            yield Annotation(path, problem=f"left as it is: {error}")
        if notes.preview and not _has_preview(adapter):
            yield Annotation(adapter.with_suffix(".png"), after=notes.preview)

    def write(self, annotation: Annotation) -> str:
        """Write one change; returns why it was not written, or "".

        Raises:
            OutputError: the journal cannot be written.
        """
        path, after = annotation.path, annotation.after
        if after is None:
            return annotation.problem
        if _read(path) != annotation.before:
            return "another program has just changed it: run the command again"
        values = {edit.name: edit.after for edit in annotation.edits}
        self._journal.add(path, annotation.before, hashlib.sha256(after).hexdigest(), values)
        return _put(path, after)

    def _sidecar(self, path: Path, notes: AdapterNotes) -> Iterator[Annotation]:
        before = _read(path)
        if before is None and self._tool == "sdnext":
            yield Annotation(path, problem="left out: SD.Next has not fetched its file yet")
            return
        text = JsonText.parse(before or b"")
        wanted = [edit for edit in self._format.edits(text.content, notes) if edit.before != edit.after]
        edits = tuple(edit for edit in wanted if self._may(path, edit))
        kept = tuple(edit for edit in wanted if edit not in edits)
        if not edits:
            if kept:
                yield Annotation(path, (), kept, before)
            return
        changes = list(_changes(text.content, edits))
        if before is None:
            changes = [
                ((name,), value) for name, value in notes.made_for.items() if self._format.needs_fields
            ] + changes
        yield Annotation(path, edits, kept, before, text.edited(changes))

    def _may(self, path: Path, edit: Edit) -> bool:
        """Whether a value may be changed: it is empty, ours, keeps what others wrote, or is to be replaced."""
        empty = edit.before in (None, "", [], {}, 0, "0")
        return empty or edit.mixed or self._replace or self._ours.get((str(path), edit.name)) == edit.before


def undo(journal: Path | None = None) -> list[tuple[Path, str]]:
    """Put back every file of the last run that wrote some; each with why it was not, or "".

    A file that was changed since is left as it is.
    """
    kept = Journal(journal or data_dir() / "annotations.jsonl")
    return [(Path(record.path), _put_back(kept, record)) for record in kept.last()]


def _put_back(journal: Journal, record: Record) -> str:
    path, before = Path(record.path), record.bytes_before
    now = _read(path)
    if now == before:
        journal.undo(record)  # it was never written, or is put back already
        return ""
    if now is None or hashlib.sha256(now).hexdigest() != record.after:
        return "it was changed since, and stays as it is"
    problem = ""
    if before is None:
        try:
            path.unlink()
        except OSError as error:
            problem = f"it cannot be removed ({error.strerror})"
    else:
        problem = _put(path, before)
    if not problem:
        journal.undo(record)
    return problem


def _changes(content: dict[str, Any], edits: Sequence[Edit]) -> Iterable[tuple[Place, Any]]:
    """The values that are written: the tips of Lora-Manager are gathered into their text."""
    tips = {edit.place[1]: edit.after for edit in edits if edit.place[0] == "usage_tips"}
    if tips:
        yield ("usage_tips",), json.dumps(known_tips(content) | tips, ensure_ascii=False)
    yield from ((edit.place, edit.after) for edit in edits if edit.place[0] != "usage_tips")


def _read(path: Path) -> bytes | None:
    """A file's bytes; None if there is none.

    Raises:
        ValueError: it is no file, or too large to be a sidecar.
        OSError: it cannot be read.
    """
    if not os.path.lexists(path):
        return None
    if not path.is_file():
        raise ValueError("it is no regular file")
    with path.open("rb") as file:
        data = file.read(MAX_SIDECAR + 1)
    if len(data) > MAX_SIDECAR:
        raise ValueError(f"it is larger than {MAX_SIDECAR} bytes")
    return data


def _put(path: Path, data: bytes) -> str:
    """Write a file whole, with the rights of the one it replaces; returns why that failed, or ""."""
    try:
        with whole(path) as partial:
            partial.write_bytes(data)
            with contextlib.suppress(FileNotFoundError):
                partial.chmod(path.stat().st_mode & 0o777)
    except OutputError as error:
        return str(error)
    return ""


def _has_preview(adapter: Path) -> bool:
    """Whether a tool shows some picture for it."""
    return any(
        adapter.with_name(f"{adapter.stem}{middle}{ending}").exists()
        for middle in ("", ".preview", ".swarmpreview", ".thumb")
        for ending in _PICTURES
    )
