"""What an adapter's header or peft's config says about scaling, beyond the tensors themselves."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from reprlib import repr as shown
from typing import TypeVar, cast

from lorascope.adapters.header import Header
from lorascope.errors import MalformedAdapter

_T = TypeVar("_T")
_AT_A_DOT = r"(?:.*\.)?{}"
_HIGHEST = 1e9
"""Of an alpha or a rank. Trainers write at most thousands; a factor beyond float32 would be infinite."""
_HARMLESS_STARTS = frozenset({"true", "false", "gaussian", "eva", "orthogonal", "mica"})
"""Values of ``init_lora_weights`` that leave the base weight as it is: B is zero, or B A is, before training."""
_KNOWN_STARTS = frozenset({"", "pissa", "olora"})
"""Values that say which part of the base weight the factors held before training, so that it can be subtracted."""
_MOST_TERMS = 100
"""Of OFT's series. peft takes five."""
CONVERT = "Save it from peft with path_initial_model_for_weight_conversion, which makes a plain LoRA of it"
_ROOTED = (".a1.weight", ".lokr_w2")
"""Ends of keys of the kinds that LyCORIS' ``rs_lora`` matters for: GLoRA, and LoKr of whole factors."""
_YES = frozenset({"true", "1", "yes"})


class _SettingProblem(Exception):
    """A config says something that cannot be; the text says what."""


@dataclass(frozen=True, slots=True)
class ComponentSettings:
    """One peft config: of the whole adapter, or of one component.

    Attributes:
        alpha: For modules that have none of their own; None if there is no config.
        rank: For the same; kinds without a rank in their shapes divide by it.
        rank_stabilised: Divide alpha by the square root of the rank.
        alphas: A pattern of module names to alpha.
        start: What the factors were before training, if the base weight was changed for it ("pissa", "olora", ...);
            otherwise empty.
        feedforward: The modules in which IA3 scales the input: endings of names, or one regular expression; None if
            it is not stated.
        oft_terms: How many terms of its series OFT takes; 0 if it computes a quotient instead.
        oft_bound: Of |Q| in OFT, times the root of the number of blocks.
        ranks: A pattern of module names to rank.
    """

    alpha: float | None = None
    rank: int | None = None
    rank_stabilised: bool = False
    alphas: Mapping[str, float] = field(default_factory=dict[str, float])
    start: str = ""
    feedforward: tuple[str, ...] | str | None = None
    oft_terms: int = 5
    oft_bound: float = math.inf
    ranks: Mapping[str, int] = field(default_factory=dict[str, int])

    def alpha_of(self, module: str) -> float | None:
        """Return the alpha of a module, by peft's rule: a pattern counts if the name ends in it at a dot."""
        return _by_pattern(self.alphas, module, self.alpha)

    def rank_of(self, module: str) -> int | None:
        """Return the rank that is stated for a module, by the same rule."""
        return _by_pattern(self.ranks, module, self.rank)

    def is_feedforward(self, module: str) -> bool | None:
        """Tell whether IA3 scales the input of a module; None if the config does not say."""
        if isinstance(self.feedforward, str):
            return _pattern(self.feedforward).fullmatch(module) is not None
        return None if self.feedforward is None else module.endswith(self.feedforward)


