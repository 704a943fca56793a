"""The files that other tools lay beside an adapter, and what they claim about it.

For ``X.safetensors`` these are, in order of trust: ``X.metadata.json`` (ComfyUI-Lora-Manager), ``X.json``
(A1111), ``X.safetensors.rgthree-info.json``, ``X.civitai.info`` (Civitai's own answer) and ``X.cm-info.json``
(Stability Matrix). What a person typed comes before what was downloaded. A broken sidecar is noted and
otherwise ignored: it must never stop a measurement.
"""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, cast

from lorascope.adapters.claims import Claim, Claims, number_claim, text_claim, weight_claim, words_claim
from lorascope.adapters.folder import ADAPTERS
from lorascope.errors import MalformedAdapter

MAX_SIDECAR: Final = 20_000_000
"""Bytes. Civitai's answers with every preview are well below one million."""

Fields = Mapping[str, object]


def sidecar_claims(path: Path) -> Claims:
    """Collect what the sidecars of the adapter at ``path`` claim; never raises."""
    claims = Claims()
    for name, read in _SIDECARS:
        sidecar = path.with_name((path.name if name.startswith(".safetensors.") else path.stem) + _tail(name))
        try:
            content = _load(sidecar)
            found = read(content, sidecar.name) if content is not None else Claims()
        except (OSError, ValueError, RecursionError) as error:
            found = Claims(notes=(f"{sidecar.name} ignored: {error}",))
        claims = claims.otherwise(found)
    return claims


def peft_config(path: Path) -> dict[str, object] | None:
    """Return the ``adapter_config.json`` that peft lays beside an adapter, or None.

    It holds the alpha of every module, which peft does not write into the tensors' file. It belongs to the file by
    peft's own name, or to the only adapter in the folder: among many, it would be unclear whose it is.

    Raises:
        MalformedAdapter: It is there and cannot be read. Without its alpha, another adapter would be measured.
    """
    beside = path.with_name("adapter_config.json")
    try:
        if not beside.is_file() or not (path.name == "adapter_model.safetensors" or _is_alone(path)):
            return None
        content = _load(beside)
    except (OSError, ValueError, RecursionError) as error:
        reason = f"the adapter_config.json beside it, which has its alpha, cannot be read: {error}"
        raise MalformedAdapter(path, reason, "Download both files again") from error
    return dict(content) if content is not None else None


def _is_alone(path: Path) -> bool:
    names = os.listdir(path.parent)  # noqa: PTH208 - only the names are needed
    return [name for name in names if name.lower().endswith(ADAPTERS)] == [path.name]


def _tail(name: str) -> str:
    return name.removeprefix(".safetensors")


def _load(path: Path) -> Fields | None:
    if not path.is_file():
        return None
    with path.open("rb") as file:
        raw = file.read(MAX_SIDECAR + 1)
    if len(raw) > MAX_SIDECAR:
        raise ValueError(f"larger than {MAX_SIDECAR} bytes")
    content = json.loads(raw.decode("utf-8-sig"))
    if not isinstance(content, dict):
        raise ValueError(f"holds {type(content).__name__} instead of an object")
    return cast("dict[str, object]", content)


def _object(content: Fields, key: str) -> Fields:
    inner = content.get(key)
    return cast("dict[str, object]", inner) if isinstance(inner, dict) else {}


def _nsfw(content: Fields, level: str, flag: str, source: str) -> Claim[int] | None:
    """Claim an NSFW level; a mere yes counts as the highest, so that a filter errs on the safe side."""
    if content.get(flag) is True and number_claim(content.get(level), "") is None:
        return Claim(16, f"{source}: {flag}")
    return number_claim(content.get(level), f"{source}: {level}")


def _civitai(content: Fields, file: str) -> Claims:
    """Read Civitai's answer about one version, which several tools keep as it came."""
    model = _object(content, "model")
    return Claims(
        title=text_claim(model.get("name"), f"{file}: model.name"),
        description=text_claim(model.get("description"), f"{file}: model.description")
        or text_claim(content.get("description"), f"{file}: description"),
        triggers=words_claim(_list(content.get("trainedWords")), f"{file}: trainedWords"),
        tags=words_claim(_list(model.get("tags")), f"{file}: model.tags"),
        nsfw_level=_nsfw(content, "nsfwLevel", "nsfw", file) or _nsfw(model, "nsfwLevel", "nsfw", f"{file}: model"),
        base_model=text_claim(content.get("baseModel"), f"{file}: baseModel"),
        civitai_model=number_claim(content.get("modelId"), f"{file}: modelId"),
        civitai_version=number_claim(content.get("id"), f"{file}: id"),
    )


