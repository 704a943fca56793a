"""What is measured (Protocol), where it starts from (Preset) and how it ran (Execution)."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import tomllib
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, get_args

from lorascope.errors import ProtocolError
from lorascope.grid import Grid, PromptSet

TriggerPolicy = Literal["adapter", "both", "none"]
AlternativePolicy = Literal["all", "common", "first", "none"]
NoiseRule = Literal["cell", "batch-4"]
Offload = Literal["", "none", "parts", "blocks"]
EstimatorName = Literal["regression", "mean"]

_BEFORE = {"alternatives": "all", "quality": "", "guidance_rescale": 0.0, "sequence_length": 0}
"""What the first libraries did where a Protocol has had a field since."""


def _short_digest(fields: dict[str, Any]) -> str:
    canonical = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:10]


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """Everything that decides what a signature means. Signatures of different Protocols are never ranked together.

    ``name`` is for people and takes no part in the digest. Unknown facts of imported libraries are "".

    Examples:
        >>> protocol = Preset.load("sdxl-paper").protocol(base_digest="", encoder="clip", encoder_digest="")
        >>> protocol.steps, len(protocol.digest)
        (25, 10)
    """

    name: str
    family: str
    base: str
    base_digest: str
    scheduler: str
    steps: int
    guidance: float
    negative_prompt: str
    width: int
    height: int
    scale: float
    triggers: TriggerPolicy
    prompts: str
    seeds: tuple[int, ...]
    noise: NoiseRule
    encoder: str
    encoder_digest: str
    alternatives: AlternativePolicy = "all"
    quality: str = ""
    guidance_rescale: float = 0.0
    sequence_length: int = 0

    @cached_property
    def digest(self) -> str:
        """Ten hex digits over every field but the name, and over digests rather than names of models.

        A field that is younger than the first libraries takes part only where it differs from what these did.
        """
        fields = dataclasses.asdict(self)
        del fields["name"]
        for name, value in _BEFORE.items():
            if fields[name] == value:
                del fields[name]
        for model in ("base", "encoder"):
            if fields[f"{model}_digest"]:
                del fields[model]  # the same weights under another path are the same model
        return _short_digest(fields)

    @cached_property
    def scene(self) -> str:
        """Ten hex digits over what decides the pictures: Protocols that share it differ in their encoder only."""
        return dataclasses.replace(self, encoder="", encoder_digest="").digest

    @cached_property
    def bare(self) -> str:
        """The digest of the Protocol without what concerns adapters alone: scale and trigger words.

        Protocols that share it share bare embeddings and noise floors. It is the digest at scale 1 under the oldest
        policies, so what earlier versions stored under such a Protocol is found by it.
        """
        return dataclasses.replace(self, scale=1.0, triggers="adapter", alternatives="all").digest

    @cached_property
    def bare_scene(self) -> str:
        """The scene without scale and trigger words: under it lie the pictures of the bare model."""
        return dataclasses.replace(self, scale=1.0, triggers="adapter", alternatives="all").scene

    def __str__(self) -> str:
        return f"{self.name}-{self.digest}"

    def differences(self, other: Protocol) -> list[str]:
        """The fields in which two Protocols differ, as ``"steps: 25 / 4"``."""
        mine, theirs = dataclasses.asdict(self), dataclasses.asdict(other)
        return [f"{key}: {mine[key]} / {theirs[key]}" for key in mine if mine[key] != theirs[key]]

    def to_json(self) -> str:
        """All fields as JSON, the inverse of :meth:`from_json`."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Protocol:
        """A Protocol from :meth:`to_json`."""
        fields = json.loads(text)
        return cls(**(fields | {"seeds": tuple(fields["seeds"])}))


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """Which adapters take part in a ranking: at most this Strength, at least this Consistency."""

    strength_max: float = float("inf")
    consistency_min: float = float("-inf")

    def __post_init__(self) -> None:
        """Refuse what cannot be compared with."""
        for field, value in dataclasses.asdict(self).items():
            if math.isnan(value):
                raise ProtocolError(f"the threshold {field} is {value}: give a number, or leave it out")

    def but(self, strength_max: float | None, consistency_min: float | None) -> Thresholds:
        """The same with other values, where they are not None."""
        return Thresholds(
            strength_max=self.strength_max if strength_max is None else strength_max,
            consistency_min=self.consistency_min if consistency_min is None else consistency_min,
        )


_MOST_THREADS = 4096
_MOST_TOKENS = 4096
_PAPER = Thresholds(strength_max=9.8, consistency_min=0.041)
_PAPER_MODELS = ("stabilityai/stable-diffusion-xl-base-1.0", "openai/clip-vit-base-patch32")


