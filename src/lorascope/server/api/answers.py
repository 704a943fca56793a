"""The shapes of answers, as they are described."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from lorascope.signature import Accuracy, CategoryProfile

State = Literal[
    "waiting", "loading", "running", "pausing", "cancelling", "paused", "done", "cancelled", "failed", "interrupted",
    "elsewhere",
]  # fmt: skip


class Fault(BaseModel):
    """What went wrong, and what to do."""

    code: str
    message: str
    remedy: str | None
    field: str | None


class Envelope(BaseModel):
    """Every error."""

    error: Fault


class Ranged(BaseModel):
    """A figure and its 95% interval."""

    value: float | None
    lower: float | None
    upper: float | None


class BriefAdapter(BaseModel):
    """An adapter in a list."""

    key: str
    name: str
    family: str
    paths: list[str]
    triggers: list[str]
    weight: float | None
    mature: bool
    mature_level: int | None


class Figures(BaseModel):
    """The figures of a signature, in short."""

    strength: Ranged
    consistency: Ranged
    cells: int
    precision: str


class Row(Figures):
    """An adapter and its figures."""

    adapter: BriefAdapter


class HitRow(Row):
    """A hit; ``score`` is None if nothing in particular was asked for."""

    rank: int
    score: float | None
    clarity: Literal["clear", "likely", "weak"] | None
    words: str
    undecided: list[str]
    hidden: Literal["too strong", "too unstable"] | None


class Limits(BaseModel):
    """Thresholds; None hides nothing."""

    strength_max: float | None
    consistency_min: float | None


class Page(BaseModel):
    """A part of a longer list."""

    total: int
    offset: int
    limit: int


class SearchPage(Page):
    """An answer."""

    query: str
    protocol: str
    thresholds: Limits
    found: bool
    consistency: float | None
    considered: int
    too_strong: int
    too_unstable: int
    hits: list[HitRow]
    hidden: list[HitRow]


class AdapterPage(Page):
    """Adapters of one Protocol."""

    protocol: str
    adapters: list[Row]


class RunRow(BaseModel):
    """A run."""

    id: int
    state: State
    folders: list[str]
    precision: str
    partial: bool
    started: float
    finished: float | None
    stage: str
    adapter: str
    cells: int
    total: int
    seconds_left: float | None
    refused: int
    measured: int
    error: Fault | None
    resumable: bool


class TryColumn(BaseModel):
    """The pictures of one adapter; of the bare base model where the key is empty."""

    key: str
    name: str
    images: list[str]
    weight: float | None
    error: Fault | None


class TryRow(BaseModel):
    """A try."""

    id: str
    state: Literal["waiting", "working", "done", "failed"]
    prompt: str
    seeds: list[int]
    done: int
    total: int
    columns: list[TryColumn]
    error: Fault | None


class Table(BaseModel):
    """The map, in columns."""

    protocol: str
    digest: str
    thresholds: Limits
    axes: dict[str, tuple[str, str]] | None
    families: list[str]
    keys: list[str]
    names: list[str]
    family: list[int]
    strength: list[float | None]
    strength_low: list[float | None]
    strength_high: list[float | None]
    consistency: list[float | None]
    consistency_low: list[float | None]
    consistency_high: list[float | None]
    x: list[float | None] | None
    y: list[float | None] | None
    mature: list[int]


class KnownAdapter(BaseModel):
    """All that is known of an adapter: beside these fields the facts of its file and what is claimed of it."""

    model_config = ConfigDict(extra="allow")

    key: str
    name: str
    family: str
    paths: list[str]
    mature: bool
    mature_level: int | None
    signatures: dict[str, SignatureRow]


class SignatureRow(BaseModel):
    """Every figure of a signature; the Direction if it was asked for."""

    strength: float
    consistency: float | None
    active_consistency: float | None
    active_share: float
    magnitude: float
    cells: int
    prompts: int
    grid: Accuracy
    new_prompts: Accuracy
    categories: list[CategoryProfile]
    precision: str
    measured: float
    direction: list[float] | None = None


class Neighbours(BaseModel):
    """Adapters that do most nearly the same, and the opposite."""

    nearest: list[HitRow]
    opposite: list[HitRow]


class Cell(BaseModel):
    """A pinned cell with the addresses of its pictures; ``bare_url`` is None where the bare one is not kept."""

    place: int
    prompt: str
    seed: int
    url: str
    bare_url: str | None


class ImageId(BaseModel):
    """By which a picture goes into a search."""

    image: str


class Health(BaseModel):
    """What the server holds and does."""

    status: Literal["ok"]
    version: str
    adapters: int
    protocols: int
    work: Literal["idle", "starting", "running", "stopping"]


class ProtocolRow(BaseModel):
    """A Protocol that has signatures; ``fields`` holds all that decides what they mean."""

    name: str
    digest: str
    adapters: int
    origin: str | None
    thresholds: Limits
    fields: dict[str, Any]


class FolderRow(BaseModel):
    """A folder that may be indexed, and how many of its files are known, left out and new."""

    id: int
    path: str
    files: int
    known: int
    refused: int
    new: int


class Refused(BaseModel):
    """A file that was left out."""

    path: str
    code: str
    reason: str
    remedy: str


class RefusalPage(Page):
    """Files that were left out."""

    refusals: list[Refused]
