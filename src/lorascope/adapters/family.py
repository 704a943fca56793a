"""Which architecture an adapter was made for, from the names and shapes of its modules.

It is advice for a person and a filter for a list. What decides whether an adapter can be measured is whether
its modules match the base model that is loaded.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

from lorascope.adapters.claims import ARCHITECTURE_FIELDS, base_claim
from lorascope.adapters.kinds import Module
from lorascope.families import ARCHITECTURES, Architecture, Mark, architecture, named, title_of

DENOISER: Final = "denoiser"
"""The image model, as long as it is not known whether it is a U-Net or a transformer."""

NAMES_KEPT: Final = 1 << 15
"""What an alias implies is kept: the same few thousand occur in every file of a library."""

_UNET: Final = re.compile(
    r"(?:^|[._])(down_blocks|up_blocks|mid_block|input_blocks|middle_block|output_blocks)(?=[._])"
)
_SPELLINGS: Final[Mapping[str, str]] = {
    "lora_": "kohya",
    "oft_": "kohya",
    "lycoris_": "lycoris",
    "base_model.model.": "peft base_model.model.",
    "diffusion_model.": "diffusion_model.",
    "model.diffusion_model.": "model.diffusion_model.",
    "unet.": "diffusers",
    "transformer.": "diffusers",
    "text_encoder": "diffusers",
}
_ORIGINAL: Final = re.compile(r"(?:^|[._])(?:double_blocks|single_blocks|joint_blocks)[._]")
_STREAM: Final = re.compile(
    r"(?:^|[._])transformer_blocks[._]\d+[._](?:attn[._](?:to_[qkv]|add_[qkv]_proj)$|ff_context)"
)
_TEXT: Final = re.compile(r"(?:lora_|lycoris_)te(\d)?_|(?:^|\.)text_encoder(?:s|_(\d))?[._]")
_SGM: Final = frozenset({"input_blocks", "middle_block", "output_blocks"})
_PREFIX: Final = re.compile(
    r"(?:base_model[._]model[._])?"
    r"(?:(?:lora|lycoris|oft)_(?:prior_)?(?:unet|transformer)_|lycoris_|(?:model\.)?diffusion_model\.|(?:unet|transformer)\.)?"
)


@lru_cache(maxsize=NAMES_KEPT)
def naming(alias: str) -> str:
    """Return how a module's alias is spelt: "kohya", "lycoris", "diffusers", "bare" and so on."""
    for prefix, name in _SPELLINGS.items():
        if alias.startswith(prefix):
            return name
    return "bare" if "." in alias else "unknown"


@lru_cache(maxsize=NAMES_KEPT)
def numbering(alias: str) -> str | None:
    """Return whose order an alias counts blocks in, "sgm" (the authors') or "diffusers", if it counts any."""
    if block := _UNET.search(alias):
        return "sgm" if block.group(1) in _SGM else "diffusers"
    if _ORIGINAL.search(alias):
        return "sgm"
    return "diffusers" if _STREAM.search(alias) or "single_transformer_blocks" in alias else None


def components(aliases: Iterable[str], family: str) -> dict[str, int]:
    """Count an adapter's modules by the part of the pipeline that they belong to, as diffusers calls it."""
    counts = Counter(component(alias) for alias in aliases)
    row = architecture(family)
    # names such as lora_unet_img_in do not show by themselves that their model is a transformer
    image = {name: counts.pop(name) for name in (DENOISER, "unet", "transformer") if name in counts}
    if image:
        counts[row.denoiser if row else list(image)[-1]] = sum(image.values())
    return dict(sorted(counts.items()))


@lru_cache(maxsize=NAMES_KEPT)
def component(alias: str) -> str:
    """Return the part of the pipeline that one alias seems to belong to."""
    if "clip_g" in alias:
        return "text_encoder_2"
    if "t5xxl" in alias:
        return "text_encoder_3"
    if text := _TEXT.search(alias):
        return f"text_encoder_{text.group(1) or text.group(2)}".removesuffix("_None").removesuffix("_1")
    if _UNET.search(alias):
        return "unet"
    if alias.startswith(("transformer.", "lora_transformer_")) or numbering(alias):
        return "transformer"
    return "text_encoder" if "text_model" in alias else DENOISER


