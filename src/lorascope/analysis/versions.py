"""Versions and epochs of one adapter in order: what grew, what turned, and where prompts are kept less."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, final

import numpy as np
from jaxtyping import Float64

from lorascope.analysis.cells import Cells, PromptTexts, cells_of, effect_share, kept_more, known_grid, prompt_kept
from lorascope.analysis.comparison import compare
from lorascope.analysis.jackknife import FEWEST_PROMPTS
from lorascope.library import Library, StoredAdapter
from lorascope.signature import Estimate

Kind = Literal["epoch", "step", "version"]
Texts = Float64[np.ndarray, "prompts d"]
_MARK = re.compile(
    r"(?P<name>.+?)(?:-(?P<kohya>\d{6})|[\s_.-]*(?:"
    r"(?<![a-z])(?:e|ep|epoch)[\s_-]*(?P<epoch>\d{1,6})"
    r"|(?<![a-z])steps?[\s_-]*(?P<step>\d{1,8})"
    r"|(?<![a-z])(?:v|ver|version)[\s_.-]*(?P<version>\d{1,3}(?:\.\d{1,3}){0,2})))",
    re.IGNORECASE,
)
_ALL_OF_IT = 0.85
"""From this share of the last one's effect on, along its Direction, a version does all that the last one does."""
_ALIKE = 0.9
"""From this cosine on, two versions do the same thing."""
_GROWN = 1.1
"""A Strength that is known to differ by this factor has grown or shrunk."""
_TURNED = 0.95
"""A Direction whose cosine with the one before is known to be below this has turned."""


@final
@dataclass(frozen=True)
class Version:
    """One version or epoch of a series; figures with 95% intervals, on the cells that all of them share.

    Attributes:
        key: of the adapter.
        name: of the adapter.
        label: what it is called in sentences, such as ``epoch 8``.
        strength: mean norm of the effects, CLIP units.
        consistency: mean cosine over all pairs of effects.
        cosine: of its Direction and that of the last one; None where it does not differ from chance.
        effect: how much of the last one's effect it has, along its Direction; None where that has none.
        kept: how much of what prompts ask for is still there.
        change: what is different from the one before, in words; "" for the first.
    """

    key: str
    name: str
    label: str
    strength: Estimate
    consistency: Estimate
    cosine: Estimate | None
    effect: Estimate | None
    kept: Estimate | None
    change: str


@final
@dataclass(frozen=True)
class VersionSeries:
    """The versions of one name, in order, on so many shared cells, and what to use, in a sentence."""

    name: str
    cells: int
    versions: tuple[Version, ...]
    sentence: str


@dataclass(frozen=True)
class _Member:
    """An adapter with what it is in its series, and its cells."""

    adapter: StoredAdapter
    label: str
    cells: Cells


def parted(stem: str) -> tuple[str, Kind | None, tuple[int, ...]]:
    """A file's name without its version, epoch or step; which of these it has; and its number.

    >>> parted("inkwell-000008"), parted("Ink_v1.5"), parted("inkwell")
    (('inkwell', 'epoch', (8,)), ('Ink', 'version', (1, 5)), ('inkwell', None, ()))
    """
    found = _MARK.fullmatch(stem)
    if found is None:
        return stem, None, ()
    groups: dict[str, Kind] = {"kohya": "epoch", "epoch": "epoch", "step": "step", "version": "version"}
    group = next(group for group in groups if found[group] is not None)
    return str(found["name"]), groups[group], tuple(int(part) for part in found[group].split("."))


def versions(
    library: Library, texts: PromptTexts, protocol: str = "", folder: Path | None = None
) -> list[VersionSeries]:
    """Compare the versions and epochs of each name.

    Args:
        library: whose evidence is compared; no image is made.
        texts: the embeddings of the Protocol's prompts.
        protocol: under which the adapters were measured, by name or digest; the active one if "".
        folder: only adapters that have a file in it.

    Raises:
        LibraryError: no such Protocol, no adapter in the folder, or the prompts of its evidence are not on this disk.

    >>> from lorascope.encoders.fake import FakeEncoder
    >>> texts = PromptTexts(FakeEncoder(), known_grid(library.protocols.find()))
    >>> [series.sentence for series in versions(library, texts)]
    []
    """
    stored = library.protocols.find(protocol)
    grid = known_grid(stored)
    found: list[VersionSeries] = []
    for name, adapters in _by_name(library.adapters.inside(folder).values()):
        measured = [
            _Member(adapter, label, cells)
            for label, adapter in adapters
            if (cells := cells_of(library, grid, stored.protocol.digest, adapter.key)) is not None
        ]
        if len(measured) > 1:
            found.append(_series(name, measured, texts))
    return found


