"""Downloads a file that is checked by its SHA-256; an interrupted download resumes where it ended."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import httpx2

from lorascope.adapters import read_adapter, sha256
from lorascope.errors import AdapterError, SiteError
from lorascope.sites.record import Remote
from lorascope.sites.web import client

_TRIES = 3
_LOG_IN = {"civitai": "set CIVITAI_TOKEN", "huggingface": "log in with `hf auth login`, and accept the model's terms"}
Watch = Callable[[int, int], None]
"""Is called with the bytes that are there and those of the whole file, 0 if that is not known."""


def download(remote: Remote, folder: Path, *, token: str = "", watch: Watch = lambda done, total: None) -> Path:
    """Fetch an adapter into a folder.

    Args:
        remote: where it is, and its SHA-256.
        folder: where it goes to, under its own name.
        token: for sites that want one; it is not sent to where they redirect.
        watch: is called with progress.

    Returns:
        The file. One that is there already and has the SHA-256 is not fetched again.

    Raises:
        SiteError: it cannot be fetched, is no adapter or not the file that was announced, or another file has its name.
    """
    name = re.sub(r"[^\w.() +-]", "_", Path(remote.name).name).lstrip(".") or "adapter.safetensors"
    target = folder / name
    if target.exists():
        if sha256(target) == remote.sha256:
            return target
        raise SiteError(f"{target} is another file: move it, or give another --folder")
    partial = folder / f".{name}.{remote.sha256[:10]}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _fetch(remote, partial, token, watch)
        if sha256(partial) != remote.sha256:
            partial.unlink()
            raise SiteError(f"{name} does not have the SHA-256 that was announced: what arrived was thrown away")
        read_adapter(partial)
        partial.rename(target)
    except AdapterError as error:
        partial.unlink(missing_ok=True)
        raise SiteError(f"{name} is no adapter: {error.reason}") from error
    except OSError as error:
        raise SiteError(f"{target} cannot be written ({error.strerror}): choose another --folder") from error
    return target


def _fetch(remote: Remote, partial: Path, token: str, watch: Watch) -> None:
    problem = ""
    for _ in range(_TRIES):
        try:
            if _go_on(remote, partial, token, watch):
                return
            problem = "it ended early"
        except httpx2.TransportError as error:
            problem = str(error) or type(error).__name__
    raise SiteError(f"{remote.name} could not be fetched ({problem}): the same command resumes from here")


def _go_on(remote: Remote, partial: Path, token: str, watch: Watch) -> bool:
    """Fetch what is missing; returns whether all of it is there."""
    there = partial.stat().st_size if partial.exists() else 0
    headers = {"Accept-Encoding": "identity"} | ({"Authorization": f"Bearer {token}"} if token else {})
    if there:
        headers["Range"] = f"bytes={there}-"
    with client() as web, web.stream("GET", remote.address, headers=headers) as answer:
        if answer.status_code == 416:  # nothing is missing, or the file has changed: its hash decides
            return True
        if answer.status_code in (401, 403):
            raise SiteError(
                f"{remote.name}: {remote.site} wants a token ({answer.status_code}): {_LOG_IN[remote.site]}"
            )
        if answer.status_code >= 400:
            raise SiteError(f"{remote.name} could not be fetched: the site answered {answer.status_code}")
        if "text/html" in answer.headers.get("Content-Type", ""):
            raise SiteError(f"{remote.name}: the site sent a page instead of the file: it may want a token")
        goes_on = answer.status_code == 206
        total = int(answer.headers.get("Content-Length") or 0) + (there if goes_on else 0)
        with partial.open("ab" if goes_on else "wb") as file:
            done = there if goes_on else 0
            for chunk in answer.iter_bytes():
                file.write(chunk)
                done += len(chunk)
                watch(done, total)
    return not total or done >= total