@lru_cache(maxsize=NAMES_KEPT)
def flat_name(alias: str) -> str:
    """Return an alias without its format's prefix and with underscores for dots, as the marks are written."""
    part = component(alias)
    if not part.startswith("text"):
        return alias[_PREFIX.match(alias).end() :].replace(".", "_")  # pyright: ignore[reportOptionalMemberAccess]
    kohya = alias.startswith(("lora_te_", "lycoris_te_"))
    number = "" if kohya else part.removeprefix("text_encoder").strip("_") or "1"
    match = _TEXT.search(alias)
    local = alias[match.end() :] if match else alias
    return f"te{number}_{local.replace('.', '_')}"


class Shaped(NamedTuple):
    """A module's name, and what is known about its weight."""

    alias: str
    inputs: int | None
    rows: int | None


@dataclass(frozen=True, slots=True)
class Recognition:
    """What an adapter was made for.

    Attributes:
        family: The architecture's name, or "unknown".
        lineage: A lineage that shows in the shapes, or empty.
        notes: What a person should know of how it was settled.
        conflict: The titles of two groups of architectures that its modules belong to, if no single one has them all.
    """

    family: str
    lineage: str = ""
    notes: tuple[str, ...] = ()
    conflict: tuple[str, str] | None = None


def shaped(modules: Mapping[str, Module]) -> Iterator[Shaped]:
    """Yield the modules of an adapter as `recognise` takes them."""
    for alias, module in modules.items():
        yield Shaped(alias, module.inputs, module.rows)


def recognise(modules: Iterable[Shaped], metadata: Mapping[str, str]) -> Recognition:
    """Settle on one architecture by names and shapes; the header decides only where they leave it open."""
    listed = list(modules)
    spoken = list(_spoken(metadata))
    evidence = _Evidence()
    image = [module for module in listed if not component(module.alias).startswith("text")]
    evidence.add(image)
    if not evidence.candidates() and not evidence.odd:
        evidence.add([module for module in listed if component(module.alias).startswith("text")])
    if conflict := evidence.conflict or evidence.glued():
        return Recognition("unknown", conflict=conflict)
    family, note = _settle(evidence, [row.name for row, _ in spoken if row])
    notes = [note] if note else []
    for row, said in spoken:
        if row is None:
            notes.append(f"its header names an architecture that is not known ({said})")
        elif row.name != family and (evidence.candidates() or evidence.odd):
            what = f"its names and shapes are those of {title_of(family)}" if family != "unknown" else "no shape agrees"
            notes.append(f"its header says {row.title} ({said}), but {what}")
    return Recognition(family, _lineage(architecture(family), listed), tuple(notes))


class _Evidence:
    """What the modules seen so far are possible in."""

    def __init__(self) -> None:
        self.explained: dict[str, set[str]] = {}
        """Architectures to the modules that they have, too."""
        self.excluded: set[str] = set()
        """Architectures that give some module another shape."""
        self.complete: set[str] = set()
        """Architectures whose last block was seen."""
        self.odd: list[str] = []
        """Modules with a known name and a shape that no architecture gives them."""
        self.conflict: tuple[str, str] | None = None
        self._alike: dict[str, frozenset[str]] = {}

    def add(self, modules: Iterable[Shaped]) -> None:
        """Take more modules into account."""
        for alias, inputs, rows in modules:
            hits = _hits(alias)
            fits = [hit for hit in hits if hit.mark.fits(inputs, rows, hit.block)]
            possible = frozenset(hit.family for hit in fits)
            self.excluded.update(hit.family for hit in hits if hit.family not in possible)
            self.odd += [alias] if hits and not fits else []
            for hit in fits:
                self.explained.setdefault(hit.family, set()).add(alias)
                if _UNET.search(alias):  # the widths of transformers are mixed in many ways, also in unknown ones
                    self._compare(hit.mark.name, possible)
                if hit.mark.blocks and hit.block == hit.mark.blocks - 1:
                    self.complete.add(hit.family)

    def _compare(self, name: str, possible: frozenset[str]) -> None:
        """Notice modules of one name and of widths that no single architecture has."""
        before = self._alike.setdefault(name, possible)
        if before.isdisjoint(possible) and self.conflict is None:
            self.conflict = (_titles(before), _titles(possible))
        self._alike[name] = before & possible or before

    def candidates(self) -> list[str]:
        """Return the architectures that have most of the modules, among those that contradict none."""
        counts = {name: len(found) for name, found in self.explained.items() if name not in self.excluded}
        most = max(counts.values(), default=0)
        # one that has fewer of the modules than are odd has only some names in common with what this is
        return [row.name for row in ARCHITECTURES if counts.get(row.name) == most >= len(self.odd)]

    def glued(self) -> tuple[str, str] | None:
        """Return two architectures that both have a good part of the modules, and not the same ones."""
        for name in self.candidates():
            own = self.explained[name]
            for other, found in self.explained.items():
                if other not in self.excluded and 2 * len(found - own) >= len(own):
                    return title_of(name), title_of(other)
        return None


