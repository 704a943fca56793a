"""What an adapter's author and its owner's tools say about it, each with the place where it is said.

Claims are words, not measurements: nothing in a signature depends on them, apart from the trigger words, if
the Protocol's policy asks for those.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Final, Generic, TypeVar, cast

from markupsafe import Markup

from lorascope.errors import HALF
from lorascope.families import lineage_in, named

T = TypeVar("T")

MAX_TAGS: Final = 50
"""Of a training set's captions; there can be thousands."""
MAX_WORDS: Final = 2_000
"""In one list of words. A pack of hundreds of characters stays far below it."""
MAX_LENGTH: Final = 20_000
"""Letters of one entry in a list of words."""
ARCHITECTURE_FIELDS: Final = ("ss_base_model_version", "modelspec.architecture")
"""In which trainers write into a header what they trained."""
MAX_PATH: Final = 255
"""Letters of the path of a base model that are looked at, from its end."""
_NO_BASE: Final = frozenset({"unknown", "other", "none", "n/a", "null"})
_TAG: Final = re.compile(r"<[a-z]+:[^<>]*>", re.IGNORECASE)
_WEIGHTED: Final = re.compile(r"^\(+([^():]+)(?::\s*[0-9.]+)?\)+$")


@dataclass(frozen=True, slots=True)
class Claim(Generic[T]):
    """A value, and the file or header field that it comes from."""

    value: T
    source: str


@dataclass(frozen=True, slots=True)
class Claims:
    """What is said about an adapter; None where nobody says anything.

    Attributes:
        title: Its name.
        description: Its author's text, which may be HTML.
        triggers: Words that call it up, in order.
        tags: What it is about: its author's tags, or else the most frequent words of its training captions.
        weight: The scale its author or its owner prefers.
        nsfw_level: Civitai's bit mask (1, 2, 4, 8, 16).
        base_model: What it was trained on, in the source's own words.
        lineage: The base model within its architecture, by the name in `lorascope.families`.
        civitai_model: Civitai's number of the model.
        civitai_version: Civitai's number of the version.
        notes: Sidecar files that could not be read, and why.
    """

    title: Claim[str] | None = None
    description: Claim[str] | None = None
    triggers: Claim[tuple[str, ...]] | None = None
    tags: Claim[tuple[str, ...]] | None = None
    weight: Claim[float] | None = None
    nsfw_level: Claim[int] | None = None
    base_model: Claim[str] | None = None
    lineage: Claim[str] | None = None
    civitai_model: Claim[int] | None = None
    civitai_version: Claim[int] | None = None
    notes: tuple[str, ...] = field(default=())

    def otherwise(self, other: "Claims") -> "Claims":
        """Return these claims, with ``other``'s where these have none; the stricter NSFW level; the notes of both."""
        missing = {
            one.name: getattr(other, one.name)
            for one in fields(self)
            if one.name != "notes" and getattr(self, one.name) is None
        }
        if self.nsfw_level and other.nsfw_level and other.nsfw_level.value > self.nsfw_level.value:
            missing["nsfw_level"] = other.nsfw_level
        return replace(self, **missing, notes=self.notes + other.notes)


def plain_text(html: str) -> str:
    """HTML as text: tags go, entities become characters, white space becomes single spaces.

    The one place where descriptions are cleaned.

    Examples:
        >>> plain_text("<p>Snow &amp; ice</p>")
        'Snow & ice'
    """
    return " ".join(Markup(html.replace("<", " <")).striptags().split())


def text_claim(value: object, source: str) -> Claim[str] | None:
    """Claim a text, if it is one and not blank."""
    return Claim(_mended(value).strip(), source) if isinstance(value, str) and value.strip() else None


def base_claim(value: object, source: str) -> Claim[str] | None:
    """Claim the name of a base model; "Unknown" and "Other" are what tools write where nobody chose one."""
    claim = text_claim(value, source)
    return None if claim is None or claim.value.lower() in _NO_BASE else claim


def lineage_claim(base: Claim[str] | None) -> Claim[str] | None:
    """Claim the lineage that a base model's name means, if it means one."""
    found = named(base.value) if base else None
    return Claim(found[1].name, base.source) if base and found and found[1] else None


def _lineage_of_file(base: Claim[str] | None) -> Claim[str] | None:
    found = lineage_in(base.value[-MAX_PATH:]) if base else ""
    return Claim(found, base.source) if base and found else None


def _stated_lineage(metadata: Mapping[str, str]) -> Claim[str] | None:
    """Claim what a header says beside its architecture; SDXL's is called "sdxl_base_v1-0" whatever was trained on."""
    stated = (lineage_claim(base_claim(metadata.get(key), f"header {key}")) for key in ARCHITECTURE_FIELDS)
    return next((claim for claim in stated if claim and claim.value != "sdxl-1.0"), None)


