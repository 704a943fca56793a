"""What an analysis says of an adapter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Flag = Literal[
    "no-effect", "overpowering", "erratic", "content-bound", "unseen", "prompt-lost", "trigger-needed", "trigger-idle",
    "scale-error", "partial", "prompts-cut", "note", "gone", "duplicate", "mislabelled", "mute", "contradicted",
]  # fmt: skip
FLAGS: tuple[Flag, ...] = get_args(Flag)


@dataclass(frozen=True)
class Finding:
    """Something that a person should know of an adapter.

    Attributes:
        key: of the adapter.
        name: of the adapter.
        flag: the kind of finding; docs/analysis.md says how often each is right.
        seen: what was seen, with its figures.
        remedy: what to do.
    """

    key: str
    name: str
    flag: Flag
    seen: str
    remedy: str