class _Hit(NamedTuple):
    """A mark that a name matches, and the number of the block in that name."""

    family: str
    mark: Mark
    block: int | None


@lru_cache(maxsize=NAMES_KEPT)
def _hits(alias: str) -> tuple[_Hit, ...]:
    flat = flat_name(alias)
    return tuple(
        _Hit(row.name, mark, int(match.group(1)) if mark.blocks and match.groups() else None)
        for row in ARCHITECTURES
        for mark in row.marks
        if (match := mark.matches(flat))
    )


def _settle(evidence: _Evidence, spoken: list[str]) -> tuple[str, str]:
    """Return the architecture's name and what has to be said about the choice, or nothing."""
    candidates = evidence.candidates()
    if not candidates:
        if not evidence.odd:
            return (spoken[0] if spoken else "unknown"), ""
        # a width that no known architecture has cannot be one of theirs, whatever the header says
        known = next((name for name in spoken if not _row(name).marks), "unknown")
        return known, "" if known != "unknown" else f"no known architecture gives {evidence.odd[0]!r} its shape"
    if chosen := next((name for name in spoken if name in candidates), None):
        return chosen, ""
    names = [name for name in candidates if name in evidence.complete] or candidates
    roots = [name for name in names if set(_row(name).like).isdisjoint(names)]
    if len(roots) != 1:
        return "unknown", f"its names and shapes fit {_titles(names)}"
    sure = len(names) == 1 or roots[0] in evidence.complete or _row(roots[0]).denoiser == "unet"
    others = _titles(name for name in names if name != roots[0])
    return roots[0], "" if sure else f"its names and shapes fit {others}, too"


def _row(name: str) -> Architecture:
    row = architecture(name)
    assert row is not None
    return row


def _titles(names: Iterable[str]) -> str:
    return " or ".join(sorted(title_of(name) for name in names))


def _lineage(row: Architecture | None, modules: Iterable[Shaped]) -> str:
    """Return the one lineage that shows in the modules, if one does."""
    marked = [lineage for lineage in row.lineages if lineage.marks] if row else []
    shown: set[str] = set()
    for alias, inputs, rows in modules if marked else ():
        flat = flat_name(alias)
        for lineage in marked:
            for mark in lineage.marks:
                match = mark.matches(flat)
                block = int(match.group(1)) if match and mark.blocks and match.groups() else None
                if match and mark.fits(inputs, rows, block):
                    shown.add(lineage.name)
    return next(iter(shown)) if len(shown) == 1 else ""


def _spoken(metadata: Mapping[str, str]) -> Iterator[tuple[Architecture | None, str]]:
    """Yield what the header calls its architecture, None if that is no known one, and where."""
    for key in ARCHITECTURE_FIELDS:
        if claim := base_claim(metadata.get(key), key):
            found = named(claim.value)
            yield found and found[0], f"{key}: {claim.value!r:.80}"
