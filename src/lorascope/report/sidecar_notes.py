"""What is written beside adapters for other tools: from what was measured and found."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass, replace
from io import BytesIO
from pathlib import Path

from PIL import Image

from lorascope.analysis import advise, describe, findings, known_curves
from lorascope.families import title_of
from lorascope.library import BARE, Library, StoredAdapter
from lorascope.report.words import effect_words
from lorascope.search import Searcher
from lorascope.sidecars import AdapterNotes


@dataclass(frozen=True)
class Wanted:
    """Which notes are wanted."""

    weight: bool = False
    words: bool = False
    triggers: bool = False
    preview: bool = False
    notes: bool = False

    @property
    def anything(self) -> bool:
        """Whether any are."""
        return any(astuple(self))


def notes(
    library: Library, searcher: Searcher, adapters: Sequence[StoredAdapter], wanted: Wanted
) -> Iterator[tuple[Path, AdapterNotes]]:
    """What can be said about adapters, for each of their files that is still what was measured.

    Raises:
        LibraryError: phrases are wanted, and the library holds too few adapters for that.
    """
    digest, stamps = searcher.stored.protocol.digest, library.adapters.stamps()
    keys = [one.key for one in adapters if searcher.row(one.key) is not None]
    curves = known_curves(library, digest, keys) if wanted.weight else {}
    does = {one.key: one.words for one in describe(searcher, keys)} if wanted.words and keys else {}
    signatures = library.signatures.get(digest, keys)
    for one in adapters:
        if one.key not in signatures:
            continue
        advice = advise(curves[one.key]) if one.key in curves else None
        common = AdapterNotes(
            weight=advice.weight if advice else None,
            lowest=advice.low if advice else None,
            highest=advice.high if advice else None,
            words=tuple(word.phrase for word in does.get(one.key, ())),
            triggers=tuple(one.claimed("triggers") or ()) if wanted.triggers else (),
            notes=_line(library, searcher, one) if wanted.notes else "",
            preview=_preview(library, searcher, one.key) if wanted.preview else b"",
        )
        for path in _present(one.paths, stamps):
            yield path, _with_fields(common, path, one)


def _present(paths: Iterable[str], stamps: dict[str, tuple[str, int, int]]) -> Iterator[Path]:
    """The files that are there and have not changed since they were measured."""
    for text in paths:
        path = Path(text)
        try:
            status = path.stat()
        except OSError:
            continue
        if stamps.get(text, ("", 0, 0))[1:] == (status.st_size, status.st_mtime_ns):
            yield path


def _with_fields(common: AdapterNotes, path: Path, adapter: StoredAdapter) -> AdapterNotes:
    """Add the fields without which ComfyUI-Lora-Manager does not read a file of its own."""
    status = path.stat()
    fields = {
        "file_name": path.stem, "model_name": adapter.claimed("title") or path.stem, "file_path": path.as_posix(),
        "size": status.st_size, "modified": status.st_mtime, "sha256": adapter.key.removeprefix("sha256:"),
        "base_model": adapter.claimed("base_model") or title_of(adapter.family),
    }  # fmt: skip
    return replace(common, made_for=fields)


def _line(library: Library, searcher: Searcher, adapter: StoredAdapter) -> str:
    """Figures and findings in one line."""
    stored = searcher.stored
    signature = library.signatures.get(stored.protocol.digest, [adapter.key])[adapter.key].signature
    said = [f"{one.flag}: {one.seen}" for one in findings(library, stored.protocol.digest, [adapter.key])]
    return ". ".join([effect_words(signature, stored.preset.thresholds), *said]).replace("\n", " ")


def _preview(library: Library, searcher: Searcher, key: str) -> bytes:
    """The first stored scene, without the adapter and with it side by side, as PNG; nothing where none is stored."""
    protocol, previews = searcher.stored.protocol, library.previews
    adapted = previews.get(previews.scene(protocol, key), key, 0)
    bare = previews.get(previews.scene(protocol, BARE), BARE, 0)
    if adapted is None:
        return b""
    images = [Image.open(BytesIO(one.webp)).convert("RGB") for one in (bare, adapted) if one is not None]
    sheet = Image.new("RGB", (sum(image.width for image in images), images[0].height))
    for number, image in enumerate(images):
        sheet.paste(image, (sum(before.width for before in images[:number]), 0))
    written = BytesIO()
    sheet.save(written, "PNG")
    return written.getvalue()
