"""The files that other tools put beside an adapter, and what they claim about it.

For ``X.safetensors`` these are, in order of trust: ``X.metadata.json`` (ComfyUI-Lora-Manager), ``X.json``
(A1111, or SD.Next's copy of Civitai's whole model), ``X.swarm.json`` (SwarmUI), ``X.safetensors.rgthree-info.json``,
``X.civitai.info`` (Civitai's own answer) and ``X.cm-info.json`` (Stability Matrix). What a person typed comes before
what was downloaded. A broken sidecar is noted and otherwise ignored: it must never stop a measurement.
"""

import hashlib
import json
import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import fields as dataclass_fields
from dataclasses import replace
from pathlib import Path
from typing import Final, cast

from lorascope.adapters.claims import (
    Claim,
    Claims,
    base_claim,
    header_claims,
    lineage_claim,
    number_claim,
    text_claim,
    trigger_claim,
    weight_claim,
    words_claim,
)
from lorascope.adapters.folder import ADAPTERS
from lorascope.adapters.header import open_file
from lorascope.errors import AdapterError, MalformedAdapter

MAX_SIDECAR: Final = 20_000_000
"""Bytes. Civitai's answers with every preview are well below one million."""

_ADULT: Final = 16
"""The highest of Civitai's levels: 1, 2, 4, 8, 16."""

Fields = Mapping[str, object]


def sidecar_claims(path: Path) -> Claims:
    """Collect what the sidecars of the adapter at ``path`` claim; never raises."""
    claims = Claims()
    lineages: list[tuple[bool, Claim[str]]] = []
    for name, read, is_site in _SIDECARS:
        stem = path.name if name.startswith(".safetensors.") else path.stem
        sidecar = path.with_name(stem + name.removeprefix(".safetensors"))
        try:
            content = _load(sidecar, path)
            found = read(content, sidecar.name, path) if content is not None else Claims()
        except (OSError, ValueError, RecursionError, AdapterError) as error:
            found = Claims(notes=(f"{sidecar.name} ignored: {error}",))
        if lineage := lineage_claim(found.base_model):
            lineages.append((not is_site, lineage))
        claims = claims.otherwise(found)
    # what a site says of the base goes before what was typed or copied into a tool's file
    return replace(claims, lineage=min(lineages, key=lambda one: one[0])[1] if lineages else None)


def peft_config(path: Path) -> dict[str, object] | None:
    """Return the ``adapter_config.json`` that peft puts beside an adapter, or None.

    It holds the alpha of every module, which peft does not write into the tensors' file. It belongs to the file by
    peft's own name, or to the only adapter in the folder: among many, it would be unclear whose it is.

    Raises:
        MalformedAdapter: It is there and cannot be read. Without its alpha, another adapter would be measured.
    """
    beside = path.with_name("adapter_config.json")
    try:
        if not beside.is_file() or not (path.name == "adapter_model.safetensors" or _is_alone(path)):
            return None
        content = _load(beside, path)
    except (OSError, ValueError, RecursionError) as error:
        reason = f"the adapter_config.json beside it, which has its alpha, cannot be read: {error}"
        raise MalformedAdapter(path, reason, "Download both files again") from error
    return dict(content) if content is not None else None


def _is_alone(path: Path) -> bool:
    names = os.listdir(path.parent)  # noqa: PTH208 - only the names are needed
    return [name for name in names if name.lower().endswith(ADAPTERS)] == [path.name]


def _load(path: Path, adapter: Path) -> Fields | None:
    """Return the content of a sidecar, or None if there is none. What it links to must be beside the adapter's file."""
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("not a regular file")
    if path.is_symlink() and path.resolve().parent not in (path.parent.resolve(), adapter.resolve().parent):
        raise ValueError(f"it links to {path.resolve()}, which is in another folder")
    with path.open("rb") as file:
        raw = file.read(MAX_SIDECAR + 1)
    if len(raw) > MAX_SIDECAR:
        raise ValueError(f"larger than {MAX_SIDECAR} bytes")
    content = json.loads(_text(raw))
    if not isinstance(content, dict):
        raise ValueError(f"holds {type(content).__name__} instead of an object")
    return cast("dict[str, object]", content)


