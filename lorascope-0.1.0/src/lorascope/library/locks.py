"""Which process holds a library's write lock, for the message to whoever waits for it."""

from __future__ import annotations

import os
import time
from datetime import datetime
from pathlib import Path

_WRITE_LOCK = 120
"""The byte of ``-shm`` that SQLite locks to write into the log: https://sqlite.org/walformat.html#wal_locks."""


def lock_holder(path: Path) -> str:
    """The process that writes a SQLite file now, such as ``process 123 (python, since 12:00)``.

    Linux lists all locks in ``/proc/locks``. Elsewhere, and where the process is not to be seen, the answer is general.
    """
    try:
        node = path.with_name(f"{path.name}-shm").stat()
        place = f"{os.major(node.st_dev):02x}:{os.minor(node.st_dev):02x}:{node.st_ino}"
        for line in Path("/proc/locks").read_text("ascii").splitlines():
            *_, mode, process, where, first, last = line.split()
            if (mode, where) == ("WRITE", place) and int(first) <= _WRITE_LOCK and last in (first, str(_WRITE_LOCK)):
                return _described(int(process))
    except (OSError, ValueError):
        pass
    return "another process"


def _described(process: int) -> str:
    folder = Path(f"/proc/{process}")
    name = (folder / "comm").read_text("utf-8").strip()
    ticks = int((folder / "stat").read_text("utf-8").rpartition(")")[2].split()[19])
    age = float(Path("/proc/uptime").read_text("ascii").split()[0]) - ticks / os.sysconf("SC_CLK_TCK")
    started = datetime.fromtimestamp(time.time() - age)
    return f"process {process} ({name}, since {started:%H:%M on %d %B})"
