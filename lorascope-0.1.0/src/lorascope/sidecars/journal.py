"""What was written into files of others: enough to undo it, and to know it again as ours."""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, final

from lorascope.errors import OutputError


@dataclass(frozen=True)
class Record:
    """One file that was written.

    Attributes:
        run: the run that wrote it, by its time.
        path: the file.
        before: its bytes in base64; None if there was no such file.
        after: the SHA-256 of what was written.
        values: what was written, by the name of the field, as JSON.
        undone: whether it was put back.
    """

    run: float
    path: str
    before: str | None
    after: str
    values: dict[str, Any]
    undone: bool = False

    @property
    def bytes_before(self) -> bytes | None:
        """The file as it was."""
        return None if self.before is None else base64.b64decode(self.before)


@final
class Journal:
    """A file of records, one a line; a record is on the disk before the file that it speaks of is written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._run = time.time()

    def add(self, path: Path, before: bytes | None, after: str, values: dict[str, Any]) -> None:
        """Record what is about to be written.

        Raises:
            OutputError: the journal cannot be written; then nothing else must be.
        """
        text = None if before is None else base64.b64encode(before).decode()
        self._append(Record(self._run, str(path), text, after, values))

    def undo(self, record: Record) -> None:
        """Record that a file was put back."""
        self._append(replace(record, undone=True))

    def last(self) -> list[Record]:
        """The records of the last run that was not undone, the last first."""
        undone = {(one.run, one.path) for one in self._records() if one.undone}
        left = [one for one in self._records() if (one.run, one.path) not in undone]
        return [one for one in reversed(left) if one.run == max(two.run for two in left)]

    def written(self) -> dict[tuple[str, str], Any]:
        """The value that was written last, by file and field."""
        found: dict[tuple[str, str], Any] = {}
        for one in self._records():
            for name, value in one.values.items():
                found[one.path, name] = value
        return found

    def _records(self) -> Iterator[Record]:
        try:
            lines = self._path.read_text("utf-8").splitlines()
        except FileNotFoundError:
            return
        for line in lines:
            try:
                yield Record(**json.loads(line))
            except (ValueError, TypeError):
                continue  # the end of a line that a power cut left behind: its file was not written

    def _append(self, record: Record) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("ab") as file:
                file.write(b"" if _ends_whole(self._path) else b"\n")
                file.write(json.dumps(asdict(record)).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise OutputError(
                f"the journal {self._path} cannot be written ({error.strerror}): free some space"
            ) from error


def _ends_whole(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(0, os.SEEK_END)
        if file.tell() == 0:
            return True
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
