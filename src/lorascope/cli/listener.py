"""The server process, from its socket to its end."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import sys
import webbrowser
from pathlib import Path

from lorascope.cli.output import err, print_line
from lorascope.errors import ServerError
from lorascope.protocol import Preset
from lorascope.server.settings import ServerSettings, is_loopback

_VARIABLE = "LORASCOPE_TOKEN"


def chosen_token(host: str, file: Path | None) -> tuple[str, bool]:
    """The token from a file or the environment, or a new one if the address needs one; and whether it is new.

    Raises:
        ServerError: the file cannot be read, or is empty.
    """
    if file is not None:
        try:
            found = file.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ServerError(f"--token-file {file} cannot be read ({error}): give a text file") from error
        if not found:  # whoever names a file wants a token: to serve without one would be a surprise
            raise ServerError(f"--token-file {file} holds no token: write one of at least 16 characters into it")
        if sys.platform != "win32" and file.stat().st_mode & 0o077:
            err.print(f"warning: other users of this machine can read {file}: run `chmod 600 {file}`", soft_wrap=True)
        return found, False
    found = os.environ.get(_VARIABLE, "").strip()
    if found or is_loopback(host):
        return found, False
    return secrets.token_urlsafe(32), True


def run(settings: ServerSettings, *, open_page: bool, show_token: bool = False) -> None:
    """Serve until Ctrl-C or SIGTERM. A run in progress ends at its next block.

    Raises:
        ServerError: the address cannot be had.
        LibraryError: the library cannot be opened or made.
        ProtocolError: there is no such preset.
    """
    import uvicorn

    from lorascope.server import create_app
    from lorascope.server.connection import configure

    if settings.preset:
        Preset.load(settings.preset)  # a wrong name should not wait for the first run to be reported
    listening = _listen(settings.host, settings.port)
    with err.status("opening the library"):
        app = create_app(settings)
    server = uvicorn.Server(configure(app))
    app.state.lorascope.ending = lambda: server.should_exit
    address = _address(settings.host, listening.getsockname()[1])
    print_line(f"lorascope is at {address}  (Ctrl-C ends it)")
    if show_token:
        print_line(f"Token, shown this once: {settings.token}")
    if open_page and _has_screen():
        webbrowser.open(address)
    with contextlib.suppress(KeyboardInterrupt):
        server.run([listening])


def _listen(host: str, port: int) -> socket.socket:
    """Listen before the server runs, so that its port is known and early connections wait."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.socket(family)
    try:
        if sys.platform != "win32":  # there it would let two servers have one port
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host.strip("[]"), port))
        found.listen()
    except OSError as error:
        found.close()
        raise ServerError(
            f"{host} port {port} cannot be had ({error.strerror}): give another --port or --host"
        ) from error
    return found


def _address(host: str, port: int) -> str:
    name = "127.0.0.1" if host in ("0.0.0.0", "") else "[::1]" if host == "::" else host
    return f"http://{f'[{name}]' if ':' in name and '[' not in name else name}:{port}/"


def _has_screen() -> bool:
    """Whether a browser would open in a window. Without a screen, it might take over the terminal."""
    if not sys.stdout.isatty():
        return False
    return sys.platform in ("win32", "darwin") or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