def _by_name(adapters: Iterable[StoredAdapter]) -> list[tuple[str, list[tuple[str, StoredAdapter]]]]:
    """The adapters of each name that has several, in order, with their labels."""
    groups: dict[tuple[str, str], list[tuple[Kind | None, tuple[int, ...], StoredAdapter]]] = {}
    for adapter in adapters:
        name, kind, number = parted(adapter.name)
        groups.setdefault((name.casefold(), adapter.family), []).append((kind, number, adapter))
    found: list[tuple[str, list[tuple[str, StoredAdapter]]]] = []
    for members in groups.values():
        kinds: set[Kind] = {kind for kind, *_ in members if kind is not None}
        if len(members) < 2 or len(kinds) != 1:
            continue  # a version and an epoch of one name have no order
        (kind,) = kinds
        plain = (0,) if kind == "version" else (10**9,)  # trainers give the last epoch the plain name
        members.sort(key=lambda one: (one[1] or plain, one[2].key))
        named = [(_label(kind, number), adapter) for _, number, adapter in members]
        found.append((parted(members[0][2].name)[0], named))
    return found


def _label(kind: Kind, number: tuple[int, ...]) -> str:
    if number:
        return f"{kind} {'.'.join(map(str, number))}"
    return "the first version" if kind == "version" else "the last epoch" if kind == "epoch" else "the last step"


def _series(name: str, members: Sequence[_Member], texts: PromptTexts) -> VersionSeries:
    count = min(len(one.cells) for one in members)
    cells = [one.cells.first(count) for one in members]
    rows = texts.rows(cells[0].prompts)
    found: list[Version] = []
    for place, one in enumerate(members):
        here = cells[place]
        shared = effect_share(here.prompts, here.effects, cells[-1].effects)
        strength, consistency = here.strength_and_consistency
        change = _change(cells[place - 1], here, rows) if place else ""
        found.append(
            Version(
                one.adapter.key, one.adapter.name, one.label, strength, consistency,
                shared.cosine if shared else None, shared.share if shared else None, prompt_kept(here, rows), change,
            )
        )  # fmt: skip
    return VersionSeries(name, count, tuple(found), _sentence(found, cells, rows))


def _change(before: Cells, after: Cells, texts: Texts) -> str:
    """What two neighbours differ in, as far as it is known."""
    if len(texts) < FEWEST_PROMPTS:
        return "–"
    found = compare(before.prompts, before.effects, after.effects)
    parts: list[str] = []
    if found is not None:
        grown, shrunk = found.strength.lower > _GROWN, found.strength.upper < 1 / _GROWN
        parts += [f"grew: {found.strength.value:.1f} times the Strength"] if grown else []
        parts += [f"shrank: {found.strength.value:.1f} times the Strength"] if shrunk else []
        parts += [f"turned: cosine {found.agreement.value:.2f}"] if found.agreement.upper < _TURNED else []
    difference = kept_more(after, before, texts)
    if difference is not None and difference.upper < 0:
        parts.append(f"keeps less of the prompt ({difference.value:+.2f})")
    if difference is not None and difference.lower > 0:
        parts.append(f"keeps more of the prompt ({difference.value:+.2f})")
    return "; ".join(parts) or "no difference beyond chance"


def _sentence(found: Sequence[Version], cells: Sequence[Cells], texts: Texts) -> str:
    """Which one to use: the earliest of those that do all that the last one does and keep most of the prompt."""
    last = found[-1]
    if len(texts) < FEWEST_PROMPTS:
        return f"too few images of all of them: measure {FEWEST_PROMPTS} or more of each, by a finer --precision"
    if last.effect is None:
        return f"{last.label} has no effect that differs from chance"
    equal = [place for place, one in enumerate(found[:-1]) if _does_all(one)]
    better = [place for place in equal if (more := kept_more(cells[place], cells[-1], texts)) and more.lower > 0]
    if better:
        best = max(better, key=lambda place: kept.value if (kept := found[place].kept) else 0.0)
        kept = f"{_value(found[best].kept)} against {_value(last.kept)}"
        return f"{found[best].label} does all that {last.label} does and keeps the scene better ({kept})"
    if equal:
        return f"{found[equal[0]].label} already does all that {last.label} does, and keeps the scene as well"
    return f"only {last.label} does all of it: none of the others has {_ALL_OF_IT:.0%} of its effect"


def _does_all(one: Version) -> bool:
    """Whether a version has the last one's effect."""
    return (
        one.effect is not None and one.effect.value >= _ALL_OF_IT and one.cosine is not None
        and one.cosine.value >= _ALIKE
    )  # fmt: skip


def _value(estimate: Estimate | None) -> str:
    return "–" if estimate is None else f"{estimate.value:.2f}"
