"""Where the files of a pack are: a folder, or an address that any static host serves."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, final, runtime_checkable

from lorascope.errors import LibraryError
from lorascope.library.download import fetch, fetch_range

SCHEMES = ("https://", "http://")


@runtime_checkable
class Place(Protocol):
    """Gives files of a pack by name, whole or in parts. Nothing of them is checked yet."""

    def copy(self, name: str, target: Path, limit: int) -> None:
        """Copy a whole file, of at most so many bytes.

        Raises:
            LibraryError: it is not there, cannot be read, or is larger.
        """
        ...

    def part(self, name: str, first: int, size: int) -> bytes:
        """Some bytes of a file.

        Raises:
            LibraryError: they cannot be read.
        """
        ...


@final
class Folder:
    """A pack on this disk."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def copy(self, name: str, target: Path, limit: int) -> None:
        """Copy a whole file."""
        source = self._path / name
        try:
            if source.stat().st_size > limit:
                raise LibraryError(f"{source} has more than {limit} bytes: no such file of a pack is so large")
            shutil.copyfile(source, target)
        except OSError as error:
            raise LibraryError(f"{source} cannot be read ({error.strerror}): give the folder of a pack") from error

    def part(self, name: str, first: int, size: int) -> bytes:
        """Some bytes of a file."""
        try:
            with (self._path / name).open("rb") as file:
                file.seek(first)
                return file.read(size)
        except OSError as error:
            raise LibraryError(f"{self._path / name} cannot be read ({error.strerror})") from error


@final
class Host:
    """A pack on a static host."""

    def __init__(self, address: str, *, insecure: bool) -> None:
        self._address, self._insecure = address.rstrip("/"), insecure

    def copy(self, name: str, target: Path, limit: int) -> None:
        """Download a whole file."""
        fetch(f"{self._address}/{name}", target, insecure=self._insecure, limit=limit)

    def part(self, name: str, first: int, size: int) -> bytes:
        """Download some bytes of a file."""
        return fetch_range(f"{self._address}/{name}", first, size, insecure=self._insecure)


def place_of_pack(source: str, *, insecure: bool = False) -> Place:
    """The place that a path or an address names: of a pack, or of its manifest."""
    base = source.removesuffix("/manifest.json")
    return Host(base, insecure=insecure) if base.startswith(SCHEMES) else Folder(Path(base))


def runs(groups: Sequence[int]) -> list[tuple[int, int]]:
    """Numbers in ascending order as first and last of each unbroken run, each of which is one request.

    >>> runs([1, 2, 3, 7])
    [(1, 3), (7, 7)]
    """
    found: list[tuple[int, int]] = []
    for group in groups:
        if found and found[-1][1] == group - 1:
            found[-1] = (found[-1][0], group)
        else:
            found.append((group, group))
    return found