def _text(raw: bytes) -> str:
    """Decode what tools write: UTF-8 with or without a mark, UTF-16 with one, and old Windows' code page."""
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return raw.decode("utf-16")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("cp1252")


def _object(content: Fields, key: str) -> Fields:
    inner = content.get(key)
    return cast("dict[str, object]", inner) if isinstance(inner, dict) else {}


def _nsfw(content: Fields, level: str, flag: str, source: str) -> Claim[int] | None:
    """Claim the stricter of a level and a flag; a mere yes is the highest level, so that filters err on that side."""
    claim = number_claim(content.get(level), f"{source}: {level}")
    if content.get(flag) is True and (claim is None or claim.value < _ADULT):
        return Claim(_ADULT, f"{source}: {flag}")
    return claim


def _strictest(*claims: Claim[int] | None) -> Claim[int] | None:
    return max((claim for claim in claims if claim), key=lambda claim: claim.value, default=None)


def _civitai(content: Fields, file: str, path: Path) -> Claims:
    """Read Civitai's answer about one version, which several tools keep as it came."""
    model = _object(content, "model")
    return Claims(
        title=text_claim(model.get("name"), f"{file}: model.name"),
        description=text_claim(model.get("description"), f"{file}: model.description")
        or text_claim(content.get("description"), f"{file}: description"),
        triggers=trigger_claim(_list(content.get("trainedWords")), f"{file}: trainedWords"),
        tags=words_claim(_list(model.get("tags")), f"{file}: model.tags"),
        nsfw_level=_strictest(
            _nsfw(content, "nsfwLevel", "nsfw", file), _nsfw(model, "nsfwLevel", "nsfw", f"{file}: model")
        ),
        base_model=base_claim(content.get("baseModel"), f"{file}: baseModel"),
        civitai_model=number_claim(content.get("modelId"), f"{file}: modelId"),
        civitai_version=number_claim(content.get("id"), f"{file}: id"),
    )


def _lora_manager(content: Fields, file: str, path: Path) -> Claims:
    tips = _embedded_json(content.get("usage_tips"))
    own = Claims(
        title=text_claim(content.get("model_name"), f"{file}: model_name"),
        description=text_claim(content.get("modelDescription"), f"{file}: modelDescription"),
        tags=words_claim(_list(content.get("tags")), f"{file}: tags"),
        weight=weight_claim(tips.get("strength"), f"{file}: usage_tips.strength")
        or weight_claim(_middle(*_range(tips)), f"{file}: usage_tips"),
        base_model=base_claim(content.get("base_model"), f"{file}: base_model"),
    )
    rest = Claims(nsfw_level=number_claim(content.get("preview_nsfw_level"), f"{file}: preview_nsfw_level"))
    return own.otherwise(_civitai(_object(content, "civitai"), f"{file}: civitai", path)).otherwise(rest)


def _json(content: Fields, file: str, path: Path) -> Claims:
    return _sd_next(content, file, path) if isinstance(content.get("modelVersions"), list) else _a1111(content, file)


def _sd_next(content: Fields, file: str, path: Path) -> Claims:
    """Read Civitai's answer about a whole model, of which one version is this file, by its SHA-256."""
    model = Claims(
        title=text_claim(content.get("name"), f"{file}: name"),
        description=text_claim(content.get("description"), f"{file}: description"),
        tags=words_claim(_list(content.get("tags")), f"{file}: tags"),
        nsfw_level=_nsfw(content, "nsfwLevel", "nsfw", file),
        civitai_model=number_claim(content.get("id"), f"{file}: id"),
    )
    with open_file(path) as opened:
        own = hashlib.file_digest(opened, "sha256").hexdigest()
    for version in _objects(content.get("modelVersions")):
        hashes = (_object(one, "hashes").get("SHA256") for one in _objects(version.get("files")))
        if any(isinstance(digest, str) and digest.lower() == own for digest in hashes):
            return _civitai(version, f"{file}: {version.get('name')}", path).otherwise(model)
    return model.otherwise(Claims(notes=(f"{file}: none of its versions has this file's SHA-256",)))


