"""The messages between the server and its worker."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class ModelConfig:
    """How a worker loads its models, and the folders that it may read (resolved; any if none is named)."""

    library: Path
    folders: tuple[Path, ...]
    preset: str
    device: str
    download: bool


# --- to the worker --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class IndexJob:
    """Start or continue a run of the library."""

    run: int
    paths: tuple[str, ...]
    precision: str
    partial: bool


@dataclass(frozen=True)
class EndRun:
    """End the run after the block that is under way."""


@dataclass(frozen=True)
class TriedAdapter:
    """An adapter that is to be tried: its key, its name, and its weight, or None for that of the Protocol."""

    key: str
    name: str
    weight: float | None = None


@dataclass(frozen=True)
class TryJob:
    """Render a prompt without any adapter, and with those of each column at once.

    ``seeds`` counts those of the preset; ``seed`` is one of the person's own in their place. Width, height and negative
    prompt are those of the preset if they are None.
    """

    id: str
    prompt: str
    seeds: int
    seed: int | None
    columns: tuple[tuple[TriedAdapter, ...], ...]
    width: int | None = None
    height: int | None = None
    negative_prompt: str | None = None


# --- from the worker ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class JobProgress:
    """The progress of a run: ``cells`` of ``total`` of its stage are done, and about ``later`` come after it.

    ``measured`` counts the adapters that have got a block in it.
    """

    run: int
    stage: str
    adapter: str
    cells: int
    total: int
    later: int
    refused: int
    measured: int


@dataclass(frozen=True)
class RunEnded:
    """A run has ended; ``error`` says why it could not continue."""

    run: int
    outcome: dict[str, Any]
    error: dict[str, Any] | None = None


@dataclass(frozen=True)
class Column:
    """The pictures (WebP) of one column of a try, column 0 being bare; or why there are none.

    ``weights`` are those that were used, one for each adapter.
    """

    id: str
    place: int
    seeds: tuple[int, ...] = ()
    images: tuple[bytes, ...] = ()
    weights: tuple[float, ...] = ()
    error: dict[str, Any] | None = None


@dataclass(frozen=True)
class TryEnded:
    """All columns of a try were sent; ``error`` says why there are none."""

    id: str
    error: dict[str, Any] | None = None


ToWorker = IndexJob | EndRun | TryJob
FromWorker = JobProgress | RunEnded | Column | TryEnded
