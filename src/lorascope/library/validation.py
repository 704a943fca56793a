"""Checks on what comes from elsewhere: every value of a foreign library or export, before anything is stored.

Each function returns the value in its type here, or raises :class:`LibraryError` with a sentence that names what was
found. Callers say in front of it which file and which row it was.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from lorascope.errors import CalibrationError, LibraryError, LorascopeError
from lorascope.library.codec import restore
from lorascope.library.facts import AdapterFacts
from lorascope.moments import MOST_CELLS
from lorascope.precision import PRECISIONS, SCREENED
from lorascope.protocol import Execution, Preset, Protocol
from lorascope.signature import Calibration, Signature

NAME = 1_000
"""Characters of a name or a path's last part; the longest title on Civitai has about a hundred."""
TEXT = 200_000
"""Characters of a description. The longest published one has 8,196."""
JSON_TEXT = 1_000_000
"""Characters of facts, presets or figures as JSON."""
WIDEST = 16_384
"""Dimensions of an embedding; the widest encoder in use has 1,664."""
_INT64 = 2**63
_MOST_ITEMS = 100_000
_KEY = re.compile(r"sha256:[0-9a-f]{64}|civitai:[0-9]{1,18}@[0-9]{1,18}")
_DIGEST = re.compile(r"[0-9a-f]{10}")
_SLACK = 1e-6


def text(value: object, what: str, most: int = NAME) -> str:
    """Text of bounded length that can be stored and printed."""
    if not isinstance(value, str) or len(value) > most or "\0" in value:
        raise LibraryError(f"{what} is {_shown(value)}: it must be text of at most {most} characters")
    return value


def whole(value: object, what: str, low: int = 0, high: int = _INT64 - 1) -> int:
    """A whole number within limits."""
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise LibraryError(f"{what} is {_shown(value)}: it must be a whole number from {low} to {high}")
    return value


