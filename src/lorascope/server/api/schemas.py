"""The models of the API's requests; invalid ones are refused."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from lorascope.errors import HALF
from lorascope.library import LONGEST_NOTE
from lorascope.search import Example, Request
from lorascope.server.examples import examples
from lorascope.server.tries import LONGEST_PROMPT, MOST_ADAPTERS, MOST_SEED, MOST_SEEDS, MOST_WEIGHT, SIDES

KEY = "sha256:ad0e82e2c4f5d1b7a9e36f0b5c8d7e6f1a2b3c4d5e6f708192a3b4c5d6e7f809"
"""An adapter's key, for examples."""
Key = Annotated[str, Field(max_length=200, examples=[KEY])]
Name = Annotated[str, Field(max_length=200)]
ProtocolName = Annotated[Name, Field(description="A Protocol by name or digest; the active one by default.")]
Family = Annotated[Name, Field(description="Only adapters of this base family, such as sdxl.")]
Offset = Annotated[int, Field(ge=0, le=10_000_000, description="How many to skip.")]
Limit = Annotated[int, Field(ge=1, le=200, description="The most to return.")]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class Asked(BaseModel):
    """Strict: an unknown field is an error, so that a misspelt one is not ignored."""

    model_config = ConfigDict(extra="forbid")

    @field_validator("*")
    @classmethod
    def _is_text(cls, value: Any) -> Any:
        """Refuse half a surrogate pair, which JSON can spell but no file or database can store."""
        texts: list[Any] = value if isinstance(value, list) else [value]
        if any(isinstance(text, str) and HALF.search(text) for text in texts):
            raise ValueError("it holds half a character")
        return value


class Search(Asked):
    """What to search for: words, adapters to be like (``more``) or unlike (``less``), a picture; all may be mixed."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"q": "pencil drawing", "limit": 12}]})

    q: Annotated[str, Field(description="Words, as in `watercolor -people:0.5`.", examples=["pencil drawing"])] = ""
    more: Annotated[
        list[Key], Field(max_length=8, description="Keys of adapters to be like, as in `KEY` or `KEY:0.5`.")
    ] = []
    less: Annotated[list[Key], Field(max_length=8, description="Keys of adapters to be unlike, in the same way.")] = []
    image: Annotated[
        list[Name], Field(max_length=8, description="Ids that POST /images answered, of pictures to be like.")
    ] = []
    protocol: ProtocolName = ""
    family: Family = ""
    folder: Annotated[str, Field(max_length=4000, description="Only adapters whose path begins so.")] = ""
    max_strength: Annotated[Finite | None, Field(description="By default the Protocol's threshold.")] = None
    min_consistency: Annotated[Finite | None, Field(description="By default the Protocol's threshold.")] = None
    favourite: Annotated[bool, Field(description="Only favourites of this library.")] = False
    everything: Annotated[bool, Field(description="Apply no thresholds.")] = False
    details: Annotated[bool, Field(description="Return each hit's words, flags and pictures too.")] = False
    hidden: Annotated[bool, Field(description="Return the hits that thresholds hide too, at most `limit`.")] = False
    hidden_offset: Annotated[Offset, Field(description="The same as `offset`, for hits that thresholds hide.")] = 0
    offset: Offset = 0
    limit: Limit = 48

    @field_validator("image", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        """One picture may be given by itself."""
        return [value] if isinstance(value, str) else value

    def request(self, only: frozenset[str] | None = None) -> Request:
        """The request for a searcher, among adapters of some keys."""
        return Request(
            self.q,
            adapters=examples(self.more, self.less),
            pictures=tuple(map(Example, self.image)),
            only=only,
            **self.model_dump(exclude={"q", "more", "less", "image", "protocol", "favourite", "details"}),
        )


class Listing(Asked):
    """Which adapters to list, in which order."""

    q: Annotated[str, Field(max_length=200, description="Part of the name.")] = ""
    protocol: ProtocolName = ""
    family: Family = ""
    sort: Annotated[Literal["name", "strength", "consistency"], Field(description="What to sort by.")] = "name"
    order: Annotated[Literal["asc", "desc"], Field(description="Whether the lowest or the highest comes first.")] = (
        "asc"
    )
    offset: Offset = 0
    limit: Limit = 48


Reference = Annotated[str, Field(max_length=4000, examples=["autov2:AD0E82E2C4"])]


class LookUp(Asked):
    """Adapters by what other programs call them."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"references": ["autov2:AD0E82E2C4"]}]})

    references: Annotated[
        list[Reference],
        Field(
            min_length=1, max_length=200,
            description="Each begins with its kind: `sha256:`, `autov2:`, `autov3:`, `name:` (of an adapter or a file,"
            " also with folders), `path:` or `civitai:` (MODEL@VERSION).",
        ),
    ]  # fmt: skip
    protocol: ProtocolName = ""


