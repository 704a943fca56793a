"""The Hugging Face hub. It knows no file by its hash, so only files of its own cache are looked up, by their place."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, final

from lorascope.errors import SiteError
from lorascope.library import StoredAdapter
from lorascope.models import network
from lorascope.sites.record import said, text

_CACHED = re.compile(r"models--([^/\\]+)--([^/\\]+)[/\\]snapshots")
_FILE = re.compile(r"(?:https://huggingface\.co/)?([\w.-]+/[\w.-]+)(?:/(?:resolve|blob)/([\w.-]+))?/(.+\.safetensors)")


@final
class Hub:
    """The hub's cards. huggingface_hub takes its own token."""

    name = "huggingface"
    batch = 1

    def claims(self, adapters: Sequence[StoredAdapter]) -> Mapping[str, Mapping[str, Any]]:
        """What the cards of the repositories say."""
        found: dict[str, dict[str, Any]] = {}
        for one in adapters:
            cached = next((match for path in one.paths if (match := _CACHED.search(path))), None)
            if cached and (claims := _card(f"{cached[1]}/{cached[2]}")):
                found[one.key] = claims
        return found


def reads(reference: str) -> bool:
    """Whether a reference is a file of the hub: ``owner/name/FILE.safetensors``, or its address."""
    return _FILE.fullmatch(reference) is not None


def fetch(reference: str, folder: Path) -> Path:
    """Download a file of the hub into a folder; it is checked and resumed by huggingface_hub.

    Raises:
        SiteError: there is none, or it cannot be had.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    match = _FILE.fullmatch(reference)
    if match is None:
        raise SiteError(f"{reference} is no file of the hub: give owner/name/FILE.safetensors")
    try:
        with network(allowed=True):
            return Path(hf_hub_download(match[1], match[3], revision=match[2], local_dir=folder))
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise SiteError(f"{reference} could not be fetched ({str(error).splitlines()[0]:.200})") from error


def _card(repository: str) -> dict[str, Any]:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

    try:
        with network(allowed=True):
            info = HfApi().model_info(repository)
    except RepositoryNotFoundError:
        return {"deleted": True}
    except (HfHubHTTPError, OSError) as error:
        raise SiteError(
            f"huggingface: {repository} could not be asked for ({str(error).splitlines()[0]:.200})"
        ) from error
    card: dict[str, Any] = info.card_data.to_dict() if info.card_data else {}
    base = card.get("base_model")
    prompt = text(card.get("instance_prompt"))
    return said(
        title=repository, base_model=text(base[0] if isinstance(base, list) and base else base),
        triggers=[prompt] if prompt else None, licence=text(card.get("license")),
        nsfw_level=16 if "not-for-all-audiences" in (info.tags or ()) else None,
    )  # fmt: skip
