"""The models of the API's answers."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from lorascope.server.api.schemas import KEY

STRENGTH = {"value": 17.0, "lower": 15.5, "upper": 18.6}
CONSISTENCY = {"value": 0.31, "lower": 0.28, "upper": 0.34}
"""Figures with their intervals, for examples."""


class Fault(BaseModel):
    """What went wrong, and what to do."""

    code: str = Field(description="A short word for programs.", examples=["queue-full"])
    message: str = Field(
        description="What is wrong, with the value that was given.",
        examples=["64 others are waiting for the encoder"],
    )
    remedy: str | None = Field(
        description="What to do; null where the message says it.", examples=["try again in a moment"]
    )
    field: str | None = Field(description="Which part of the request is meant, if one is.")


class Envelope(BaseModel):
    """Every error."""

    error: Fault = Field(description="What went wrong.")


class Ranged(BaseModel):
    """A figure and its 95% interval."""

    value: float | None = Field(description="The figure; null where it is not known.", examples=[17.0])
    lower: float | None = Field(description="The lower end of its 95% interval.", examples=[15.5])
    upper: float | None = Field(description="The upper end of its 95% interval.", examples=[18.6])


class BriefAdapter(BaseModel):
    """An adapter in a list."""

    key: str = Field(
        description="Its key in every other request: `sha256:...` or `civitai:MODEL@VERSION`.", examples=[KEY]
    )
    name: str = Field(description="Its name.", examples=["pencil_sketch_v1"])
    kind: str = Field(
        description="What it is: adapter, textual inversion, ControlNet or IP-Adapter.", examples=["adapter"]
    )
    family: str = Field(description="Its base family, such as sdxl.", examples=["miniature"])
    title: str | None = Field(
        description="Its title, as its author or a site gives it; null if unsaid.", examples=["Pencil sketch"]
    )
    tag: str | None = Field(
        description="How a prompt calls it in most tools, at the weight that is recommended; null without a file.",
        examples=["<lora:pencil_sketch_v1:0.8>"],
    )
    paths: list[str] = Field(
        description="Where its file is; several if there are copies.",
        examples=[["/home/me/loras/pencil_sketch_v1.safetensors"]],
    )
    triggers: list[str] = Field(description="Its trigger words, as claimed.", examples=[["pencil sketch"]])
    weight: float | None = Field(description="The weight that is recommended for it, if one is.", examples=[0.8])
    mature: bool = Field(description="Whether its pictures may be for adults only.")
    mature_level: int | None = Field(description="Civitai's levels of its pictures, 1 to 16, added up; null if unsaid.")


class Figures(BaseModel):
    """The figures of a signature, in short."""

    strength: Ranged = Field(
        description="How much it changes pictures: its effects' mean length, in CLIP units.", examples=[STRENGTH]
    )
    consistency: Ranged = Field(
        description="How alike its effects are: their mean cosine, at most 1.", examples=[CONSISTENCY]
    )
    cells: int = Field(
        description="On how many pairs of pictures, without and with it, the figures rest.", examples=[48]
    )
    precision: str = Field(
        description="To which precision it was measured, or `screened` with the threshold that ended it.",
        examples=["quick"],
    )
    origin: str | None = Field(
        description="From which library or address it was imported, and when; null if it was measured here."
    )
    claimed: bool = Field(description="Whether it is what another library says, without evidence here.")


class MeasuredAdapter(Figures):
    """An adapter and its figures."""

    adapter: BriefAdapter = Field(description="The adapter.")


class PinnedCell(BaseModel):
    """A pinned cell with the addresses of its pictures, None where one is not kept."""

    place: int = Field(description="Which of the pinned cells it is.", examples=[0])
    prompt: str = Field(description="Its prompt.", examples=["a lighthouse at night"])
    seed: int = Field(description="Its seed.", examples=[42])
    url: str = Field(
        description="The address of the picture with the adapter.", examples=["/api/v1/adapters/KEY/previews/0"]
    )
    bare_url: str | None = Field(
        description="The address of the picture without it; null where that is not kept.",
        examples=["/api/v1/bare/previews/0"],
    )
    large_url: str | None = Field(description="The picture with it, up to 1024 pixels; null where none is larger.")
    large_bare_url: str | None = Field(description="The same without it.")


class WeightAdvice(BaseModel):
    """At which weight to use an adapter, by its Curve."""

    weight: float | None = Field(
        description="The one to start with; null where it has no effect that differs from chance.", examples=[0.7]
    )
    low: float | None = Field(description="The lowest weight that is nearly as good.", examples=[0.5])
    high: float | None = Field(description="The highest one.", examples=[0.9])
    reason: str = Field(description="Why, in words.", examples=["saturates from 0.9 on"])


class MarkRow(BaseModel):
    """What a person keeps about an adapter."""

    favourite: bool = Field(description="Whether it is a favourite of this library.")
    note: str = Field(description="A note; empty for none.", examples=["too warm at 1"])


class Details(MarkRow):
    """What else a card shows of an adapter."""

    does: list[str] | None = Field(
        description="What it does, in phrases that stand out against chance; null where that is not known (yet).",
        examples=[["pencil drawing"]],
    )
    flags: list[str] | None = Field(
        description="What should be known of it, as in `lorascope health`; null where that is not known yet.",
        examples=[["overpowering"]],
    )
    advice: WeightAdvice | None = Field(
        description="At which weight to use it; null where `lorascope weight` has not measured that."
    )
    pictures: list[PinnedCell] = Field(description="Its stored cells.")


class HitRow(MeasuredAdapter):
    """A hit; ``score`` is None if nothing in particular was asked for."""

    details: Details | None = Field(default=None, description="Words, flags and so on, if they were asked for.")

    rank: int = Field(description="Its place in the whole answer, from 1 on.", examples=[1])
    score: float | None = Field(
        description="The cosine of its Direction with what was asked; null if nothing was.", examples=[0.65]
    )
    clarity: Literal["clear", "likely", "weak"] | None = Field(
        description="Whether the score stands out from those of unrelated words; null where that is unknown.",
        examples=["likely"],
    )
    words: str = Field(
        description="The match and the figures in words.", examples=["a likely match; strong, rock-steady"]
    )
    undecided: list[str] = Field(
        description="Thresholds within its intervals: finer measuring may hide it.", examples=[["strength"]]
    )
    hidden: Literal["too strong", "too inconsistent"] | None = Field(
        description="Which threshold hides it, if one does."
    )


class Limits(BaseModel):
    """Thresholds; None hides nothing."""

    strength_max: float | None = Field(description="Adapters that are stronger are hidden.", examples=[23.0])
    consistency_min: float | None = Field(description="Adapters that are less consistent are hidden.", examples=[0.05])


class Page(BaseModel):
    """A part of a longer list."""

    total: int = Field(description="How many there are in the whole list.", examples=[26])
    offset: int = Field(description="How many come before this part.", examples=[0])
    limit: int = Field(description="How many a part holds at most.", examples=[48])


class SearchPage(Page):
    """An answer."""

    query: str = Field(description="What was asked, in one spelling.", examples=["pencil drawing"])
    protocol: str = Field(description="Under which Protocol.", examples=["miniature-4df4cfbf8e"])
    thresholds: Limits = Field(description="The thresholds that were applied.")
    matched: bool = Field(description="Whether any hit does what was asked, as far as is known.")
    considered: int = Field(description="How many adapters passed the filters, before thresholds.", examples=[26])
    too_strong: int = Field(description="How many of them are hidden as too strong.", examples=[0])
    too_inconsistent: int = Field(description="How many of them are hidden as too inconsistent.", examples=[0])
    hits: list[HitRow] = Field(description="A part of the hits, best first.")
    hidden: list[HitRow] = Field(description="A part of what thresholds hide, best first, if it was asked for.")


class AdapterPage(Page):
    """Adapters of one Protocol."""

    protocol: str = Field(description="Under which Protocol.", examples=["miniature-4df4cfbf8e"])
    adapters: list[MeasuredAdapter] = Field(description="A part of the list, in the order that was asked for.")


class Card(BaseModel):
    """All that a card shows of an adapter."""

    adapter: BriefAdapter = Field(description="The adapter.")
    measured: Figures | None = Field(description="Its figures; null if it has none under this Protocol.")
    words: str | None = Field(description="The figures in words; null if there are none.", examples=["strong, steady"])
    details: Details = Field(description="What it does, what to know of it, and its pictures.")


class LookUpRow(BaseModel):
    """What a reference means."""

    reference: str = Field(description="The reference, as it was sent.", examples=["autov2:AD0E82E2C4"])
    cards: list[Card] = Field(description="The adapters that it means; none if there are none, several of one name.")


class LookUpAnswer(BaseModel):
    """What references mean, in their order."""

    protocol: str = Field(description="Under which Protocol.", examples=["miniature-4df4cfbf8e"])
    found: list[LookUpRow] = Field(description="One entry for each reference.")


class ImageId(BaseModel):
    """The id of a picture that was sent."""

    image: str = Field(description="The `image` of a search.", examples=["7cbcf50d2f4b0e6a8d9c1b3a5e7f9012"])


class Health(BaseModel):
    """What the server holds and does."""

    status: Literal["ok"] = Field(description="Always `ok`; a server that cannot answer returns an error.")
    version: str = Field(description="The version of lorascope.", examples=["0.1.0"])
    adapters: int = Field(description="How many adapters are measured under the active Protocol.", examples=[26])
    families: list[str] = Field(description="Their base families.", examples=[["miniature"]])
    protocols: int = Field(description="How many Protocols have signatures.", examples=[1])
    revision: int = Field(description="A number that grows whenever the library changes.", examples=[7])
    work: Literal["idle", "starting", "running", "stopping"] = Field(description="What the worker is doing.")


class ProtocolRow(BaseModel):
    """A Protocol that has signatures; ``fields`` holds all that decides what they mean."""

    name: str = Field(description="Its name, by which requests ask for it.", examples=["miniature-4df4cfbf8e"])
    digest: str = Field(description="The digest of its fields, which names it too.", examples=["4df4cfbf8e"])
    adapters: int = Field(description="How many adapters are measured under it.", examples=[26])
    origin: str | None = Field(description="Where its signatures were measured; null for here.")
    thresholds: Limits = Field(description="Its preset's thresholds.")
    fields: dict[str, Any] = Field(
        description="All that decides what its signatures mean.",
        examples=[{"name": "miniature", "triggers": "adapter"}],
    )
