"""Finding adapter files in folders, fast enough for sixty thousand of them."""

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

from lorascope.adapters.header import unreadable
from lorascope.errors import UnreadableAdapter

SAFETENSORS: Final = ".safetensors"
ADAPTERS: Final = (SAFETENSORS, ".sft")
CANDIDATES: Final = (*ADAPTERS, ".pt", ".ckpt", ".bin", ".pth")
"""Pickles are listed too, so that they can be named and refused instead of silently left out."""

Report = Callable[[UnreadableAdapter], None]


def scan(paths: Iterable[Path], report: Report | None = None, *, follow_links: bool = False) -> Iterator[Path]:
    """Yield every file that may be an adapter, each once, in sorted order.

    Folders are searched to any depth. Links are followed, to files and to folders, as long as they stay in the
    folders that are named; a folder that is met again, by a loop or by two links, is searched once. Hidden files and
    folders are left out.

    Args:
        paths: Files and folders. A file that is named here is yielded whatever it is called, even if it is
            missing: opening it says why.
        report: Called with an error that says what is left out (a folder that cannot be read, a link that leads
            elsewhere), why, and what to do; by default it is passed over.
        follow_links: Follow links that lead out of the folders, too.
    """
    seen: set[tuple[int, int]] = set()
    given: set[Path] = set()
    listed = list(paths)
    folders = [os.path.realpath(path) for path in listed if _is_given_folder(path)]
    roots = None if follow_links else tuple(folders)
    for path in listed:
        if _is_given_folder(path):
            for found in _walk(path, seen, report or (lambda _: None), roots):
                if found not in given:
                    given.add(found)
                    yield found
        elif path not in given:
            given.add(path)
            yield path


def _is_given_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False  # yielded as a file, so that opening it says why


def _walk(folder: Path, seen: set[tuple[int, int]], report: Report, roots: tuple[str, ...] | None) -> Iterator[Path]:
    """Search one folder and those below it, with a stack instead of recursion: folders can be very deep."""
    stack = [os.fspath(folder)]
    while stack:
        here = stack.pop()
        try:
            status = os.stat(here)  # noqa: PTH116 - a Path for each of 60,000 files costs more than the search
            if (identity := (status.st_dev, status.st_ino)) in seen:
                continue
            seen.add(identity)
            with os.scandir(here) as listing:
                inside = (entry for entry in listing if entry.name[0] != "." and _stays(entry, roots, report))
                entries = sorted(inside, key=lambda entry: entry.name)
        except OSError as error:
            report(unreadable(Path(here), error))
            continue
        yield from (Path(entry.path) for entry in entries if _is_candidate(entry))
        stack.extend(entry.path for entry in reversed(entries) if _is_folder(entry, report))


def _stays(entry: "os.DirEntry[str]", roots: tuple[str, ...] | None, report: Report) -> bool:
    """Tell whether an entry is, or links to, something in one of the folders that are named; None stands for any."""
    if roots is None or not entry.is_symlink():
        return True
    target = os.path.realpath(entry.path)
    if any(target == root or target.startswith(root.rstrip(os.sep) + os.sep) for root in roots):
        return True
    if _is_folder(entry, report) or entry.name.lower().endswith(CANDIDATES):
        reason = f"it links to {target}, outside of the folders that are named"
        report(UnreadableAdapter(Path(entry.path), reason, "Name that place, too, or use --follow-links"))
    return False


def _is_candidate(entry: "os.DirEntry[str]") -> bool:
    """Judge by the name, and let pipes and links that lead nowhere through: opening one says what is wrong with it."""
    if not entry.name.lower().endswith(CANDIDATES):
        return False
    try:
        return not entry.is_dir()
    except OSError:
        return True


def _is_folder(entry: "os.DirEntry[str]", report: Report) -> bool:
    try:
        return entry.is_dir()
    except OSError as error:
        if not entry.name.lower().endswith(CANDIDATES):
            report(unreadable(Path(entry.path), error))
        return False
