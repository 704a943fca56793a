"""Textual inversions: vectors that stand for a word, in a file of their own or in that of an adapter.

Layouts that are read: diffusers' (one tensor, called by its token), A1111's (``emb_params`` or ``string_to_param.*``),
those with a tensor for each of SDXL's text encoders (``clip_l`` and ``clip_g``; ``text_encoders_0`` and
``text_encoders_1``), and the last three in an adapter's file under ``bundle_emb.NAME.``.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from lorascope.adapters.header import Header
from lorascope.adapters.keys import Grouped
from lorascope.errors import MalformedAdapter

MOST_VECTORS: Final = 75
"""What fits into a prompt of CLIP."""
_ENCODERS: Final[Mapping[str, str]] = {
    "emb_params": "text_encoder", "clip_l": "text_encoder", "text_encoders_0": "text_encoder",
    "clip_g": "text_encoder_2", "text_encoders_1": "text_encoder_2", "t5xxl": "text_encoder_3",
}  # fmt: skip
_PARAM: Final = "string_to_param."
_FAMILIES: Final[Mapping[tuple[int, ...], str]] = {(768,): "sd15", (1024,): "sd2", (768, 1280): "sdxl"}
"""Widths of the text encoders' words, in the encoders' order."""


@dataclass(frozen=True, slots=True)
class InversionKeys:
    """A textual inversion as a header shows it.

    Attributes:
        token: The word by which prompts call it.
        keys: Text encoder, as diffusers calls it, to the key of its vectors; sorted.
        widths: Text encoder to the length of a vector.
        vectors: How many there are in each text encoder.
    """

    token: str
    keys: Mapping[str, str]
    widths: Mapping[str, int]
    vectors: int

    @property
    def family(self) -> str:
        """The architecture that has text encoders of these widths, or "unknown"."""
        return _FAMILIES.get(tuple(self.widths.values()), "unknown")


@dataclass(frozen=True)
class Inversion:
    """A textual inversion with its vectors.

    Attributes:
        token: The word by which prompts call it.
        vectors: Text encoder to its vectors, a tensor of shape (vectors, width).
        alone: Whether the file holds nothing else. One that comes with an adapter is its trigger, and always acts in
            full.
    """

    token: str
    vectors: Mapping[str, Any]
    alone: bool

    def __len__(self) -> int:
        return len(next(iter(self.vectors.values())))

    def spelt(self, prompt: str, words: str) -> str:
        """Return a prompt with other words for the last place where it names the token, as it is if there is none.

        Args:
            prompt: The whole text.
            words: What stands for the token; with "", the comma before it goes, too.

        Examples:
            >>> Inversion("ink", {}, alone=True).spelt("ink on paper, INK, red", "<0> <1>")
            'ink on paper, <0> <1>, red'
        """
        *_, last = [None, *_mentions(prompt, self.token)]
        if last is None:
            return prompt
        between = last.group(1) if last.group(1) and words else ""
        return prompt[: last.start()] + between + words + prompt[last.end() :]

    def called(self, token: str) -> "Inversion":
        """Return the same under another word."""
        return replace(self, token=token)


def is_named(token: str, prompt: str) -> bool:
    """Tell whether a prompt names a token, by itself and in whichever case."""
    return any(_mentions(prompt, token))


def _mentions(prompt: str, token: str) -> Iterator[re.Match[str]]:
    """Yield the places of a token, each with the comma before it."""
    return re.finditer(rf"(,\s*)?(?<!\w){re.escape(token)}(?!\w)", prompt, re.IGNORECASE)


def read_inversions(header: Header, grouped: Grouped, path: Path) -> tuple[tuple[InversionKeys, ...], tuple[str, ...]]:
    """Return the textual inversions of a file, and the keys that begin like theirs and belong to none.

    The file's name is the token where the layout has none.

    Raises:
        MalformedAdapter: Their vectors are no matrices of one length, too many for a prompt, or no numbers.
    """
    found: list[InversionKeys] = []
    strays: list[str] = []
    for token, parts in (grouped.bundled or dict(_alone(header, path))).items():
        keys = {encoder: key for part, key in parts.items() if (encoder := _encoder(part, token))}
        strays += [key for key in parts.values() if key not in keys.values()]
        if keys:
            found.append(_checked(header, token, dict(sorted(keys.items())), path))
    return tuple(found), tuple(strays)


def _encoder(part: str, token: str) -> str | None:
    return "text_encoder" if part.startswith(_PARAM) or part == token else _ENCODERS.get(part)


def _alone(header: Header, path: Path) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Yield the token and the tensors of a file that is a textual inversion."""
    names = list(header.tensors)
    if names and all(_encoder(name, "") for name in names):
        yield path.stem, {name: name for name in names}
    elif len(names) == 1 and "." not in names[0] and len(header.tensors[names[0]].shape) in (1, 2):
        yield names[0], {names[0]: names[0]}


def _checked(header: Header, token: str, keys: Mapping[str, str], path: Path) -> InversionKeys:
    shapes: dict[str, tuple[int, ...]] = {}
    for encoder, key in keys.items():
        info = header.tensors[key]
        shapes[encoder] = info.shape if len(info.shape) > 1 else (1, *info.shape)
        if "F" not in info.dtype or len(shapes[encoder]) != 2 or 0 in shapes[encoder]:
            reason = f"tensor {key!r} ({info.dtype} {list(info.shape)}) holds no vectors of a textual inversion"
            raise MalformedAdapter(path, reason, "Export it again from its trainer")
    counts = {encoder: shape[0] for encoder, shape in shapes.items()}
    if len(set(counts.values())) > 1 or max(counts.values()) > MOST_VECTORS:
        reason = f"the textual inversion {token!r} has {' and '.join(map(str, counts.values()))} vectors"
        raise MalformedAdapter(path, reason, f"Equal numbers, and at most {MOST_VECTORS}, are read: export it again")
    widths = {encoder: shape[1] for encoder, shape in shapes.items()}
    return InversionKeys(token, keys, widths, next(iter(counts.values())))
