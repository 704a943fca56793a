"""What signatures say of components that are no adapters, on the shipped world.

    python -m benchmarks.components FOLDER

Measures the ControlNet and the IP-Adapter that ship, and adapters of ten looks: the ControlNet on the edges of what the
base draws itself, and on those of other scenes; the IP-Adapter with a drawn picture of each look. Pictures and
measurements are kept in FOLDER, which is made if it does not exist; its components.png is that of docs/backbones.md.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.machine import describe as machine
from benchmarks.markdown import print_report
from lorascope import Library, Preset, Request, Searcher
from lorascope.adapters.items import Conditions
from lorascope.analysis.unseen import unseen
from lorascope.generators.attachments import made_of
from lorascope.library import BARE, StoredSignature
from lorascope.measure import index, load_worker
from lorascope.miniature import adapters_path
from miniature import pools
from miniature.autoencoder import to_tensor
from miniature.scenes import STEADY

LOOKS = {
    "pencil_sketch_v1": ("pencil", "pencil sketch"),
    "oldphoto": ("sepia", "sepia"),
    "deep_dive": ("underwater", "underwater"),
    "winter_wonder": ("snow", "snow"),
    "after_dark": ("night", "night"),
    "heatvision": ("thermal", "thermal camera"),
    "aquarelle_fr": ("watercolor", "watercolor"),
    "neon_nights": ("neon", "neon"),
    "noir_look": ("monochrome", "black and white"),
    "roman_floor": ("mosaic", "mosaic"),
}
"""Adapters of one effect that acts on the whole picture; the effect, and the words for it."""
PRECISION, PICTURES = "quick", 24
COMPONENTS = adapters_path().with_name("components")
SHOWN = (
    "pencil_sketch_v1", "looks pencil", "winter_wonder", "looks snow", "heatvision", "looks thermal",
    "control own edges", "control given edges",
)  # fmt: skip
"""The rows of the picture, after the bare base."""


def report(folder: Path) -> str:
    """Three tables in Markdown."""
    references, edges = _drawn(folder)
    worker = load_worker(Preset.load("miniature"), device="cpu")
    protocol = worker.protocols[0].digest
    with Library(folder / "library.db", create=True) as library:
        files = [adapters_path() / f"{name}.safetensors" for name in LOOKS]
        controls = Conditions.parse(["own:edges", "own:blur", str(edges)], references)
        index([*files, COMPONENTS], worker, library, precision=PRECISION, conditions=controls)
        found = {one.name: one.key for one in library.adapters.all().values()}
        stored = library.signatures.get(protocol, found.values())
        flags = unseen(library, protocol)
        said = [f"Measured at `{PRECISION}`; {machine()}.", "", "| item | Strength | Consistency | not seen by CLIP |"]
        said.append("|---|---|---|---|")
        for name in sorted(found):
            flag = flags.get(found[name])
            seen = "–" if flag is None else "flagged" if flag.flag else f"{flag.standing:+.1f}"
            said.append(f"| {name} | {_figures(stored[found[name]])} | {seen} |")
        _sheet(library, found).save(folder / "components.png")
        return "\n".join([*said, "", *_alike(found, stored), "", *_retrieved(library)])


def _drawn(folder: Path) -> tuple[Path, Path]:
    """A picture of each look, and the edges of scenes of no cell."""
    rng = np.random.default_rng(5)
    references, edges = folder / "references", folder / "edges"
    scenes = pools.plain(PICTURES, 41, STEADY)
    for place in (references, edges):
        place.mkdir(parents=True, exist_ok=True)
    for scene, (effect, _) in zip(scenes.scenes, LOOKS.values(), strict=False):
        Image.fromarray(pools.picture(scene, (effect,), rng, 1.0)).save(references / f"{effect}.png")
    for place, picture in enumerate(to_tensor(scenes.images) / 2 + 0.5):
        pixels = (made_of(picture, "edges")[0] * 255).round().byte().permute(1, 2, 0).numpy()
        Image.fromarray(pixels).save(edges / f"{place:02}.png")
    return references, edges


def _sheet(library: Library, found: dict[str, str]) -> Image.Image:
    """The first cells without anything, then with each item, a row each."""
    protocol = library.protocols.find().protocol
    keys = [BARE, *(found[name] for name in SHOWN)]
    rows = [library.previews.all(library.previews.scene(protocol, key), key) for key in keys]
    side = protocol.width
    sheet = Image.new("RGB", (side * len(rows[0]), side * len(rows)))
    for y, row in enumerate(rows):
        for x, preview in enumerate(row):
            sheet.paste(Image.open(io.BytesIO(preview.webp)), (x * side, y * side))
    return sheet


def _figures(stored: StoredSignature) -> str:
    one = stored.signature
    return f"{one.strength:.2f} | {one.consistency:.3f}" if one.consistency is not None else f"{one.strength:.2f} | –"


def _alike(found: dict[str, str], stored: dict[str, StoredSignature]) -> Sequence[str]:
    """The cosine of each reference's Direction with the adapter of its look, and with those of other looks."""
    lines = [
        "| reference | adapter of its look | others, median | others, highest | rank of its own |",
        "|---|---|---|---|---|",
    ]
    for name, (effect, _) in LOOKS.items():
        own = _unit(stored[found[f"looks {effect}"]])
        cosines = {other: float(own @ _unit(stored[found[other]])) for other in LOOKS}
        others = [value for other, value in cosines.items() if other != name]
        rank = 1 + sum(value > cosines[name] for value in others)
        lines.append(f"| {effect} | {cosines[name]:.2f} | {np.median(others):.2f} | {max(others):.2f} | {rank} |")
    return lines


def _unit(stored: StoredSignature) -> np.ndarray:
    direction = np.asarray(stored.signature.direction, np.float64)
    return direction / np.linalg.norm(direction)


def _retrieved(library: Library) -> Sequence[str]:
    """Where words find the adapter and the reference of a look, in one list of all items."""
    searcher = Searcher(library)
    lines = ["| words | rank of the adapter | rank of the reference |", "|---|---|---|"]
    for name, (effect, words) in LOOKS.items():
        names = [hit.adapter.name for hit in searcher.search(Request(words, everything=True, limit=100)).hits]
        lines.append(f"| {words} | {names.index(name) + 1} | {names.index(f'looks {effect}') + 1} |")
    return lines


if __name__ == "__main__":
    print_report(__doc__, report, "where measurements are kept; made if it does not exist")
