"""Which fields of which tool's file say what. Each tool's own documents are the source."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from lorascope.sidecars.json_text import Place

PREFIX = "lorascope: "
"""Begins every tag and line that lorascope writes among those of others."""
Content = Mapping[str, Any]


@dataclass(frozen=True)
class AdapterNotes:
    """What is to be written beside an adapter; what is empty is not.

    Attributes:
        weight: the weight to start with.
        lowest: the lowest weight that is nearly as good.
        highest: the highest one.
        words: phrases that say what it does.
        triggers: its trigger words.
        notes: one line on its figures and what to know of it.
        preview: a PNG file, for where there is no preview.
        made_for: fields that a tool needs in a file of its own, where it has none yet.
    """

    weight: float | None = None
    lowest: float | None = None
    highest: float | None = None
    words: tuple[str, ...] = ()
    triggers: tuple[str, ...] = ()
    notes: str = ""
    preview: bytes = b""
    made_for: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True)
class Edit:
    """One value of a file, as it is and as it would be. ``mixed`` values keep what others have written in them."""

    place: Place
    before: Any
    after: Any
    mixed: bool = False

    @property
    def name(self) -> str:
        """The field, as people write it."""
        return ".".join(self.place)


@dataclass(frozen=True)
class Format:
    """The file of one tool: its ending, what is edited in it, and whether a new one needs fields of its own."""

    ending: str
    edits: Callable[[Content, AdapterNotes], Iterator[Edit]]
    needs_fields: bool = False


def _lora_manager(content: Content, notes: AdapterNotes) -> Iterator[Edit]:
    """ComfyUI-Lora-Manager: ``usage_tips`` is JSON within JSON; Civitai's words are in ``civitai``."""
    if notes.weight is not None:
        tips = known_tips(content)
        for name, value in (
            ("strength", notes.weight), ("strength_min", notes.lowest), ("strength_max", notes.highest)
        ):  # fmt: skip
            if value is not None:
                yield Edit(("usage_tips", name), tips.get(name), value)
    if notes.words:
        yield _tags(content, "tags", notes.words)
    if notes.triggers:
        civitai = content.get("civitai")
        before = civitai.get("trainedWords") if isinstance(civitai, dict) else None
        yield Edit(("civitai", "trainedWords"), before, list(notes.triggers))
    if notes.notes:
        yield _line(content, "notes", notes.notes)


def known_tips(content: Content) -> dict[str, Any]:
    """The tips in their text.

    Raises:
        ValueError: it is something else that somebody wrote.
    """
    value = content.get("usage_tips")
    try:
        tips = json.loads(value) if isinstance(value, str) and value.strip() else value or {}
    except (ValueError, RecursionError) as error:
        raise ValueError("'usage_tips' is no JSON") from error
    if not isinstance(tips, dict):
        raise ValueError("'usage_tips' is no object")
    return cast("dict[str, Any]", tips)


def _a1111(content: Content, notes: AdapterNotes) -> Iterator[Edit]:
    """A1111 and Forge. A file that holds Civitai's whole model is SD.Next's."""
    if "modelVersions" in content:
        raise ValueError("it is SD.Next's: use `--to sdnext`")
    if notes.weight is not None:
        yield Edit(("preferred weight",), content.get("preferred weight"), notes.weight)
    if notes.triggers:
        yield Edit(("activation text",), content.get("activation text"), ", ".join(notes.triggers))
    lines = [notes.notes] if notes.notes else []
    if notes.words:
        lines.insert(0, "; ".join(notes.words))
    if lines:
        yield _line(content, "notes", ". ".join(lines))


def _sd_next(content: Content, notes: AdapterNotes) -> Iterator[Edit]:
    """SD.Next, whose file is Civitai's answer about the model; it knows no weight."""
    if notes.words:
        yield _tags(content, "tags", notes.words)
    if notes.notes:
        yield _line(content, "description", notes.notes)


def _swarm(content: Content, notes: AdapterNotes) -> Iterator[Edit]:
    """SwarmUI: the fields of a header, all of them texts."""
    if notes.weight is not None:
        place = "modelspec.lora_default_weight"
        yield Edit((place,), content.get(place), f"{notes.weight:g}")
    if notes.triggers:
        place = "modelspec.trigger_phrase"
        yield Edit((place,), content.get(place), ", ".join(notes.triggers))
    if notes.words:
        place = "modelspec.tags"
        tags = str(content.get(place) or "")
        ours = (PREFIX + word for word in notes.words)
        kept = [tag.strip() for tag in tags.split(",") if tag.strip() and not tag.strip().startswith(PREFIX)]
        yield Edit((place,), content.get(place), ", ".join([*kept, *ours]), mixed=True)
    if notes.notes:
        yield _line(content, "modelspec.usage_hint", notes.notes)


def _tags(content: Content, name: str, words: Iterable[str]) -> Edit:
    """Others' tags and ours after them."""
    before = content.get(name)
    if before is not None and not isinstance(before, list):
        raise ValueError(f"{name!r} is no list")
    tags = cast("list[Any]", before or [])
    kept = [tag for tag in tags if not (isinstance(tag, str) and tag.startswith(PREFIX))]
    return Edit((name,), before, [*kept, *(PREFIX + word for word in words)], mixed=True)


def _line(content: Content, name: str, line: str) -> Edit:
    """Others' text and a line of ours after it."""
    before = content.get(name)
    if before is not None and not isinstance(before, str):
        raise ValueError(f"{name!r} is no text")
    kept = [one for one in (before or "").splitlines() if not one.startswith(PREFIX)]
    return Edit((name,), before, "\n".join([*kept, PREFIX + line]), mixed=True)


FORMATS: Mapping[str, Format] = {
    "lora-manager": Format(".metadata.json", _lora_manager, needs_fields=True),
    "a1111": Format(".json", _a1111),
    "sdnext": Format(".json", _sd_next),
    "swarmui": Format(".swarm.json", _swarm),
}
"""By the name of the tool. SD.Next's file is only added to: one without Civitai's answer would hide the lack."""