@dataclass(frozen=True, slots=True)
class Settings:
    """The configs of an adapter's components, and of all that have none of their own."""

    default: ComponentSettings
    components: Mapping[str, ComponentSettings]
    rooted: bool = False
    """Whether LyCORIS' ``rs_lora`` was on for a kind whose stored alpha does not hold the root of the rank."""

    def of(self, component: str) -> ComponentSettings:
        """Return the config of a component."""
        return self.components.get(component, self.default)

    @staticmethod
    def read(header: Header, config: Mapping[str, object] | None, path: Path) -> "Settings":
        """Read all that decides, beside the tensors, what an adapter does: the header first and peft's file after it.

        LyCORIS' ``rs_lora`` changes nothing for most kinds: the alpha that is stored with it gives the right factor
        when it is divided by the rank, as every alpha in a file is. GLoRA and LoKr of two whole factors are otherwise.

        Args:
            header: Its free text counts. diffusers keeps peft's configs in ``lora_adapter_metadata``,
                with each key led by its component ("unet.lora_alpha"); LyCORIS keeps its options in
                ``ss_network_args``.
            config: The content of peft's ``adapter_config.json``, if there is one.
            path: The file, for messages.

        Raises:
            MalformedAdapter: An alpha is no number, or none that any trainer writes; or the factors hold a part of
                the base weight that cannot be known.
        """
        stated = _object(header.metadata.get("lora_adapter_metadata"))
        components: dict[str, dict[str, object]] = {}
        for key, value in stated.items():
            component, dot, name = key.partition(".")
            if dot:
                components.setdefault(component, {})[name] = value
        try:
            default = _config(config) if config else _config(stated)
            made = {name: _config(values) for name, values in components.items()}
        except _SettingProblem as problem:
            raise MalformedAdapter(path, f"its config has {problem}", "Export it again from its trainer") from problem
        for one in (default, *made.values()):
            if one.start not in _KNOWN_STARTS:
                reason = f"its factors hold a part of the base weights (init_lora_weights is {one.start!r:.80})"
                raise MalformedAdapter(path, f"{reason}, which cannot be computed from them", CONVERT)
        option = _object(header.metadata.get("ss_network_args")).get("rs_lora")
        rooted = str(option).lower() in _YES and any(key.endswith(_ROOTED) for key in header.tensors)
        return Settings(default, made, rooted)

    def starts(self) -> str:
        """Return what the factors were before training, if that was a part of the base weights."""
        return next((one.start for one in (self.default, *self.components.values()) if one.start), "")


def _config(values: Mapping[str, object]) -> ComponentSettings:
    patterns = _mapping(values.get("alpha_pattern"))
    alphas = {pattern: alpha for pattern, value in patterns.items() if (alpha := _number(value)) is not None}
    alpha = values.get("lora_alpha", values.get("alpha"))
    start = values.get("init_lora_weights")
    return ComponentSettings(
        _number(alpha),
        _rank(values.get("r")),
        values.get("use_rslora") is True,
        alphas,
        start.lower() if isinstance(start, str) and start.lower() not in _HARMLESS_STARTS else "",
        _feedforward(values.get("feedforward_modules")),
        _oft_terms(values),
        _positive(values.get("eps"), "eps") if values.get("coft") is True else math.inf,
        {name: rank for name, value in _mapping(values.get("rank_pattern")).items() if (rank := _rank(value))},
    )


def _mapping(value: object) -> dict[str, object]:
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}


def _rank(value: object) -> int | None:
    return value if type(value) is int and 0 < value <= _HIGHEST else None


def _oft_terms(values: Mapping[str, object]) -> int:
    terms = values.get("num_cayley_neumann_terms", 5)
    if type(terms) is not int or not 0 < terms <= _MOST_TERMS:
        raise _SettingProblem(f"num_cayley_neumann_terms of {shown(terms)}")
    return 0 if values.get("use_cayley_neumann") is False else terms


def _positive(value: object, name: str) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 < value <= _HIGHEST:
        raise _SettingProblem(f"the {name} {shown(value)}")
    return float(value)


def _feedforward(value: object) -> tuple[str, ...] | str | None:
    if isinstance(value, str):
        return value
    if not isinstance(value, (list, tuple, set)):
        return None
    return tuple(sorted(name for name in cast("list[object]", value) if isinstance(name, str)))


def _number(value: object) -> float | None:
    if value is None:
        return None
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not abs(value) <= _HIGHEST:
        raise _SettingProblem(f"an alpha of {shown(value)}")
    return float(value)


def _object(text: str | None) -> dict[str, object]:
    try:
        content = json.loads(text or "")
    except (ValueError, RecursionError):
        return {}
    return _mapping(content)


def _by_pattern(found: Mapping[str, _T], module: str, otherwise: _T | None) -> _T | None:
    return next((value for pattern, value in found.items() if _pattern(pattern).fullmatch(module)), otherwise)


@lru_cache
def _pattern(pattern: str) -> re.Pattern[str]:
    """Compile a pattern of alphas. peft's are regular expressions, but a file may hold anything, meant as it stands."""
    try:
        return re.compile(_AT_A_DOT.format(f"(?:{pattern})"))
    except (re.error, OverflowError, RecursionError):
        return re.compile(_AT_A_DOT.format(re.escape(pattern)))
