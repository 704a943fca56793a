"""CivArchive, which remembers what Civitai has deleted: one file for each request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, final

from lorascope.library import StoredAdapter
from lorascope.sites.record import said, text
from lorascope.sites.web import Web, token_of

BASE = "https://civarchive.com/api"


@final
class CivArchive:
    """The site by its look-up of hashes."""

    name = "civarchive"
    batch = 10

    def __init__(self, *, web: Web | None = None) -> None:
        self._web = web or Web(self.name, BASE, token=token_of(self.name), pause=1.0)

    def claims(self, adapters: Sequence[StoredAdapter]) -> Mapping[str, Mapping[str, Any]]:
        """What it says of files."""
        found: dict[str, dict[str, Any]] = {}
        for one in adapters:
            if not one.key.startswith("sha256:"):
                continue
            answer = self._web.json(f"/sha256/{one.key.removeprefix('sha256:')}")
            if isinstance(answer, dict):
                found[one.key] = _claims(answer)
        return found


def _claims(answer: dict[str, Any]) -> dict[str, Any]:
    version = answer["version"] if isinstance(answer.get("version"), dict) else answer
    words = version.get("trigger") or version.get("trainedWords")
    return said(
        title=text(answer.get("name")), base_model=text(version.get("baseModel") or answer.get("baseModel")),
        triggers=[text(word) for word in words if text(word)] if isinstance(words, list) else None,
        deleted=bool(answer.get("deletedAt") or version.get("deletedAt")) or None,
        civitai_model=version.get("modelId"), civitai_version=version.get("civitai_model_version_id"),
    )  # fmt: skip
