"""References to adapters at sites: an AIR, an address, a hash or a name on the Hugging Face hub."""

from __future__ import annotations

import json
from pathlib import Path

from lorascope.caches import write_whole
from lorascope.errors import SiteError
from lorascope.sites.civitai import Civitai
from lorascope.sites.downloads import Watch, download
from lorascope.sites.hub import Hub
from lorascope.sites.record import Remote
from lorascope.sites.web import token_of

SPELLINGS = (
    "an AIR (urn:air:sdxl:lora:civitai:1@2), the address of a model's page, a hash, or owner/name of the Hugging Face"
    " hub, with /FILE.safetensors where a repository holds several"
)


def is_reference(text: str) -> bool:
    """Whether a text may mean an adapter at a site; a file or folder of that name is not looked for.

    >>> is_reference("urn:air:sdxl:lora:civitai:5@6"), is_reference("loras/ink.safetensors")
    (True, False)
    """
    return Civitai.reads(text) or Hub.reads(text)


def find(reference: str) -> Remote:
    """Ask the site what a reference means.

    Raises:
        SiteError: it is no reference, or the site knows no single safetensors file for it.
    """
    if Civitai.reads(reference):
        return Civitai().find(reference)
    if Hub.reads(reference):
        return Hub().find(reference)
    raise SiteError(f"{reference!r} is no reference to an adapter: give {SPELLINGS}")


def fetch(remote: Remote, folder: Path, watch: Watch = lambda done, total: None) -> Path:
    """Download a file with the person's own token, as `download` does, and keep what Civitai says of it beside it.

    Image tools call that file ``X.civitai.info``; one that is there already stays.
    """
    if remote.site == Hub.name:
        from huggingface_hub import get_token

        return download(remote, folder, token=get_token() or "", watch=watch)
    path = download(remote, folder, token=token_of(remote.site), watch=watch)
    beside = path.with_suffix(".civitai.info")
    if remote.version and not beside.exists():
        write_whole(beside, json.dumps(remote.version, ensure_ascii=False, indent=2))
    return path
