"""What comes out of a library: plain records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64

from lorascope.protocol import SCREENED, Preset, Protocol
from lorascope.signature import Signature


@dataclass(frozen=True)
class StoredProtocol:
    """A Protocol of the library, the preset it came from, and where its signatures were measured ("" for here)."""

    protocol: Protocol
    preset: Preset
    origin: str
    adapters: int


@dataclass(frozen=True)
class StoredAdapter:
    """An adapter of the library: its key (``sha256:...`` or ``civitai:MODEL@VERSION``), name, places and facts."""

    key: str
    name: str
    family: str
    paths: tuple[str, ...]
    facts: dict[str, Any]


@dataclass(frozen=True)
class StoredSignature:
    """A signature with the Precision it was measured to and when (seconds since 1970).

    The precision may also be ``screened`` with a threshold, see :data:`lorascope.protocol.SCREENED`.
    """

    signature: Signature
    precision: str
    measured: float

    @property
    def screened(self) -> str:
        """The threshold by which measuring ended early, as ``strength>9.8``, or ""."""
        label, _, threshold = self.precision.partition(" ")
        return threshold if label == SCREENED else ""


@dataclass(frozen=True)
class Preview:
    """One kept picture: where it stands among the pinned cells, its prompt and seed, and the WebP file."""

    place: int
    prompt: str
    seed: int
    webp: bytes


@dataclass(frozen=True)
class Refusal:
    """A file that was left out, with the reason and the remedy."""

    path: str
    code: str
    reason: str
    remedy: str


@dataclass(frozen=True)
class Matrix:
    """All signatures of one Protocol, ready to be ranked. Rows are in a fixed order (by key).

    ``directions`` (n, d) are unit vectors, a Direction of length 0 stays 0. ``strength`` and ``consistency`` are
    (n,), NaN where undefined; the intervals (n, 2), infinite where unknown.
    """

    protocol: str
    keys: tuple[str, ...]
    names: tuple[str, ...]
    families: tuple[str, ...]
    directions: Float32[np.ndarray, "n d"]
    strength: Float64[np.ndarray, " n"]
    consistency: Float64[np.ndarray, " n"]
    strength_interval: Float64[np.ndarray, "n 2"]
    consistency_interval: Float64[np.ndarray, "n 2"]
    places: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        """Note in which row each key is."""
        object.__setattr__(self, "places", {key: row for row, key in enumerate(self.keys)})

    def __len__(self) -> int:
        return len(self.keys)

    @classmethod
    def build(cls, protocol: str, rows: Sequence[tuple[Any, ...]], dim: int) -> Matrix:
        """Assemble from rows (key, name, family, S, S low, S high, C, C low, C high, direction)."""
        keys, names, families = (tuple(row[i] for row in rows) for i in range(3))
        figures = np.array([row[3:9] for row in rows], np.float64).reshape(-1, 6)
        directions = np.frombuffer(b"".join(row[9] for row in rows), np.float32).reshape(-1, dim)
        lengths = np.linalg.norm(directions, axis=1, keepdims=True)
        unknown = np.array([-np.inf, np.inf])
        strengths, consistencies = figures[:, 1:3], figures[:, 4:6]
        return cls(
            protocol, keys, names, families,
            directions / np.where(lengths > 0, lengths, 1),
            figures[:, 0], figures[:, 3],
            np.where(np.isnan(strengths), unknown, strengths),
            np.where(np.isnan(consistencies), unknown, consistencies),
        )  # fmt: skip
