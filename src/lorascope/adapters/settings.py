"""What an adapter's header or peft's config says about scaling, beyond the tensors themselves."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from reprlib import repr as shown
from typing import cast

_AT_A_DOT = r"(?:.*\.)?{}"
_HIGHEST = 1e9
"""Of an alpha or a rank. Trainers write at most thousands; a factor beyond float32 would be infinite."""
_TRUE = frozenset({"true", "1", "yes"})


class SettingProblem(Exception):
    """A config says something that cannot be; the text says what. The caller makes a MalformedAdapter of it."""


@dataclass(frozen=True, slots=True)
class Config:
    """One peft config: of the whole adapter, or of one component.

    Attributes:
        alpha: For modules that have none of their own; None if there is no config.
        rank: For the same; kinds without a rank in their shapes divide by it.
        rank_stabilised: Divide alpha by the square root of the rank.
        alphas: A pattern of module names to alpha.
    """

    alpha: float | None = None
    rank: int | None = None
    rank_stabilised: bool = False
    alphas: Mapping[str, float] = field(default_factory=dict[str, float])

    def alpha_of(self, module: str) -> float | None:
        """Return the alpha of a module, by peft's rule: a pattern counts if the name ends in it at a dot."""
        for pattern, alpha in self.alphas.items():
            if _pattern(pattern).fullmatch(module):
                return alpha
        return self.alpha


@dataclass(frozen=True, slots=True)
class Settings:
    """The configs of an adapter's components, and of all that have none of their own."""

    default: Config
    components: Mapping[str, Config]

    def of(self, component: str) -> Config:
        """Return the config of a component."""
        return self.components.get(component, self.default)

    @staticmethod
    def read(metadata: Mapping[str, str], config: Mapping[str, object] | None) -> "Settings":
        """Read the header first and peft's file after it.

        Args:
            metadata: The header's free text. diffusers keeps peft's configs in ``lora_adapter_metadata``,
                with each key led by its component ("unet.lora_alpha"); kohya and LyCORIS keep their options
                in ``ss_network_args``.
            config: The content of peft's ``adapter_config.json``, if there is one.

        Raises:
            SettingProblem: An alpha is no number, or none that any trainer writes.
        """
        options = _object(metadata.get("ss_network_args"))
        stabilised = any(_true(options.get(key)) for key in ("rs_lora", "use_rslora", "rslora"))
        stated = _object(metadata.get("lora_adapter_metadata"))
        components: dict[str, dict[str, object]] = {}
        for key, value in stated.items():
            component, dot, name = key.partition(".")
            if dot:
                components.setdefault(component, {})[name] = value
        default = _config(config) if config else _config(stated)
        if stabilised:
            default = Config(default.alpha, default.rank, True, default.alphas)
        return Settings(default, {name: _config(values) for name, values in components.items()})


def _config(values: Mapping[str, object]) -> Config:
    patterns = values.get("alpha_pattern")
    found = cast("dict[str, object]", patterns) if isinstance(patterns, dict) else {}
    alphas = {pattern: alpha for pattern, value in found.items() if (alpha := _number(value)) is not None}
    alpha = values.get("lora_alpha", values.get("alpha"))
    rank = values.get("r")
    return Config(
        _number(alpha),
        rank if type(rank) is int and 0 < rank <= _HIGHEST else None,
        _true(values.get("use_rslora")),
        alphas,
    )


def _number(value: object) -> float | None:
    if value is None:
        return None
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not abs(value) <= _HIGHEST:
        raise SettingProblem(f"an alpha of {shown(value)}")
    return float(value)


def _true(value: object) -> bool:
    return value is True or (isinstance(value, str) and value.lower() in _TRUE)


def _object(text: str | None) -> dict[str, object]:
    try:
        content = json.loads(text or "")
    except (ValueError, RecursionError):
        return {}
    return cast("dict[str, object]", content) if isinstance(content, dict) else {}


@lru_cache
def _pattern(pattern: str) -> re.Pattern[str]:
    """Compile a pattern of alphas. peft's are regular expressions, but a file may hold anything, meant as it stands."""
    try:
        return re.compile(_AT_A_DOT.format(f"(?:{pattern})"))
    except (re.error, OverflowError, RecursionError):
        return re.compile(_AT_A_DOT.format(re.escape(pattern)))
