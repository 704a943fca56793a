"""Leases: which process measures which adapter, so that no two measure the same one."""

from __future__ import annotations

import os
import socket
import sys
import time
from typing import final

from lorascope.library.database import Database

SECONDS = 900
"""How long a lease holds by itself, where nobody can tell whether its process lives."""
_STARTED = time.time_ns()


def this_process() -> str:
    """A name no other process has: ``host:pid:start``."""
    return f"{socket.gethostname()}:{os.getpid()}:{_STARTED}"


def ended(owner: str) -> bool:
    """Whether an owner was a process of this machine that is gone; False where that is not known."""
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


@final
class Leases:
    """The adapters that processes are measuring now. A lease ends with its process, or after :data:`SECONDS`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def acquire(self, adapter: str, scene: str, owner: str) -> bool:
        """Take an adapter for measuring in a scene, or renew the lease; False if another process has it."""
        now = time.time()
        with self._db.transaction() as db:
            sql = "SELECT owner FROM leases WHERE adapter = ? AND scene = ? AND owner <> ? AND until >= ?"
            held = db.execute(sql, (adapter, scene, owner, now)).fetchone()
            if held is not None and not ended(held[0]):
                return False
            db.execute("INSERT OR REPLACE INTO leases VALUES (?, ?, ?, ?)", (adapter, scene, owner, now + SECONDS))
            return True

    def release(self, owner: str) -> None:
        """Give back everything that one process has taken."""
        self._db.write("DELETE FROM leases WHERE owner = ?", [(owner,)])

    def holder(self, adapter: str) -> str:
        """The process that is measuring an adapter, as :func:`this_process` names it; "" if none is."""
        owners = self._db.rows("SELECT owner FROM leases WHERE adapter = ? AND until >= ?", (adapter, time.time()))
        return next((owner for (owner,) in owners if not ended(owner)), "")