def borrowed_thresholds(protocol: Protocol, thresholds: Thresholds) -> str:
    """A sentence for thresholds that are the paper's although base model or encoder are not; else "".

    Strength is a length in the encoder's own space, and both figures depend on the base model: 9.8 and 0.041 say
    something about SDXL base 1.0 seen by CLIP ViT-B/32 only.
    """
    same = thresholds.strength_max == _PAPER.strength_max or thresholds.consistency_min == _PAPER.consistency_min
    if (protocol.base, protocol.encoder) == _PAPER_MODELS or not same:
        return ""
    return (
        "the thresholds are the paper's (9.8, 0.041), for SDXL base 1.0 and CLIP ViT-B/32, but this library was"
        f" measured with {protocol.base} and {protocol.encoder}: `lorascope calibrate` suggests others"
    )


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A Protocol before its models are found: names and places instead of digests.

    Shipped presets are the TOML files in ``lorascope/presets``; a person may give one of their own.

    Examples:
        >>> preset = Preset.load("sdxl-paper")
        >>> preset.width, preset.steps
        (1024, 25)
    """

    name: str
    family: str
    base: str
    encoders: tuple[str, ...]
    vae: str = ""
    accelerator: str = ""
    scheduler: str = ""
    steps: int
    guidance: float
    guidance_rescale: float = 0.0
    sequence_length: int = 0
    quality: str = ""
    negative_prompt: str = ""
    width: int
    height: int
    scale: float = 1.0
    triggers: TriggerPolicy = "adapter"
    alternatives: AlternativePolicy = "common"
    prompts: str = "index"
    query_prompts: str = "query"
    reference: str = "reference"
    judged_prompts: str = "judged"
    vocabulary: str = "vocabulary"
    seeds: tuple[int, ...]
    noise: NoiseRule = "cell"
    block_size: int = 32
    batch: int = 8
    dtype: str = "float16"
    threads: int = 0
    offload: Offload = ""
    strength_max: float = float("inf")
    consistency_min: float = float("-inf")
    estimator: EstimatorName = "regression"
    calibration: str = ""

    def __post_init__(self) -> None:
        """Refuse values no measurement can have."""
        for field in _CHOICES:
            _check_choice(self.name, field, getattr(self, field))
        self._check_ranges()
        for seed in self.seeds:
            if not -(2**63) <= seed < 2**63:
                raise ProtocolError(f"preset {self.name!r}: seeds holds {seed}: each must fit into 64 bits")
        for field, other in (("guidance", ""), ("scale", " other than 0")):
            value = getattr(self, field)
            if not math.isfinite(value) or (field == "scale" and not value):
                raise ProtocolError(f"preset {self.name!r}: {field} is {value}: give a finite number{other}")
        _ = self.thresholds
        if not self.encoders:
            raise ProtocolError(f"preset {self.name!r}: encoders is empty: name at least one")

    def _check_ranges(self) -> None:
        for field in ("steps", "width", "height", "block_size", "batch"):
            if getattr(self, field) < 1:
                raise ProtocolError(f"preset {self.name!r}: {field} is {getattr(self, field)}: it must be 1 or more")
        for field, most, words in (
            ("threads", _MOST_THREADS, "for all there are"),
            ("guidance_rescale", 1, "for none"),
            ("sequence_length", _MOST_TOKENS, "for what the pipeline takes"),
        ):
            if not 0 <= (value := getattr(self, field)) <= most:
                raise ProtocolError(f"preset {self.name!r}: {field} is {value}: it must be 0, {words}, to {most}")

    @property
    def models(self) -> tuple[str, ...]:
        """Every model that it names: base, VAE, accelerator, encoders."""
        return tuple(filter(None, (self.base, self.vae, self.accelerator, *self.encoders)))

    @property
    def thresholds(self) -> Thresholds:
        """The thresholds that suit this base, encoder and sampler."""
        return Thresholds(strength_max=self.strength_max, consistency_min=self.consistency_min)

    def text(self, prompt: str) -> str:
        """A prompt of either arm as it is rendered: after the quality words that people put before every prompt."""
        return f"{self.quality}, {prompt}" if self.quality else prompt

    def check_prompts(self) -> None:
        """Read every prompt set, also those that are needed only when all is measured.

        Raises:
            PromptSetError: one cannot be read.
        """
        for source in (self.prompts, self.query_prompts, self.reference, self.judged_prompts, self.vocabulary):
            PromptSet.load(source)

    def grid(self) -> Grid:
        """The grid of cells to measure."""
        return Grid(PromptSet.load(self.prompts), self.seeds, self.block_size)

    def protocol(self, *, base_digest: str, encoder: str, encoder_digest: str) -> Protocol:
        """The Protocol this preset becomes once its models are loaded, for one of its encoders."""
        shared = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(Protocol)
            if field.name not in {"prompts", "base_digest", "encoder", "encoder_digest"}
        }
        return Protocol(
            **shared,
            prompts=PromptSet.load(self.prompts).digest,
            base_digest=base_digest,
            encoder=encoder,
            encoder_digest=encoder_digest,
        )

    def to_json(self) -> str:
        """All fields as JSON, the inverse of :meth:`from_json`."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Preset:
        """A Preset from :meth:`to_json`, or from an earlier version that used all trigger words."""
        return cls._from_fields({"alternatives": "all"} | json.loads(text))

    @classmethod
    def load(cls, source: str | Path) -> Preset:
        """Read a shipped preset by name, or one from a TOML file.

        Raises:
            ProtocolError: no such preset, or a field is missing, unknown or out of range.
        """
        shipped = files("lorascope") / "presets" / f"{source}.toml"
        try:
            text = shipped.read_text("utf-8") if shipped.is_file() else Path(source).read_text("utf-8")
            return cls._from_fields(tomllib.loads(text))
        except OSError as error:
            names = ", ".join(presets())
            raise ProtocolError(f"no preset {str(source)!r}: use {names}, or the path of a .toml file") from error
        except (ValueError, RecursionError) as error:
            raise ProtocolError(
                f"preset {str(source)!r} cannot be used ({error}): compare it with one that ships, sdxl-paper.toml"
            ) from error

    @classmethod
    def _from_fields(cls, fields: dict[str, Any]) -> Preset:
        name = str(fields.get("name", ""))
        kinds = {field.name: str(field.type) for field in dataclasses.fields(cls)}
        needed = {field.name for field in dataclasses.fields(cls) if field.default is dataclasses.MISSING}
        if unknown := sorted(fields.keys() - kinds):
            raise ProtocolError(f"preset {name!r}: unknown field {unknown[0]!r}: compare it with sdxl-paper.toml")
        if missing := sorted(needed - fields.keys()):
            raise ProtocolError(f"preset {name!r}: field {missing[0]!r} is missing: compare it with sdxl-paper.toml")
        return cls(**{key: _checked(name, key, kinds.get(key, ""), value) for key, value in fields.items()})


