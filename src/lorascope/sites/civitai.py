"""Civitai: many files by their SHA-256 at once; models, versions, updates and downloads."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, cast, final
from urllib.parse import parse_qs, urlsplit

from lorascope.errors import SiteError
from lorascope.library import StoredAdapter
from lorascope.sites.record import Remote, said, text
from lorascope.sites.web import Web, token_of

BASE = "https://civitai.red/api/v1"
"""The host of the whole catalogue: civitai.com answers 404 for what is mature."""
_AIR = re.compile(r"urn:air:[\w-]+:(?:lora|lycoris|dora):civitai:(\d+)(?:@(\d+))?", re.IGNORECASE)
_HASH = re.compile(r"[0-9a-f]{10}|[0-9a-f]{64}", re.IGNORECASE)
_HOSTS = ("civitai.com", "www.civitai.com", "civitai.red", "civitai.green")


@final
class Civitai:
    """The site by its API. With ``updates`` each model is asked for, too: newer versions, licence, deletion."""

    name = "civitai"
    batch = 100

    def __init__(self, *, updates: bool = False, web: Web | None = None) -> None:
        self._web = web or Web(self.name, BASE, token=token_of(self.name))
        self._updates = updates

    def claims(self, adapters: Sequence[StoredAdapter]) -> Mapping[str, Mapping[str, Any]]:
        """What it says of files, one request for all of them."""
        hashes = [one.key.removeprefix("sha256:") for one in adapters if one.key.startswith("sha256:")]
        answer = self._web.json("/model-versions/by-hash", hashes) if hashes else []
        if not isinstance(answer, list):
            raise SiteError("civitai answered a look-up with something else than a list: its API may have changed")
        found: dict[str, dict[str, Any]] = {}
        for version in _objects(answer):
            for file in _objects(version.get("files")):
                digest = text(_object(file.get("hashes")).get("SHA256")).lower()
                if digest in hashes:
                    found[f"sha256:{digest}"] = self._version(version)
        return found

    def find(self, reference: str) -> Remote:
        """The file that an AIR, an address of a page or a hash means.

        Raises:
            SiteError: it means none, or what it means is no single safetensors file.
        """
        version = self._version_of(reference)
        files = [one for one in _objects(version.get("files")) if text(one.get("name")).endswith(".safetensors")]
        files.sort(key=lambda one: (one.get("primary") is not True, text(one.get("type")) != "Model"))
        digest = text(_object(files[0].get("hashes")).get("SHA256")).lower() if files else ""
        address = text(files[0].get("downloadUrl")) if files else ""
        if not digest or not address:
            raise SiteError(f"{reference}: civitai offers no safetensors file with a SHA-256 for it")
        size = files[0].get("sizeKB")
        size = int(size * 1024) if isinstance(size, float | int) else 0
        return Remote(self.name, address, text(files[0].get("name")), digest, size, version)

    @staticmethod
    def reads(reference: str) -> bool:
        """Whether a reference is one of this site's."""
        return bool(_AIR.fullmatch(reference) or _HASH.fullmatch(reference)) or urlsplit(reference).hostname in _HOSTS

    def _version_of(self, reference: str) -> dict[str, Any]:
        if _HASH.fullmatch(reference):
            path = f"/model-versions/by-hash/{reference}"
        elif air := _AIR.fullmatch(reference):
            path = f"/model-versions/{air[2]}" if air[2] else f"/models/{air[1]}"
        else:
            parts = urlsplit(reference)
            model = re.match(r"/models/(\d+)", parts.path)
            version = parse_qs(parts.query).get("modelVersionId", [""])[0]
            if not (model or version.isdecimal()):
                raise SiteError(f"{reference} names no model of civitai: give the address of a model's page")
            path = f"/model-versions/{version}" if version.isdecimal() else f"/models/{model[1] if model else ''}"
        answer = self._web.json(path)
        versions = _objects(_object(answer).get("modelVersions"))
        if not isinstance(answer, dict) or ("/models/" in path and not versions):
            raise SiteError(f"civitai knows nothing of {reference}: it may be deleted, or need a token")
        return versions[0] if versions else cast("dict[str, Any]", answer)

    def _version(self, version: Mapping[str, Any]) -> dict[str, Any]:
        model = _object(version.get("model"))
        number = version.get("modelId")
        words = version.get("trainedWords")
        claims = said(
            title=text(model.get("name")), base_model=text(version.get("baseModel")),
            triggers=[text(word) for word in words if text(word)] if isinstance(words, list) else None,
            nsfw_level=version.get("nsfwLevel") or (16 if model.get("nsfw") is True else None),
            civitai_model=number, civitai_version=version.get("id"),
            deleted=text(model.get("mode")) in ("Archived", "TakenDown") or None,
        )  # fmt: skip
        if self._updates and isinstance(number, int):
            claims |= self._model(number, version.get("id"))
        return claims

    def _model(self, number: int, version: Any) -> dict[str, Any]:
        """What only the model's own page says."""
        answer = self._web.json(f"/models/{number}")
        if answer is None:
            return {"deleted": True}
        model = _object(answer)
        versions = _objects(model.get("modelVersions"))
        newest = versions[0].get("id") if versions else None
        uses = model.get("allowCommercialUse")
        licence = ", ".join(sorted(map(str, uses))) if isinstance(uses, list) else text(uses)
        return said(
            newest_version=newest if newest != version else None,
            licence=f"commercial use: {licence or 'none'}",
            tags=[text(tag) for tag in model.get("tags") or () if text(tag)],
        )


def _object(value: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _objects(value: Any) -> list[dict[str, Any]]:
    return [cast("dict[str, Any]", one) for one in value if isinstance(one, dict)] if isinstance(value, list) else []
