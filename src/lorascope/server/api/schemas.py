"""The shapes of requests and answers, for checking the one and describing the other."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from lorascope.server.asking import Ask

Key = Annotated[str, Field(max_length=200, examples=["sha256:..."])]
Name = Annotated[str, Field(max_length=200)]
Offset = Annotated[int, Field(ge=0, le=10_000_000)]
Limit = Annotated[int, Field(ge=1, le=200)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
_SURROGATE = re.compile("[\ud800-\udfff]")
State = Literal[
    "waiting", "loading", "running", "pausing", "cancelling", "paused", "done", "cancelled", "failed", "interrupted",
    "elsewhere",
]  # fmt: skip


class Asked(BaseModel):
    """Strict: a field that is not known is an error, so that a misspelt one is not passed over."""

    model_config = ConfigDict(extra="forbid")

    @field_validator("*")
    @classmethod
    def _is_text(cls, value: Any) -> Any:
        """JSON can escape half a character, which no file and no database takes."""
        texts: list[Any] = value if isinstance(value, list) else [value]
        if any(isinstance(text, str) and _SURROGATE.search(text) for text in texts):
            raise ValueError("it holds half a character")
        return value


class Search(Asked):
    """What to search for: words, adapters to be like (``more``) or unlike (``less``), a picture; all may be mixed."""

    q: Annotated[str, Field(description="Words, as in `watercolor -people:0.5`.", examples=["pencil drawing"])] = ""
    more: Annotated[
        list[Key], Field(max_length=8, description="Keys of adapters to be like, as in `KEY` or `KEY:0.5`.")
    ] = []
    less: Annotated[list[Key], Field(max_length=8, description="Keys of adapters to be unlike, in the same way.")] = []
    image: Annotated[Name, Field(description="The id that POST /images answered.")] = ""
    protocol: Annotated[Name, Field(description="A Protocol by name or digest; the active one by default.")] = ""
    family: Annotated[Name, Field(description="Only adapters of this base family, such as sdxl.")] = ""
    folder: Annotated[str, Field(max_length=4000, description="Only adapters whose path begins so.")] = ""
    max_strength: Annotated[Finite | None, Field(description="By default the Protocol's threshold.")] = None
    min_consistency: Annotated[Finite | None, Field(description="By default the Protocol's threshold.")] = None
    everything: Annotated[bool, Field(description="Apply no thresholds.")] = False
    hidden: Annotated[bool, Field(description="Tell the hits that thresholds hide, too; at most `limit`.")] = False
    hidden_offset: Annotated[Offset, Field(description="The same as `offset`, for hits that thresholds hide.")] = 0
    offset: Offset = 0
    limit: Limit = 48

    def ask(self) -> Ask:
        """As the state is asked."""
        return Ask(
            text=self.q, more=tuple(self.more), less=tuple(self.less), image=self.image, protocol=self.protocol,
            family=self.family, folder=self.folder, max_strength=self.max_strength,
            min_consistency=self.min_consistency, everything=self.everything, hidden=self.hidden,
            hidden_offset=self.hidden_offset, offset=self.offset, limit=self.limit,
        )  # fmt: skip


class Listing(Asked):
    """Which adapters to list, in which order."""

    q: Annotated[str, Field(max_length=200, description="Part of the name.")] = ""
    protocol: Name = ""
    family: Name = ""
    sort: Literal["name", "strength", "consistency"] = "name"
    order: Literal["asc", "desc"] = "asc"
    offset: Offset = 0
    limit: Limit = 48


class Part(Asked):
    """A part of a list."""

    offset: Offset = 0
    limit: Limit = 48


class NewRun(Asked):
    """A run over some of the folders that were named at start."""

    folders: Annotated[list[int] | None, Field(max_length=100, description="Ids of /folders; by default all.")] = None
    precision: Literal["glance", "quick", "standard", "full"] = "standard"
    partial: Annotated[bool, Field(description="Also adapters that match the base model only in part.")] = False


class NewTry(Asked):
    """A prompt to be rendered without and with some adapters."""

    prompt: Annotated[str, Field(min_length=1, max_length=1000, examples=["a lighthouse at night"])]
    adapters: Annotated[list[Key], Field(min_length=1, max_length=4)]
    seeds: Annotated[int, Field(ge=1, le=4)] = 2


# --- answers ----------------------------------------------------------------------------------------------------


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
    hidden: str | None


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


Errors = dict[int | str, dict[str, Any]]


def errors(*statuses: int) -> Errors:
    """The errors of an endpoint, for its description."""
    return {status: {"model": Envelope, "description": _REASONS[status]} for status in (401, 422, 503, *statuses)}


_REASONS = {
    401: "The token is missing or wrong",
    404: "There is no such thing",
    409: "Not in this state",
    413: "Too large",
    415: "Not of this kind",
    422: "A value does not fit",
    429: "Too much is waiting already",
    503: "A model, the library or a turn is not to be had now",
}
