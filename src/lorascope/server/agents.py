"""Tools for agents (MCP): search, describe, compare, pictures and facts; runs only where they are allowed."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any, final

import numpy as np
from mcp.server.mcpserver import Image, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations
from pydantic import BaseModel, Field

from lorascope import __version__
from lorascope.analysis import advise, findings, known_curves
from lorascope.errors import LorascopeError
from lorascope.library import BARE, Library, StoredAdapter, StoredProtocol
from lorascope.report.words import effect_words, prompt_tag, summary
from lorascope.search import Example, Request
from lorascope.server.encoders import Encoders
from lorascope.server.job_pipe import start_process
from lorascope.server.problems import Problem
from lorascope.server.settings import ServerSettings
from lorascope.server.shared_state import SharedState
from lorascope.server.views import figures

_MOST_PICTURES = 6
_INSTRUCTIONS = """\
lorascope has measured what the LoRAs on this machine do to images. Search by effect, not by name: "pencil drawing",
"rainy neon street", "watercolour -people:0.5". A hit's `clarity` says whether its score stands out from chance; weak
hits do not do what was asked. `tag` calls a LoRA in a prompt; in ComfyUI use its file and weight with a loader node.
Only use a LoRA with a base model of its `family`."""

Lora = Annotated[str, Field(description="Name, path, key or start of the key of a LoRA.")]
Words = Annotated[
    str, Field(description="What the LoRA should do, as in `pencil drawing` or `watercolour -people:0.5`.")
]
Loras = Annotated[list[str], Field(description="Names or keys of LoRAs.")]
Count = Annotated[int, Field(ge=1, le=50, description="The most to return.")]


class FoundLora(BaseModel):
    """A LoRA that was found."""

    name: str
    key: str
    family: str = Field(description="The architecture that it belongs to.")
    path: str
    tag: str = Field(description="How a prompt calls it at the weight to start with.")
    triggers: list[str]
    score: float | None = Field(description="Cosine with what was asked; null if nothing was.")
    clarity: str | None = Field(description="clear, likely or weak; null where unknown.")
    words: str = Field(description="The match and the figures in words.")


class SearchResult(BaseModel):
    """An answer."""

    query: str
    matched: bool = Field(description="Whether any hit does what was asked, as far as is known.")
    total: int
    hidden: int = Field(description="How many are hidden as too strong or too inconsistent.")
    hits: list[FoundLora]


class LoraDescription(BaseModel):
    """All that matters of a LoRA."""

    name: str
    key: str
    family: str
    paths: list[str]
    tag: str
    claims: dict[str, Any] = Field(description="What its author or a site says, by name. Not measured.")
    figures: dict[str, Any] | None = Field(
        description="Strength and Consistency with 95% intervals; null if unmeasured."
    )
    words: str = Field(description="The figures in words.")
    does: list[str] | None = Field(description="Phrases that say what it does; null where that is not known.")
    warnings: list[str] = Field(description="What to know before it is used, and what to do.")
    categories: dict[str, float] = Field(description="Its Strength by category of prompts.")
    nearest: list[str] = Field(description="Names of the LoRAs that do most nearly the same.")


class Comparison(BaseModel):
    """Two LoRAs compared."""

    cosine: float = Field(description="Of their Directions: 1 does the same, 0 is unrelated, -1 the opposite.")
    strength_ratio: float = Field(description="The second one's Strength over the first one's.")
    one: str
    two: str


class Weight(BaseModel):
    """The weight to start with."""

    name: str
    weight: float | None = Field(description="null where it has no effect that differs from chance.")
    range: str = Field(description="Weights that are nearly as good.")
    reason: str
    claimed: float | None = Field(description="What its author recommends.")


class LibraryFacts(BaseModel):
    """What the library holds."""

    path: str
    adapters: int
    families: dict[str, int]
    protocols: list[str] = Field(description="How adapters were measured; the active one first.")
    refused: int = Field(description="Files that were left out.")
    indexing: str = Field(description="idle, or what the worker does.")


def answer(settings: ServerSettings) -> None:
    """Answer one agent over standard input and output, until it hangs up."""
    state = SharedState(settings, Encoders(download=settings.download), start_process)
    try:
        server(state).run("stdio")
    finally:
        state.close()


def server(state: SharedState) -> MCPServer[Any]:
    """The tools over one library; those that start work only where the settings allow it."""
    tools = Tools(state)
    made = MCPServer[Any](
        "lorascope", version=__version__, instructions=_INSTRUCTIONS, log_level="WARNING", subscriptions=False
    )
    reading = ToolAnnotations(read_only_hint=True, open_world_hint=False)
    for tool in (tools.search, tools.describe, tools.compare, tools.weight, tools.pictures, tools.library):
        made.add_tool(_errors_in_words(tool), annotations=reading)
    if state.settings.agents == "index":
        made.add_tool(
            _errors_in_words(tools.index), annotations=ToolAnnotations(destructive_hint=False, open_world_hint=False)
        )
    return made


def _errors_in_words(tool: Callable[..., Any]) -> Callable[..., Any]:
    """A tool whose errors reach the agent in their own words."""

    @wraps(tool)
    def answered(*args: Any, **kwargs: Any) -> Any:
        try:
            return tool(*args, **kwargs)
        except (LorascopeError, Problem) as error:
            raise ToolError(str(error)) from error

    return answered


@final
class Tools:
    """What an agent may call. Docstrings are what it reads."""

    def __init__(self, state: SharedState) -> None:
        self._state = state

    def search(
        self,
        query: Words = "",
        like: Loras = [],  # noqa: B006 - never changed; the schema needs a list
        unlike: Loras = [],  # noqa: B006
        family: Annotated[str, Field(description="Only this architecture, such as sdxl.")] = "",
        everything: Annotated[bool, Field(description="Show what is too strong or inconsistent, too.")] = False,
        limit: Count = 8,
    ) -> SearchResult:
        """Find LoRAs by what they do to images: in words, by LoRAs to be like and unlike, or both."""
        with self._state.library() as library:
            examples = [(name, 1.0) for name in like] + [(name, -1.0) for name in unlike]
            adapters = tuple(Example(library.adapters.find(name).key, weight) for name, weight in examples)
        request = Request(
            query, adapters=adapters, family=family, everything=everything, hidden=False, limit=limit
        )  # fmt: skip
        found = self._state.search(request).answer
        usual = found.stored.preset.thresholds
        hits = [
            FoundLora(
                name=hit.adapter.name, key=hit.adapter.key, family=hit.adapter.family, path=_path(hit.adapter),
                tag=prompt_tag(hit.adapter), triggers=list(hit.adapter.claimed("triggers") or ()),
                score=None if request.browsing else round(hit.score, 4), clarity=hit.clarity,
                words=summary(hit, usual, asked=not request.browsing),
            )
            for hit in found.hits
        ]  # fmt: skip
        return SearchResult(
            query=found.query, matched=found.matched, total=found.total, hidden=found.left_out, hits=hits
        )

    def describe(self, lora: Lora) -> LoraDescription:
        """Say what one LoRA does: figures, phrases, warnings, claims, and what does nearly the same."""
        with self._state.library() as library:
            stored, adapter = self._named(library, lora)
            measured = library.signatures.get(stored.protocol.digest, [adapter.key]).get(adapter.key)
            said = findings(library, stored.protocol.digest, [adapter.key])
        does, _ = self._state.analyses.known(stored.protocol.digest)  # phrases take too long to wait for
        signature = measured.signature if measured else None
        nearest = self._state.neighbours(adapter.key, top=3)[0] if measured else ()
        return LoraDescription(
            name=adapter.name, key=adapter.key, family=adapter.family, paths=list(adapter.paths),
            tag=prompt_tag(adapter), claims={name: claim.value for name, claim in adapter.facts.claims.items()},
            figures=figures(measured) if measured else None,
            words=effect_words(signature, stored.preset.thresholds) if signature else "not measured",
            does=None if does is None else list(does.get(adapter.key, ())),
            warnings=[f"{one.flag}: {one.seen}. {one.remedy}" for one in said],
            categories={one.category: round(one.strength, 2) for one in signature.categories} if signature else {},
            nearest=[hit.adapter.name for hit in nearest],
        )  # fmt: skip

    def compare(self, one: Lora, two: Lora) -> Comparison:
        """Compare what two LoRAs do."""
        with self._state.library() as library:
            searcher = self._state.searcher(library)
            found = [self._named(library, name)[1] for name in (one, two)]
            rows = [searcher.row(adapter.key) for adapter in found]
        for adapter, row in zip(found, rows, strict=True):
            if row is None:
                raise ToolError(f"{adapter.name} was not measured under {searcher.stored.protocol}: index it first")
        first, second = (int(row) for row in rows if row is not None)
        directions, strengths = searcher.matrix.directions, searcher.matrix.strength
        names = [f"{adapter.name} ({adapter.key[:19]})" for adapter in found]
        return Comparison(
            cosine=round(float(np.dot(directions[first], directions[second])), 4),
            strength_ratio=round(float(strengths[second]) / max(float(strengths[first]), 1e-9), 4),
            one=names[0],
            two=names[1],
        )

    def weight(self, lora: Lora) -> Weight:
        """Say at which weight to use a LoRA, if that was measured, and what its author says."""
        with self._state.library() as library:
            stored, adapter = self._named(library, lora)
            curve = known_curves(library, stored.protocol.digest, [adapter.key]).get(adapter.key)
        claimed = adapter.claimed("weight")
        if curve is None:
            reason = "not measured: a person can run `lorascope weight` for it"
            return Weight(name=adapter.name, weight=claimed or 1.0, range="", reason=reason, claimed=claimed)
        found = advise(curve)
        return Weight(name=adapter.name, weight=found.weight, range=found.range, reason=found.reason, claimed=claimed)

    def pictures(
        self, lora: Lora, count: Annotated[int, Field(ge=1, le=_MOST_PICTURES, description="How many scenes.")] = 2
    ) -> list[str | Image]:
        """Show a LoRA's stored pictures: for each scene its prompt, the picture without and the one with it."""
        with self._state.library() as library:
            stored, adapter = self._named(library, lora)
            shown: list[str | Image] = []
            for one in library.previews.all(library.previews.scene(stored.protocol, adapter.key), adapter.key)[:count]:
                bare = library.previews.get(library.previews.scene(stored.protocol, BARE), BARE, one.place)
                if bare is not None:
                    shown += [f"without, {bare.prompt!r}, seed {one.seed}:", Image(data=bare.webp, format="webp")]
                shown += [f"with {adapter.name}, {one.prompt!r}, seed {one.seed}:", Image(data=one.webp, format="webp")]
        return shown or [f"no pictures of {adapter.name} are stored"]

    def library(self) -> LibraryFacts:
        """Say what the library holds: how many LoRAs of which architectures, and how they were measured."""
        overview = self._state.overview()
        with self._state.library() as library:
            families = self._state.searcher(library).matrix.families if overview.protocols else ()
        return LibraryFacts(
            path=str(self._state.settings.library), adapters=overview.adapters,
            families={name: list(families).count(name) for name in overview.families},
            protocols=[str(stored.protocol) for stored in overview.protocols], refused=overview.refused,
            indexing=self._state.work.snapshot()["state"],
        )  # fmt: skip

    def index(
        self, precision: Annotated[str, Field(description="glance, quick, standard or full.")] = "quick"
    ) -> dict[str, Any]:
        """Measure new LoRAs in the folders that the server was given. It takes minutes to hours in the background."""
        run = self._state.work.start(None, precision)
        return {name: run[name] for name in ("id", "state", "folders", "precision")}

    def _named(self, library: Library, lora: str) -> tuple[StoredProtocol, StoredAdapter]:
        return self._state.protocol(library), library.adapters.find(lora)


def _path(adapter: StoredAdapter) -> str:
    return adapter.paths[0] if adapter.paths else ""