_KINDS: dict[str, tuple[Any, str]] = {
    "int": (int, "a whole number"),
    "float": (int | float, "a number"),
    "str": (str, "text"),
    "tuple[str, ...]": (str, "a list of texts"),
    "tuple[int, ...]": (int, "a list of whole numbers"),
}


_CHOICES = {
    "triggers": get_args(TriggerPolicy),
    "alternatives": get_args(AlternativePolicy),
    "noise": get_args(NoiseRule),
    "offload": get_args(Offload),
    "estimator": get_args(EstimatorName),
}


def _check_choice(preset: str, name: str, value: Any) -> None:
    allowed = _CHOICES[name]
    if value not in allowed:
        raise ProtocolError(f"preset {preset!r}: {name} is {value!r}: use one of {', '.join(allowed)}")


def _checked(preset: str, name: str, kind: str, value: Any) -> Any:
    """A preset's value as its field holds it: 5 and 5.0 are the same guidance, with the same digest."""
    if name in _CHOICES:
        _check_choice(preset, name, value)
    allowed, words = _KINDS.get(kind, (object, ""))
    several = kind.startswith("tuple")
    good = isinstance(value, list | tuple) if several else True
    items: list[Any] = list(value) if several and good else [value]
    if not good or any(not isinstance(item, allowed) or isinstance(item, bool) for item in items):
        raise ProtocolError(f"preset {preset!r}: {name} is {value!r}: give {words or 'another value'}")
    return tuple(items) if several else float(value) if kind == "float" else value


def presets() -> list[str]:
    """The names of the presets that ship with the package."""
    folder = files("lorascope") / "presets"
    return sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))


@dataclass(frozen=True, kw_only=True)
class Execution:
    """How a measurement ran. Both arms of one effect share it; it is recorded, and no part of the Protocol."""

    device: str
    dtype: str
    batch: int
    block_size: int
    threads: int
    compiled: bool
    versions: str

    @cached_property
    def digest(self) -> str:
        """Ten hex digits over every field."""
        return _short_digest(dataclasses.asdict(self))

    def to_json(self) -> str:
        """All fields as JSON."""
        return json.dumps(dataclasses.asdict(self))