def trigger_claim(value: object, source: str) -> Claim[tuple[str, ...]] | None:
    """Claim trigger words as they are to stand in a prompt: without ``<lora:...>`` tags and without weights.

    Examples:
        >>> trigger_claim(["<lora:zxq:0.8>", "zxq, <lora:zxq:1>", "(zxq dress:1.2)"], "").value
        ('zxq', 'zxq dress')
    """
    claim = words_claim(value, source)
    return words_claim([_plain(word) for word in claim.value], source) if claim else None


def alternatives(words: tuple[str, ...]) -> tuple[str, ...]:
    """Return the entries that are lists of words themselves, if there are several: one outfit or character each.

    Examples:
        >>> alternatives(("zxq", "red dress, long hair", "armour, helmet"))
        ('red dress, long hair', 'armour, helmet')
    """
    lists = tuple(word for word in words if "," in word)
    return lists if len(lists) > 1 else ()


def _plain(word: str) -> str:
    word = _TAG.sub("", word)
    parts = (_WEIGHTED.sub(r"\1", part.strip()) for part in word.split(","))
    return ", ".join(part for part in parts if part)


def _mended(text: str) -> str:
    """A text that can be stored and printed: U+FFFD stands for what a tool cut off in the middle of an emoji."""
    return HALF.sub("\ufffd", text)


def number_claim(value: object, source: str) -> Claim[int] | None:
    """Claim a whole number from 1 to 18 digits. Civitai's numbers arrive as text in some files."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 18:
        value = int(value)
    # True is an int to Python
    return Claim(value, source) if isinstance(value, int) and value is not True and 0 < value < 10**18 else None


def weight_claim(value: object, source: str) -> Claim[float] | None:
    """Claim a preferred scale; 0 means "no preference" in A1111's files."""
    if not isinstance(value, (str, int, float)) or isinstance(value, bool):
        return None
    try:
        scale = float(value)
    except (ValueError, OverflowError):
        return None
    return Claim(scale, source) if 0 < abs(scale) < 100 else None


def words_claim(value: object, source: str) -> Claim[tuple[str, ...]] | None:
    """Claim a list of words or phrases; a single text is split at its commas. Repetitions and blanks go."""
    items: Iterable[object] = ()
    if isinstance(value, str):
        items = value.split(",")
    elif isinstance(value, list):
        items = cast("list[object]", value)
    items = list(items)
    if len(items) > MAX_WORDS or any(isinstance(word, str) and len(word) > MAX_LENGTH for word in items):
        raise ValueError(f"{source} has more than {MAX_WORDS} words, or one of more than {MAX_LENGTH} letters")
    words = [_mended(word).strip().strip(",").strip() for word in items if isinstance(word, str)]
    unique = tuple(dict.fromkeys(word for word in words if word))
    return Claim(unique, source) if unique else None


def header_claims(metadata: Mapping[str, str]) -> Claims:
    """Collect what a trainer wrote into the file's header: kohya's ``ss_*`` and Stability's ``modelspec.*`` fields."""

    def first(*keys: str) -> tuple[str | None, str]:
        key = next((key for key in keys if metadata.get(key, "").strip() not in {"", "None"}), keys[0])
        return metadata.get(key), f"header {key}"

    return Claims(
        title=text_claim(*first("modelspec.title", "ss_output_name", "name")),
        description=text_claim(*first("modelspec.description", "ss_training_comment")),
        triggers=trigger_claim(*first("modelspec.trigger_phrase", "ss_trigger_words", "trigger_words")),
        tags=words_claim(*first("modelspec.tags")) or frequent_tags(metadata.get("ss_tag_frequency")),
        weight=weight_claim(*first("modelspec.usage_weight", "preferred_weight")),
        base_model=base_claim(*first("ss_sd_model_name", "ss_base_model_version", "modelspec.architecture")),
        lineage=_lineage_of_file(base_claim(*first("ss_sd_model_name"))) or _stated_lineage(metadata),
    )


def frequent_tags(text: str | None) -> Claim[tuple[str, ...]] | None:
    """Claim the commonest caption words of kohya's ``ss_tag_frequency`` (JSON: folder, word, count)."""
    try:
        folders = json.loads(text or "")
    except (ValueError, RecursionError):
        return None
    counts: Counter[str] = Counter()
    for words in cast("dict[str, object]", folders).values() if isinstance(folders, dict) else ():
        for word, count in cast("dict[str, object]", words).items() if isinstance(words, dict) else ():
            counts[word.strip()] += count if isinstance(count, int) else 0
    return words_claim([word for word, _ in counts.most_common(MAX_TAGS)], "header ss_tag_frequency")
