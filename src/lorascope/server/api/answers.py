"""The models of the API's answers."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from lorascope.server.api.schemas import KEY
from lorascope.signature import Accuracy, CategoryProfile, Estimate

_STRENGTH = {"value": 17.0, "lower": 15.5, "upper": 18.6}
_CONSISTENCY = {"value": 0.31, "lower": 0.28, "upper": 0.34}
_ACCURACY = {
    "strength": _STRENGTH,
    "consistency": _CONSISTENCY,
    "agreement": {"value": 0.98, "lower": 0.95, "upper": 1.0},
}
_SHARE = {"value": 0.72, "lower": 0.66, "upper": 0.78}
_POINT = {
    "scale": 0.7, "cells": 32, "strength": _STRENGTH, "consistency": _CONSISTENCY, "cosine": _SHARE, "effect": _SHARE,
    "kept": _SHARE,
}  # fmt: skip
_ADVICE = {
    "weight": 0.8, "low": 0.5, "high": 1.0, "sets_in": 0.3, "saturates": 1.0, "breaks": 1.1,
    "reason": "sets in at 0.3, breaks the scene from 1.1 on",
}  # fmt: skip
_PROFILE = {"category": "people", "cells": 48, "strength": 17.0, "consistency": 0.31, "alignment": 0.93}
Profile = Annotated[CategoryProfile, Field(examples=[_PROFILE])]


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
        description="How much it changes pictures: its effects' mean length, in CLIP units.", examples=[_STRENGTH]
    )
    consistency: Ranged = Field(
        description="How alike its effects are: their mean cosine, at most 1.", examples=[_CONSISTENCY]
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
    """A pinned cell with the addresses of its pictures; ``bare_url`` is None where the bare one is not kept."""

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


class WeightAdvice(BaseModel):
    """At which weight to use an adapter, by its Curve."""

    weight: float | None = Field(
        description="The one to start with; null where it has no effect that differs from chance.", examples=[0.7]
    )
    low: float | None = Field(description="The lowest weight that is nearly as good.", examples=[0.5])
    high: float | None = Field(description="The highest one.", examples=[0.9])
    reason: str = Field(description="Why, in words.", examples=["saturates from 0.9 on"])


class WholeAdvice(WeightAdvice):
    """At which weight to use an adapter, and where its effect begins, levels off and does harm."""

    sets_in: float | None = Field(
        description="From where on the effect is seen; null if it is at the smallest weight measured.", examples=[0.3]
    )
    saturates: float | None = Field(
        description="From where on more weight does hardly more; null if the effect grows to the end.", examples=[1.2]
    )
    breaks: float | None = Field(
        description="From where on what prompts ask for is lost; null if it is not.", examples=[1.1]
    )


class WeightPoint(BaseModel):
    """What an adapter does at one weight; each figure with its 95% interval."""

    scale: float = Field(description="The weight.", examples=[0.7])
    cells: int = Field(description="How many images.", examples=[32])
    strength: Estimate = Field(description="Mean length of its effects, in CLIP units.", examples=[_STRENGTH])
    consistency: Estimate = Field(description="Mean cosine over all pairs of effects.", examples=[_CONSISTENCY])
    cosine: Estimate | None = Field(
        description="Of the Direction here and the one at 1.0; null where it does not differ from chance.",
        examples=[_SHARE],
    )
    effect: Estimate | None = Field(
        description="How much of the effect at 1.0 is there; null where there is none at 1.0.", examples=[_SHARE]
    )
    kept: Estimate | None = Field(
        description="How much of what prompts ask for is still there; null where too few prompts were seen.",
        examples=[_SHARE],
    )


class Details(BaseModel):
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


class PhrasesRow(BaseModel):
    """What an adapter does in words."""

    does: list[str] = Field(
        description="Phrases that stand out against chance, the most telling first; none where nothing does.",
        examples=[["pencil drawing"]],
    )


class CopyRow(BaseModel):
    """An adapter or a file that need not be kept."""

    key: str = Field(description="Its key.", examples=[KEY])
    name: str = Field(description="Its name.", examples=["pencil_sketch_v2"])
    path: str = Field(description="Its file; empty without one.", examples=["/home/me/loras/copy.safetensors"])
    kind: Literal["file", "change", "behaviour"] = Field(description="In what it is the same.")
    seen: str = Field(description="How far that is known.", examples=["equal tensors and settings"])


class DuplicateGroup(BaseModel):
    """Copies of one adapter."""

    key: str = Field(description="The adapter that is recommended to be kept.", examples=[KEY])
    name: str = Field(description="Its name.", examples=["pencil_sketch_v1"])
    path: str = Field(description="Its file; empty without one.", examples=["/home/me/loras/one.safetensors"])
    copies: list[CopyRow] = Field(description="What need not be kept beside it.")


class DuplicateGroups(BaseModel):
    """The copies of a library."""

    groups: list[DuplicateGroup] = Field(description="One entry for each adapter that has copies.")
    undecided: list[tuple[str, str]] = Field(
        description="Keys of pairs that may be the same, of which more images would tell.", examples=[[[KEY, KEY]]]
    )


class MapTable(BaseModel):
    """The map, in columns."""

    protocol: str = Field(description="Under which Protocol.", examples=["miniature-4df4cfbf8e"])
    digest: str = Field(description="The Protocol's digest.", examples=["4df4cfbf8e"])
    thresholds: Limits = Field(description="The Protocol's thresholds.")
    axes: dict[str, tuple[str, str]] | None = Field(
        description="The phrases that lie farthest to the low and the high end of `x` and of `y`, if known.",
        examples=[{"x": ["a pencil drawing", "an oil painting"], "y": ["a person", "a landscape"]}],
    )
    families: list[str] = Field(
        description="The base families; `family` counts into this list.", examples=[["miniature"]]
    )
    keys: list[str] = Field(description="The adapters' keys.", examples=[[KEY]])
    names: list[str] = Field(description="The adapters' names.", examples=[["pencil_sketch_v1"]])
    family: list[int] = Field(description="The place of each one's family in `families`, from 0 on.", examples=[[0]])
    strength: list[float | None] = Field(description="Each one's Strength.", examples=[[17.0]])
    strength_low: list[float | None] = Field(description="The lower ends of its 95% intervals.", examples=[[15.5]])
    strength_high: list[float | None] = Field(description="The upper ends of its 95% intervals.", examples=[[18.6]])
    consistency: list[float | None] = Field(description="Each one's Consistency.", examples=[[0.31]])
    consistency_low: list[float | None] = Field(description="The lower ends of its 95% intervals.", examples=[[0.28]])
    consistency_high: list[float | None] = Field(description="The upper ends of its 95% intervals.", examples=[[0.34]])
    x: list[float | None] | None = Field(
        description="Each one's place across; null until there are 12.", examples=[[0.41]]
    )
    y: list[float | None] | None = Field(
        description="Each one's place upwards; null until there are 12.", examples=[[-0.2]]
    )
    mature: list[int] = Field(description="1 where the pictures may be for adults only, else 0.", examples=[[0]])


class KnownAdapter(BaseModel):
    """Everything known about an adapter: these fields, the facts of its file and its claims."""

    model_config = ConfigDict(extra="allow")

    key: str = Field(description="Its key in every other request.", examples=[KEY])
    name: str = Field(description="Its name.", examples=["pencil_sketch_v1"])
    family: str = Field(description="Its base family, such as sdxl.", examples=["miniature"])
    paths: list[str] = Field(
        description="Where its file is; several if there are copies.",
        examples=[["/home/me/loras/pencil_sketch_v1.safetensors"]],
    )
    mature: bool = Field(description="Whether its pictures may be for adults only.")
    mature_level: int | None = Field(description="Civitai's levels of its pictures, 1 to 16, added up; null if unsaid.")
    signatures: dict[str, SignatureRow] = Field(description="What was measured, by the name of the Protocol.")
    findings: dict[str, list[FindingRow]] = Field(description="What a person should know of it, in the same way.")
    weights: dict[str, WeightRow] = Field(
        description="At which weight it is best used, in the same way; of those whose curve was measured."
    )


class FindingRow(BaseModel):
    """Something that a person should know of an adapter."""

    key: str = Field(description="The adapter's key.", examples=[KEY])
    name: str = Field(description="Its name.", examples=["pencil_sketch_v1"])
    flag: str = Field(description="The kind of finding; docs/analysis.md describes each.", examples=["duplicate"])
    seen: str = Field(description="What was seen, with its figures.", examples=["equal tensors and settings"])
    remedy: str = Field(description="What to do.", examples=["Keep pencil_sketch_v2"])


class WeightRow(BaseModel):
    """The weight that is advised for an adapter, and the curve that says so."""

    advice: WholeAdvice = Field(description="The weight to start with, its range, and the reason.", examples=[_ADVICE])
    curve: list[WeightPoint] = Field(description="What it does at each weight that was measured.", examples=[[_POINT]])


class SignatureRow(BaseModel):
    """Every figure of a signature; the Direction if it was asked for."""

    strength: float = Field(
        description="How much it changes pictures: its effects' mean length, in CLIP units.", examples=[17.0]
    )
    consistency: float | None = Field(
        description="How alike its effects are: their mean cosine; null with fewer than two cells.", examples=[0.31]
    )
    active_consistency: float | None = Field(
        description="The same over the active cells alone; null where there is no pair of them.", examples=[0.31]
    )
    active_share: float = Field(
        description="The share of active cells, those with an effect above the noise floor.", examples=[0.97]
    )
    magnitude: float = Field(description="The length of its mean effect, without what chance adds.", examples=[11.2])
    cells: int = Field(description="How many cells were seen.", examples=[48])
    prompts: int = Field(description="How many different prompts they belong to.", examples=[48])
    grid: Accuracy = Field(
        description="How near the figures are to those of the Protocol's full grid.", examples=[_ACCURACY]
    )
    new_prompts: Accuracy = Field(
        description="How near they are to those of other prompts of the same kind.", examples=[_ACCURACY]
    )
    categories: list[Profile] = Field(description="What it does to the prompts of each category.")
    precision: str = Field(
        description="To which precision it was measured, or `screened` with the threshold that ended it.",
        examples=["quick"],
    )
    measured: float = Field(description="When, in seconds since 1970.", examples=[26])
    direction: list[float] | None = Field(
        default=None, description="The Direction, its mean effect, if it was asked for.", examples=[[0.12]]
    )
    findings: list[FindingRow] = Field(
        default=[], description="What its figures say to a person; with the adapter only."
    )


class Neighbours(BaseModel):
    """The adapters with the most similar and the most opposite effect."""

    nearest: list[HitRow] = Field(description="The most similar, the nearest first.")
    opposite: list[HitRow] = Field(description="The most opposite, the farthest first.")


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
