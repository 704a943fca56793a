"""Shards: which of several machines that share nothing measures which file."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from lorascope.errors import UsageError

_BEGINNING = 2**20
_PART = re.compile(r"(\d{1,6})/(\d{1,6})")


@dataclass(frozen=True)
class Shard:
    """One of several parts of all files, by a hash of their beginnings, so that equal files are in the same one.

    Examples:
        >>> Shard.parse("2/8").parts
        ((2, 8),)
        >>> Shard.parse("2/8:1/4").parts  # the first quarter of it
        ((2, 8), (1, 4))
    """

    parts: tuple[tuple[int, int], ...]

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read K/N, or parts of parts between colons.

        Raises:
            UsageError: it is something else.
        """
        found = [_PART.fullmatch(part) for part in text.split(":")]
        parts = tuple((int(match[1]), int(match[2])) for match in found if match)
        if len(parts) < len(found) or any(not 1 <= number <= count for number, count in parts):
            raise UsageError(f"--shard {text}: give K/N, such as 2/8 for the second of eight machines")
        return cls(parts)

    def holds(self, path: Path) -> bool:
        """Whether a file is in this shard. One that cannot be read is in the first, so that one machine reports it."""
        try:
            with path.open("rb") as file:
                place = int.from_bytes(hashlib.sha256(file.read(_BEGINNING)).digest()[:16], "big")
        except OSError:
            place = 0
        for number, count in self.parts:
            if place % count != number - 1:
                return False
            place //= count
        return True
