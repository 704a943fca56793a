"""What is fetched from the web: over https, within limits, to nowhere else."""

from __future__ import annotations

import io
import urllib.request
from collections.abc import Callable
from http.client import HTTPMessage
from pathlib import Path
from urllib.response import addinfourl

import pytest

from lorascope.errors import LibraryError
from lorascope.library.download import fetch

HOME = "https://example.org/library.parquet"


class Answer(addinfourl):
    """What a web server answers."""

    msg = "as it was asked"


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Pages by address: a body, or the address that it redirects to."""
    pages: dict[str, bytes | str] = {}

    def answer(_: object, request: urllib.request.Request) -> Answer:
        page, headers = pages[request.full_url], HTTPMessage()
        if isinstance(page, str):
            headers["Location"] = page
            return Answer(io.BytesIO(), headers, request.full_url, 302)
        return Answer(io.BytesIO(page), headers, request.full_url, 200)

    monkeypatch.setattr(urllib.request.HTTPSHandler, "https_open", answer)
    monkeypatch.setattr(urllib.request.HTTPHandler, "http_open", answer)
    return pages.__setitem__


def test_a_file_arrives_as_it_is_also_by_a_redirect(tmp_path: Path, web: Callable[..., None]) -> None:
    web("https://example.org/latest", HOME)
    web(HOME, b"x" * 100_000)
    fetch("https://example.org/latest", tmp_path / "here")
    assert (tmp_path / "here").read_bytes() == b"x" * 100_000


def test_without_encryption_nothing_is_fetched_unless_asked(tmp_path: Path, web: Callable[..., None]) -> None:
    plain = "http://example.org/library.parquet"
    web(plain, b"x")
    with pytest.raises(LibraryError, match="is not encrypted, .*: give its https address, or allow that with --insec"):
        fetch(plain, tmp_path / "here")
    fetch(plain, tmp_path / "here", insecure=True)
    assert (tmp_path / "here").read_bytes() == b"x"


@pytest.mark.parametrize("insecure", [False, True])
@pytest.mark.parametrize("target", ["http://example.org/x", "file:///etc/passwd", "ftp://example.org/x", "data:,x"])
def test_a_redirect_to_an_address_of_another_kind_is_refused(
    tmp_path: Path, web: Callable[..., None], target: str, insecure: bool
) -> None:
    web(HOME, target)
    web("http://example.org/x", b"x")
    with pytest.raises(LibraryError, match=rf"could not be fetched \(.*{target}"):
        fetch(HOME, tmp_path / "here", insecure=insecure)


def test_a_redirect_in_a_circle_ends(tmp_path: Path, web: Callable[..., None]) -> None:
    web(HOME, HOME)
    with pytest.raises(LibraryError, match="could not be fetched"):
        fetch(HOME, tmp_path / "here")


def test_more_than_the_limit_is_refused_while_it_arrives(tmp_path: Path, web: Callable[..., None]) -> None:
    web(HOME, b"x" * 1_000_000)
    with pytest.raises(
        LibraryError, match=r"has [0-9]+ bytes or more, over the limit of 1000: if you trust it, download"
    ):
        fetch(HOME, tmp_path / "here", limit=1000)
    assert (tmp_path / "here").stat().st_size < 1_000_000


def test_a_download_that_never_ends_is_given_up(tmp_path: Path, web: Callable[..., None]) -> None:
    web(HOME, b"x" * 1_000_000)
    with pytest.raises(LibraryError, match="bytes arrived in -1 seconds"):
        fetch(HOME, tmp_path / "here", seconds=-1.0)
