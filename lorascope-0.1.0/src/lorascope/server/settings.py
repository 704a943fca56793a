"""The settings of a server."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lorascope.errors import ServerError

_SHORTEST_TOKEN = 16
_ORIGIN = re.compile(r"https?://[a-z0-9.\[\]:_-]+")
PORT = 8642


@dataclass(frozen=True, kw_only=True)
class ServerSettings:
    """The library, what may be done with it, and who may use the server.

    Attributes:
        library: the library file; made if it does not exist.
        folders: the only folders whose adapters may be indexed from the page, resolved.
        host: the address to listen on.
        port: its port.
        token: what a caller has to know; "" for none, which only loopback allows.
        names: host names by which the server may be called, beside its address, IP addresses and localhost.
        origins: sites of others whose pages may use the API, as in "https://gallery.example"; they never get to use
            the session of a person who has logged in here.
        embedders: sites of others whose pages may show those of this server in a frame, and its pictures.
        agents: whether agents are answered at /mcp: "" for no, "read", or "index" if they may start runs, too.
        preset: how to measure: a shipped name or a file; "" takes the preset of the library's active Protocol.
        device: a torch device for measuring; "" takes the GPU if there is one.
        study: pairs of a blind study to show at /study; None for none.
        download: whether models that are not on this disk may be fetched.
    """

    library: Path
    folders: tuple[Path, ...] = ()
    host: str = "127.0.0.1"
    port: int = PORT
    token: str = ""
    names: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    embedders: tuple[str, ...] = ()
    agents: Literal["", "read", "index"] = ""
    preset: str = ""
    device: str = ""
    study: Path | None = None
    download: bool = False

    def __post_init__(self) -> None:
        """Refuse what would be unsafe, and folders that are none."""
        if not self.token and not is_loopback(self.host):
            raise ServerError(
                f"host {self.host} can be reached by others, so it needs a token: give --token-file, or set"
                " LORASCOPE_TOKEN"
            )
        if self.token and len(self.token) < _SHORTEST_TOKEN:
            raise ServerError(f"the token has {len(self.token)} characters: use at least {_SHORTEST_TOKEN}")
        named = [("--allow-origin", origin) for origin in self.origins]
        for option, origin in [*named, *(("--embed-in", origin) for origin in self.embedders)]:
            if not _ORIGIN.fullmatch(origin):
                raise ServerError(
                    f"{option} {origin} is no origin: write scheme, host and port as browsers do, in small"
                    " letters and without a path, such as https://gallery.example or http://localhost:3000"
                )
        for folder in self.folders:
            if not folder.is_dir():
                raise ServerError(f"--folder {folder} is no folder: give one that exists")
        object.__setattr__(self, "folders", tuple(dict.fromkeys(folder.resolve() for folder in self.folders)))


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
