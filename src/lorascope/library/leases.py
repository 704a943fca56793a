"""Who has claimed an adapter for measuring, and whether that process still lives."""

from __future__ import annotations

import os
import socket
import sys
import time

SECONDS = 900
"""How long a claim holds by itself, where nobody can tell whether its process lives."""
_STARTED = time.time_ns()


def this_process() -> str:
    """A name no other process has: ``host:pid:start``."""
    return f"{socket.gethostname()}:{os.getpid()}:{_STARTED}"


def ended(owner: str) -> bool:
    """Whether an owner was a process of this machine that is gone; False where that cannot be told."""
    host, _, rest = owner.partition(":")
    number, _, started = rest.partition(":")
    if host != socket.gethostname() or not number.isdecimal() or not started.isdecimal():
        return False
    if int(number) == os.getpid():
        return owner != this_process()  # its number has been given out again, to us
    if sys.platform == "win32":
        return False  # there is no harmless way to ask
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