def real(value: object, what: str, low: float = -math.inf, high: float = math.inf) -> float:
    """A finite number within limits."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise LibraryError(f"{what} is {_shown(value)}: it must be a finite number")
    if not low - _SLACK <= value <= high + _SLACK:
        raise LibraryError(f"{what} is {value:g}: it must be from {low:g} to {high:g}")
    return float(value)


def key(value: object) -> str:
    """The key of an adapter."""
    if not isinstance(value, str) or not _KEY.fullmatch(value):
        raise LibraryError(f"the key is {_shown(value)}: it must be sha256:64-HEX-DIGITS or civitai:MODEL@VERSION")
    return value


def precision(value: object) -> str:
    """What a signature was measured to, or the threshold by which it was screened."""
    label = value.split(" ")[0] if isinstance(value, str) and len(value) <= 80 else ""
    if label not in (*PRECISIONS, SCREENED):
        raise LibraryError(f"the precision is {_shown(value)}: it must be one of {', '.join(PRECISIONS)}, {SCREENED}")
    return str(value)


def json_object(value: object, what: str, most: int = JSON_TEXT) -> dict[str, Any]:
    """A JSON object of bounded length."""
    try:
        found = json.loads(text(value, what, most))
    except (ValueError, RecursionError) as error:
        raise LibraryError(f"{what} is no JSON ({error!r:.80})") from error
    if not isinstance(found, dict):
        raise LibraryError(f"{what} is {_shown(found)}: it must be an object")
    return found


def protocol(fields: object, digest: str | None = None) -> Protocol:
    """A Protocol from its JSON, which must have this digest."""
    found = _record(Protocol, json_object(fields, "a Protocol"), "the Protocol")
    if len(set(found.seeds)) != len(found.seeds) or not 1 <= len(found.seeds) <= MOST_CELLS:
        raise LibraryError(f"the Protocol {found.name!r:.80} has {len(found.seeds)} seeds: each may be there once")
    if digest is not None and found.digest != digest:
        raise LibraryError(f"a Protocol is stored as {_shown(digest)}, but its fields have the digest {found.digest}")
    return found


def preset(value: object) -> Preset:
    """A Preset from its JSON."""
    fields = json_object(value, "a preset")
    for name, item in fields.items():
        if isinstance(item, str):
            text(item, f"the preset's {name}")
    try:
        return Preset.from_json(json.dumps(fields))
    except (LorascopeError, TypeError, ValueError, OverflowError) as error:
        raise LibraryError(f"a preset cannot be used ({error!s:.200})") from error


def execution(fields: object, digest: str) -> Execution:
    """An Execution from its JSON, which must have this digest."""
    found = _record(Execution, json_object(fields, "an Execution"), "the Execution")
    if found.digest != digest:
        raise LibraryError(f"an Execution is stored as {_shown(digest)}, but its fields have the digest {found.digest}")
    return found


def calibration(data: object, digest: object) -> Calibration:
    """A Calibration from its bytes, which must have this digest."""
    if not isinstance(data, bytes):
        raise LibraryError(f"a Calibration is {_shown(data)}: it must be binary")
    try:
        found = Calibration.from_bytes(data)
    except CalibrationError as error:
        raise LibraryError(str(error)) from error
    if found.digest != digest:
        raise LibraryError(
            f"a Calibration is stored as {_shown(digest)}, but what it says has the digest {found.digest}"
        )
    return found


def digest(value: object, what: str) -> str:
    """Ten hex digits."""
    if not isinstance(value, str) or not _DIGEST.fullmatch(value):
        raise LibraryError(f"{what} is {_shown(value)}: it must be ten hex digits")
    return value


def vector(value: object, what: str, dtype: type[np.floating[Any]] = np.float32) -> np.ndarray:
    """Finite numbers from the bytes they are stored as."""
    size = np.dtype(dtype).itemsize
    if not isinstance(value, bytes) or not value or len(value) % size:
        raise LibraryError(f"{what} is {_shown(value)}: it must be {np.dtype(dtype)} numbers")
    found = np.frombuffer(value, dtype)
    if not np.isfinite(found).all():
        raise LibraryError(f"{what} holds NaN or infinity")
    return found


def signature(direction: object, mean: object, figures: object) -> Signature:
    """A Signature from Direction and mean effect (float32) and its figures as JSON, with every figure in its range."""
    dims = len(vector(direction, "the Direction"))
    if dims > WIDEST:
        raise LibraryError(f"the Direction has {dims} dimensions: no encoder has more than {WIDEST}")
    if mean is not None and len(vector(mean, "the mean effect")) != dims:
        raise LibraryError(f"the mean effect has other dimensions than the Direction, which has {dims}")
    fields = json_object(figures, "the figures")
    _figures(fields, estimated=mean is not None)
    for truth in ("grid", "new_prompts"):
        _accuracy(fields[truth], truth)
    if not isinstance(fields["categories"], list) or len(fields["categories"]) > NAME:
        raise LibraryError(f"the categories are {_shown(fields['categories'])}: they must be a list")
    for row in fields["categories"]:
        _category(row)
    try:
        return restore(direction, mean, json.dumps(fields))  # type: ignore[arg-type]
    except (TypeError, ValueError, KeyError) as error:
        raise LibraryError(f"the figures are incomplete ({error!r:.80})") from error


def _figures(fields: dict[str, Any], *, estimated: bool) -> None:
    expected = {one.name for one in dataclasses.fields(Signature)} - {"direction", "mean"}
    if estimated:
        digest(fields.get("calibration"), "the Calibration")
    else:
        expected -= {"calibration"}
    if fields.keys() != expected:
        odd = ", ".join(sorted(map(str, fields.keys() ^ expected)))[:80]
        raise LibraryError(f"the figures lack or add {odd}")
    cells = whole(fields["cells"], "cells", 1, MOST_CELLS)
    whole(fields["prompts"], "prompts", 1, cells)
    for name in ("strength", "magnitude"):
        real(fields[name], name, 0.0, float(np.finfo(np.float32).max))
    for name in ("consistency", "active_consistency"):
        if fields[name] is not None:
            real(fields[name], name, -1.0, 1.0)
    real(fields["active_share"], "active_share", 0.0, 1.0)


def _accuracy(value: object, what: str) -> None:
    names = ("strength", "consistency", "agreement")
    if not isinstance(value, dict) or value.keys() != set(names):
        raise LibraryError(f"{what} is {_shown(value)}: it must hold {', '.join(names)}")
    for name, estimate in value.items():
        if estimate is None:
            continue
        limits = list(estimate.values()) if isinstance(estimate, dict) else []
        good = isinstance(estimate, dict) and estimate.keys() == {"value", "lower", "upper"}
        good = good and all(isinstance(x, int | float) and not isinstance(x, bool) and x == x for x in limits)
        if not good or not math.isfinite(estimate["value"]) or estimate["lower"] > estimate["upper"]:
            raise LibraryError(f"{what} {name} is {_shown(estimate)}: it must be a value with its limits")


def _category(row: object) -> None:
    names = {"category", "cells", "strength", "consistency", "alignment"}
    if not isinstance(row, dict) or row.keys() != names:
        raise LibraryError(f"a category is {_shown(row)}: it must hold {', '.join(sorted(names))}")
    text(row["category"], "a category")
    whole(row["cells"], "a category's cells", 1, MOST_CELLS)
    real(row["strength"], "a category's strength", 0.0)
    real(row["alignment"], "a category's alignment", -1.0, 1.0)
    if row["consistency"] is not None:
        real(row["consistency"], "a category's consistency", -1.0, 1.0)


def _record(kind: type[Any], fields: dict[str, Any], what: str) -> Any:
    """A dataclass of plain fields, each of its declared type."""
    declared = {one.name: str(one.type) for one in dataclasses.fields(kind)}
    younger = {one.name for one in dataclasses.fields(kind) if one.default is not dataclasses.MISSING}
    if odd_names := (fields.keys() ^ declared.keys()) - (younger - fields.keys()):
        odd = ", ".join(sorted(map(str, odd_names)))[:80]
        raise LibraryError(f"{what} lacks or adds {odd}")
    return kind(**{name: _typed(value, declared[name], f"{what}'s {name}") for name, value in fields.items()})


def _typed(value: object, kind: str, what: str) -> Any:
    if kind == "int":
        return whole(value, what, -_INT64)
    if kind == "float":
        return real(value, what)
    if kind == "bool":
        if not isinstance(value, bool):
            raise LibraryError(f"{what} is {_shown(value)}: it must be true or false")
        return value
    if kind.startswith("tuple[int"):
        if not isinstance(value, list) or len(value) > MOST_CELLS:
            raise LibraryError(f"{what} is {_shown(value)}: it must be a list of whole numbers")
        return tuple(whole(item, what, -_INT64) for item in value)
    return text(value, what)


def plain(value: object, what: str, depth: int = 6) -> None:
    """Refuse nested data that is deep, long, or holds what no fact is: NaN, infinity, texts without end."""
    if isinstance(value, str):
        text(value, what, TEXT)
    elif isinstance(value, float):
        real(value, what)
    elif isinstance(value, int):
        whole(int(value), what, -_INT64)
    elif isinstance(value, dict | list):
        items: list[object] = list(value) if isinstance(value, list) else [*value, *value.values()]
        if not depth or len(items) > _MOST_ITEMS:
            raise LibraryError(f"{what} is {_shown(value)}: it is nested too deeply or too long")
        for item in items:
            plain(item, what, depth - 1)


def _shown(value: object) -> str:
    """A value for a message, short whatever it is."""
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    if isinstance(value, str | list | dict) and len(value) > NAME:
        return f"{type(value).__name__} of {len(value)}"
    found = repr(value)
    return found if len(found) <= 80 else f"{found[:77]}..."


def facts(value: object) -> AdapterFacts:
    """What is known about an adapter besides its signatures; facts that this version does not know are left behind."""
    found = json_object(value, "the facts of an adapter")
    plain(found, "the facts of an adapter")
    kept = {name: item for name, item in found.items() if name in _FACTS and item is not None}
    if isinstance(kept.get("claims"), dict):
        kept["claims"] = {name: claim for name, claim in kept["claims"].items() if name in _CLAIMS}
    for name, item in kept.items():
        if not _FACTS[name](item):
            raise LibraryError(f"the fact {name} is {_shown(item)}, which is no such fact")
    return AdapterFacts.from_json(json.dumps(kept))


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_mapping(of: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, dict) and all(map(of, value.values()))


def _is_claims(value: object) -> bool:
    return isinstance(value, dict) and all(
        isinstance(claim, dict)
        and claim.keys() == {"value", "source"}
        and _is_text(claim["source"])
        and _CLAIMS[name](claim["value"])
        for name, claim in value.items()
    )


def _is_spectrum(value: object) -> bool:
    names = {"norm", "stable_rank", "text", "attention", "changed"}
    return isinstance(value, dict) and value.keys() == names and all(map(_is_number, value.values()))


def _is_former_spectrum(value: object) -> bool:
    """As layout 2 has it: with the base model and scale that it was taken at."""
    return (
        isinstance(value, dict)
        and _is_text(value.get("worn_as"))
        and _is_spectrum({k: v for k, v in value.items() if k != "worn_as"})
    )


_CLAIMS: dict[str, Callable[[object], bool]] = {
    **dict.fromkeys(("title", "description", "base_model", "lineage"), _is_text),
    **dict.fromkeys(("triggers", "tags"), _is_texts),
    **dict.fromkeys(("nsfw_level", "civitai_model", "civitai_version"), _is_count),
    "weight": _is_number,
}
# "tensors" is not among these: by it a file of mine would be taken for a stranger's adapter
_FACTS: dict[str, Callable[[object], bool]] = {
    "format": _is_text,
    "kinds": _is_mapping(_is_count),
    "ranks": lambda value: isinstance(value, list) and all(map(_is_number, value)),
    "components": _is_mapping(_is_count),
    "tokens": _is_texts,
    "size": _is_count,
    "claims": _is_claims,
    "read_from": _is_text,
    "measured_words": _is_mapping(_is_text),
    "worn": _is_mapping(_is_text),
    "modules_matched": _is_count,
    "modules_total": _is_count,
    "unmatched": _is_texts,
    "notes": _is_texts,
    "prompts_cut": _is_count,
    "spectra": _is_mapping(_is_spectrum),
    "spectrum": _is_former_spectrum,
    "folder_name": _is_text,
    "downloads": _is_count,
}