def _swarm(content: Fields, file: str, path: Path) -> Claims:
    """Read SwarmUI's file: the fields of a header, as they are or under ``__metadata__``."""
    fields = _object(content, "__metadata__") or content
    claims = header_claims({key: value for key, value in fields.items() if isinstance(value, str)})
    named = {one.name: getattr(claims, one.name) for one in dataclass_fields(claims)}
    moved = {name: Claim(claim.value, claim.source.replace("header", f"{file}:")) for name, claim in named.items()
             if isinstance(claim, Claim)}  # fmt: skip
    return replace(claims, **moved)


def _a1111(content: Fields, file: str) -> Claims:
    return Claims(
        description=text_claim(content.get("description"), f"{file}: description")
        or text_claim(content.get("notes"), f"{file}: notes"),
        triggers=trigger_claim(content.get("activation text"), f"{file}: activation text"),
        weight=weight_claim(content.get("preferred weight"), f"{file}: preferred weight"),
        base_model=base_claim(content.get("sd version"), f"{file}: sd version"),
    )


def _rgthree(content: Fields, file: str, path: Path) -> Claims:
    """Read rgthree's file: words with where they were found, and Civitai's answer under ``raw``."""
    words = _objects(content.get("trainedWords"))
    # words that only the training captions hold are frequent, not chosen
    chosen = [word.get("word") for word in words if word.get("civitai") or word.get("user")]
    low, high = content.get("strengthMin"), content.get("strengthMax")
    own = Claims(
        title=text_claim(content.get("name"), f"{file}: name"),
        description=text_claim(content.get("userNote"), f"{file}: userNote"),
        triggers=trigger_claim(chosen, f"{file}: trainedWords"),
        weight=weight_claim(_middle(low, high), f"{file}: strengthMin, strengthMax"),
        base_model=base_claim(content.get("baseModel"), f"{file}: baseModel"),
    )
    return own.otherwise(_civitai(_object(_object(content, "raw"), "civitai"), f"{file}: raw.civitai", path))


def _stability_matrix(content: Fields, file: str, path: Path) -> Claims:
    return Claims(
        title=text_claim(content.get("UserTitle"), f"{file}: UserTitle")
        or text_claim(content.get("ModelName"), f"{file}: ModelName"),
        description=text_claim(content.get("ModelDescription"), f"{file}: ModelDescription"),
        triggers=trigger_claim(_list(content.get("TrainedWords")), f"{file}: TrainedWords"),
        tags=words_claim(_list(content.get("Tags")), f"{file}: Tags"),
        nsfw_level=_nsfw(content, "NsfwLevel", "Nsfw", file),
        base_model=base_claim(content.get("BaseModel"), f"{file}: BaseModel"),
        civitai_model=number_claim(content.get("ModelId"), f"{file}: ModelId"),
        civitai_version=number_claim(content.get("VersionId"), f"{file}: VersionId"),
    )


def _objects(value: object) -> list[Fields]:
    return [cast("dict[str, object]", one) for one in _list(value) if isinstance(one, dict)]


def _list(value: object) -> list[object]:
    return cast("list[object]", value) if isinstance(value, list) else []


def _embedded_json(value: object) -> Fields:
    """Return an object that was written as text inside another one."""
    try:
        content = json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return {}
    return cast("dict[str, object]", content) if isinstance(content, dict) else {}


def _range(tips: Fields) -> tuple[object, object]:
    """Return the ends of Lora-Manager's range of strengths: two numbers, or a text such as "0.6-0.8"."""
    text = tips.get("strength_range")
    low, dash, high = text.partition("-") if isinstance(text, str) else ("", "", "")
    return (low, high) if dash else (tips.get("strength_min"), tips.get("strength_max"))


def _middle(low: object, high: object) -> float | None:
    ends = [claim.value for value in (low, high) if (claim := weight_claim(value, "")) is not None]
    return sum(ends) / len(ends) if ends else None


_SIDECARS: Final[tuple[tuple[str, Callable[[Fields, str, Path], Claims], bool], ...]] = (
    (".metadata.json", _lora_manager, False),
    (".json", _json, False),
    (".swarm.json", _swarm, False),
    (".safetensors.rgthree-info.json", _rgthree, True),
    (".civitai.info", _civitai, True),
    (".cm-info.json", _stability_matrix, True),
)
"""The ending of each sidecar's name, how it is read, and whether it is a site's own answer."""