def _lora_manager(content: Fields, file: str) -> Claims:
    tips = _embedded_json(content.get("usage_tips"))
    own = Claims(
        title=text_claim(content.get("model_name"), f"{file}: model_name"),
        description=text_claim(content.get("modelDescription"), f"{file}: modelDescription"),
        tags=words_claim(_list(content.get("tags")), f"{file}: tags"),
        weight=weight_claim(tips.get("strength"), f"{file}: usage_tips.strength"),
        base_model=text_claim(content.get("base_model"), f"{file}: base_model"),
    )
    rest = Claims(nsfw_level=number_claim(content.get("preview_nsfw_level"), f"{file}: preview_nsfw_level"))
    return own.otherwise(_civitai(_object(content, "civitai"), f"{file}: civitai")).otherwise(rest)


def _a1111(content: Fields, file: str) -> Claims:
    return Claims(
        description=text_claim(content.get("description"), f"{file}: description")
        or text_claim(content.get("notes"), f"{file}: notes"),
        triggers=words_claim(content.get("activation text"), f"{file}: activation text"),
        weight=weight_claim(content.get("preferred weight"), f"{file}: preferred weight"),
        base_model=text_claim(content.get("sd version"), f"{file}: sd version"),
    )


def _rgthree(content: Fields, file: str) -> Claims:
    """Read rgthree's file: words with where they were found, and Civitai's answer under ``raw``."""
    words = [
        cast("dict[str, object]", entry) for entry in _list(content.get("trainedWords")) if isinstance(entry, dict)
    ]
    # words that only the training captions hold are frequent, not chosen
    chosen = [word.get("word") for word in words if word.get("civitai") or word.get("user")]
    low, high = content.get("strengthMin"), content.get("strengthMax")
    own = Claims(
        title=text_claim(content.get("name"), f"{file}: name"),
        description=text_claim(content.get("userNote"), f"{file}: userNote"),
        triggers=words_claim(chosen, f"{file}: trainedWords"),
        weight=weight_claim(_middle(low, high), f"{file}: strengthMin, strengthMax"),
        base_model=text_claim(content.get("baseModel"), f"{file}: baseModel"),
    )
    return own.otherwise(_civitai(_object(_object(content, "raw"), "civitai"), f"{file}: raw.civitai"))


def _stability_matrix(content: Fields, file: str) -> Claims:
    return Claims(
        title=text_claim(content.get("UserTitle"), f"{file}: UserTitle")
        or text_claim(content.get("ModelName"), f"{file}: ModelName"),
        description=text_claim(content.get("ModelDescription"), f"{file}: ModelDescription"),
        triggers=words_claim(_list(content.get("TrainedWords")), f"{file}: TrainedWords"),
        tags=words_claim(_list(content.get("Tags")), f"{file}: Tags"),
        nsfw_level=_nsfw(content, "NsfwLevel", "Nsfw", file),
        base_model=text_claim(content.get("BaseModel"), f"{file}: BaseModel"),
        civitai_model=number_claim(content.get("ModelId"), f"{file}: ModelId"),
        civitai_version=number_claim(content.get("VersionId"), f"{file}: VersionId"),
    )


def _list(value: object) -> list[object]:
    return cast("list[object]", value) if isinstance(value, list) else []


def _embedded_json(value: object) -> Fields:
    """Return an object that was written as text inside another one."""
    try:
        content = json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return {}
    return cast("dict[str, object]", content) if isinstance(content, dict) else {}


def _middle(low: object, high: object) -> float | None:
    ends = [claim.value for value in (low, high) if (claim := weight_claim(value, "")) is not None]
    return sum(ends) / len(ends) if ends else None


_SIDECARS: Final[tuple[tuple[str, Callable[[Fields, str], Claims]], ...]] = (
    (".metadata.json", _lora_manager),
    (".json", _a1111),
    (".safetensors.rgthree-info.json", _rgthree),
    (".civitai.info", _civitai),
    (".cm-info.json", _stability_matrix),
)