class NewMark(Asked):
    """What a person keeps about an adapter; what is left out stays as it is."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"favourite": True}]})

    favourite: Annotated[bool | None, Field(description="Whether it is a favourite.")] = None
    note: Annotated[str | None, Field(max_length=LONGEST_NOTE, description="A note; empty for none.")] = None


class Part(Asked):
    """A part of a list."""

    offset: Offset = 0
    limit: Limit = 48


class NewRun(Asked):
    """A run over some of the folders that were named at start, or over some files in them."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"precision": "quick"}]})

    folders: Annotated[
        list[int] | None, Field(min_length=1, max_length=100, description="Ids of /folders; by default all.")
    ] = None
    files: Annotated[
        list[Annotated[str, Field(max_length=4000, examples=["/home/me/loras/new.safetensors"])]],
        Field(max_length=200, description="Paths of files in served folders; then no folder is measured by default."),
    ] = []
    precision: Annotated[
        Literal["glance", "quick", "standard", "full"], Field(description="To which precision to measure.")
    ] = "standard"
    partial: Annotated[bool, Field(description="Also adapters that match the base model only in part.")] = False


Weight = Annotated[Finite, Field(ge=-MOST_WEIGHT, le=MOST_WEIGHT)]
Side = Annotated[int, Field(ge=SIDES[0], le=SIDES[-1], multiple_of=SIDES.step)]


class NewTry(Asked):
    """A prompt to be rendered without and with some adapters."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"prompt": "a lighthouse at night", "adapters": [KEY], "weights": [0.8], "width": 768, "height": 512}
            ]
        }
    )

    prompt: Annotated[
        str,
        Field(min_length=1, max_length=LONGEST_PROMPT, description="Any words.", examples=["a lighthouse at night"]),
    ]
    adapters: Annotated[list[Key], Field(min_length=1, max_length=MOST_ADAPTERS, description="Keys of the adapters.")]
    weights: Annotated[
        list[Weight | None],
        Field(
            max_length=MOST_ADAPTERS,
            description="The weight of each adapter; `weight` where it is null.",
            examples=[[0.8]],
        ),
    ] = []
    weight: Annotated[
        Weight | None, Field(description="The weight of the others; by default that of the Protocol.")
    ] = None
    seeds: Annotated[int, Field(ge=1, le=MOST_SEEDS, description="How many pictures of each.")] = 2
    seed: Annotated[
        int | None, Field(ge=0, lt=MOST_SEED, description="A seed in place of those of the preset; for one picture.")
    ] = None
    several: Annotated[bool, Field(description="Draw the first adapter at several weights instead.")] = False
    together: Annotated[
        bool,
        Field(
            description="Apply all adapters at once instead of each alone; with `several`, the others beside the first."
        ),
    ] = False
    width: Annotated[
        Side | None, Field(description="In pixels, a multiple of 8; by default that of the Protocol.", examples=[768])
    ] = None
    height: Annotated[Side | None, Field(description="The same for the height.", examples=[512])] = None
    negative_prompt: Annotated[
        str | None,
        Field(
            max_length=LONGEST_PROMPT, examples=["blurry"],
            description="What pictures are guided away from, where the preset has guidance; by default the preset's.",
        ),
    ] = None  # fmt: skip
