"""The models of the API's answers about one adapter, and about all of them: figures, weights, copies, the map."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from lorascope.server.api.answers import CONSISTENCY, STRENGTH, HitRow, Limits, MarkRow, WeightAdvice
from lorascope.server.api.schemas import KEY
from lorascope.signature import Accuracy, CategoryProfile, Estimate

_ACCURACY = {
    "strength": STRENGTH,
    "consistency": CONSISTENCY,
    "agreement": {"value": 0.98, "lower": 0.95, "upper": 1.0},
}
_SHARE = {"value": 0.72, "lower": 0.66, "upper": 0.78}
_POINT = {
    "scale": 0.7, "cells": 32, "strength": STRENGTH, "consistency": CONSISTENCY, "cosine": _SHARE, "effect": _SHARE,
    "kept": _SHARE,
}  # fmt: skip
_ADVICE = {
    "weight": 0.8, "low": 0.5, "high": 1.0, "sets_in": 0.3, "saturates": 1.0, "breaks": 1.1,
    "reason": "sets in at 0.3, breaks the scene from 1.1 on",
}  # fmt: skip
_PROFILE = {"category": "people", "cells": 48, "strength": 17.0, "consistency": 0.31, "alignment": 0.93}
Profile = Annotated[CategoryProfile, Field(examples=[_PROFILE])]


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
    strength: Estimate = Field(description="Mean length of its effects, in CLIP units.", examples=[STRENGTH])
    consistency: Estimate = Field(description="Mean cosine over all pairs of effects.", examples=[CONSISTENCY])
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


class KnownAdapter(MarkRow):
    """Everything known about an adapter: these fields, the facts of its file and its claims."""

    model_config = ConfigDict(extra="allow")

    key: str = Field(description="Its key in every other request.", examples=[KEY])
    name: str = Field(description="Its name.", examples=["pencil_sketch_v1"])
    kind: str = Field(
        description="What it is: adapter, textual inversion, ControlNet or IP-Adapter.", examples=["adapter"]
    )
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
