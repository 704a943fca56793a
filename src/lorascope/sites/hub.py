"""The Hugging Face hub. It knows no file by its hash, so only files of its own cache are looked up, by their place."""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import Any, final
from urllib.parse import quote

from lorascope.errors import SiteError
from lorascope.library import StoredAdapter
from lorascope.models import network
from lorascope.sites.record import Remote, said, text

_CACHED = re.compile(r"models--([^/\\]+)--([^/\\]+)[/\\]snapshots")
_FILE = re.compile(
    r"(?:https://huggingface\.co/)?([\w.-]+/[\w.-]+?)(?:/(?:resolve|blob|tree)/([\w.-]+))?(?:/(.+\.safetensors))?/?"
)
_ADAPTERS = (".safetensors", ".sft")
_USUAL = "pytorch_lora_weights.safetensors"
"""What diffusers calls an adapter."""


@final
class Hub:
    """The hub's cards and files. huggingface_hub takes its own token."""

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

    def find(self, reference: str) -> Remote:
        """The file that a reference means.

        Raises:
            SiteError: there is none, the hub does not say what it holds, or a repository has several.
        """
        from huggingface_hub import HfApi, constants

        repository, revision, file = _parts(reference)
        with _asking(reference):
            info = HfApi().model_info(repository, revision=revision, files_metadata=True)
        files = {one.rfilename: one for one in info.siblings or () if one.rfilename.endswith(_ADAPTERS)}
        name = file or (_USUAL if _USUAL in files else next(iter(files)) if len(files) == 1 else "")
        if not name:
            some = f"holds {len(files)} safetensors files: name one, such as {repository}/{min(files)}" if files else ""
            raise SiteError(f"{repository} {some or 'holds no safetensors file: check its name on its page'}")
        if name not in files or (lfs := files[name].lfs) is None:
            raise SiteError(f"{repository} holds no file {name} with a SHA-256: check its name on its page")
        address = f"{constants.ENDPOINT}/{repository}/resolve/{info.sha}/{quote(name)}"
        return Remote(self.name, address, PurePosixPath(name).name, lfs.sha256, lfs.size)

    @staticmethod
    def reads(reference: str) -> bool:
        """Whether a reference is one of the hub's: ``owner/name``, with a file or without, or the address of one."""
        found = _FILE.fullmatch(reference)
        return found is not None and not found[1].endswith(_ADAPTERS) and ".." not in reference


def _parts(reference: str) -> tuple[str, str | None, str | None]:
    match = _FILE.fullmatch(reference)
    if match is None:
        raise SiteError(f"{reference} is no file of the hub: give owner/name/FILE.safetensors")
    return match[1], match[2], match[3]


def _card(repository: str) -> dict[str, Any]:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    try:
        with _asking(repository):
            info = HfApi().model_info(repository)
    except SiteError as error:
        if isinstance(error.__cause__, GatedRepoError):  # it is there, and the other files are still to be asked for
            return {}
        if isinstance(error.__cause__, RepositoryNotFoundError):
            return {"deleted": True}
        raise
    card: dict[str, Any] = info.card_data.to_dict() if info.card_data else {}
    base = card.get("base_model")
    prompt = text(card.get("instance_prompt"))
    return said(
        title=repository, base_model=text(base[0] if isinstance(base, list) and base else base),
        triggers=[prompt] if prompt else None, licence=text(card.get("license")),
        nsfw_level=16 if "not-for-all-audiences" in (info.tags or ()) else None,
    )  # fmt: skip


@contextmanager
def _asking(what: str) -> Generator[None]:
    from httpx2 import RequestError  # the client of huggingface_hub
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, HFValidationError, RepositoryNotFoundError

    try:
        with network(allowed=True):
            yield
    except GatedRepoError as error:
        raise SiteError(f"{what} is gated: accept its terms on its page and log in with `hf auth login`") from error
    except RepositoryNotFoundError as error:
        raise SiteError(
            f"{what} is not on the hub, or is private: check its name, or log in with `hf auth login`"
        ) from error
    except (HfHubHTTPError, HFValidationError, RequestError, OSError, ValueError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise SiteError(f"huggingface: {what} could not be asked for ({reason:.200}): try again later") from error
