"""How long a run will take yet."""

from __future__ import annotations

import time
from typing import final


@final
class Pace:
    """Seconds left of a whole run, if the stages to come go at the pace of this one."""

    def __init__(self) -> None:
        self._stage = ""
        self._began = time.monotonic()
        self.seconds_left: float | None = None
        """None before the first block of a stage, as nothing is known about its pace."""

    def follow(self, stage: str, cells: int, total: int, later: int) -> None:
        """Take in that ``cells`` of ``total`` of a stage are done, and that about ``later`` come after it."""
        if stage != self._stage:
            self._stage, self._began = stage, time.monotonic()
        elapsed = time.monotonic() - self._began
        self.seconds_left = elapsed / cells * (total - cells + later) if cells and total else None
