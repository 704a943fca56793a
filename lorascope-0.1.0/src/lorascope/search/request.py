"""What a search asks for: one request for the command line, the API, the pages and Python."""

from __future__ import annotations

import re
from dataclasses import KW_ONLY, dataclass
from functools import cached_property

from lorascope.encoders.encoding import Encoding
from lorascope.errors import QueryError
from lorascope.protocol import Thresholds
from lorascope.search.query import HEAVIEST, LIGHTEST, Query, spelt

_WEIGHTED_KEY = re.compile(r"(.+:.+):(\d+(?:\.\d+)?)")


@dataclass(frozen=True)
class Example:
    """An adapter by its key, or a picture by its path or id, and how much it counts.

    A phrase without a weight counts 1; a negative weight asks for the opposite.

    Raises:
        QueryError: the weight is not from 1e-6 to 1e6.

    Examples:
        >>> Example.parse("civitai:5@6:0.5")
        Example(name='civitai:5@6', weight=0.5)
    """

    name: str
    weight: float = 1.0

    def __post_init__(self) -> None:
        """Check the weight."""
        size = abs(self.weight)
        if not LIGHTEST <= size <= HEAVIEST:
            raise QueryError(f"{self.name[:80]!r} has the weight {size:g}: give one from a millionth to a million")

    @classmethod
    def parse(cls, text: str) -> Example:
        """Read an adapter's ``KEY`` or ``KEY:0.5``; a key has a colon of its own."""
        weighted = _WEIGHTED_KEY.fullmatch(text)
        return cls(weighted[1], float(weighted[2])) if weighted else cls(text)

    def __str__(self) -> str:
        """The spelling that :meth:`parse` reads, without the sign."""
        size = abs(self.weight)
        return self.name if size == 1 else f"{self.name}:{spelt(size)}"

    def __neg__(self) -> Example:
        return Example(self.name, -self.weight)


@dataclass(frozen=True)
class Filters:
    """Which adapters may appear under one Protocol: thresholds on S and C, a base family, a folder."""

    thresholds: Thresholds
    family: str = ""
    folder: str = ""


@dataclass(frozen=True)
class Request:
    """What is asked, which adapters may appear, and which part of the answer is wanted.

    Words, adapters and pictures may be mixed: each becomes a vector of length 1, times its weight, and they are added.
    A request that asks for none of them lists all adapters, the strongest first.

    Args:
        words: phrases with signs and weights (see :meth:`Query.parse`).
        adapters: adapters to be like, or unlike if their weight is negative, by key.
        pictures: pictures to be like: paths of files, or ids where a server was sent them.
        encoding: how words become vectors.
        family: only adapters of this base family.
        folder: only adapters whose files lie under this folder.
        max_strength: hide adapters that are stronger; None for the Protocol's threshold.
        min_consistency: hide adapters that are less consistent; None for the Protocol's threshold.
        everything: apply no threshold of the Protocol.
        hidden: answer with what thresholds hide, too. It is counted in any case.
        limit: how many hits are wanted, of each kind.
        offset: how many hits to skip.
        hidden_offset: how many of the hidden ones to skip.

    Raises:
        QueryError: the words cannot be read, or the part that is wanted begins or ends below 0.
        ProtocolError: a threshold is NaN.

    Examples:
        >>> str(Request("watercolor   -people:0.50").query)
        'watercolor -people:0.5'
    """

    words: str = ""
    _: KW_ONLY
    adapters: tuple[Example, ...] = ()
    pictures: tuple[Example, ...] = ()
    encoding: Encoding = "suffix"
    family: str = ""
    folder: str = ""
    max_strength: float | None = None
    min_consistency: float | None = None
    everything: bool = False
    hidden: bool = True
    limit: int = 10
    offset: int = 0
    hidden_offset: int = 0

    def __post_init__(self) -> None:
        """Read and check all of it once."""
        _ = self.query
        _ = self.filters(Thresholds())
        for name in ("limit", "offset", "hidden_offset"):
            if getattr(self, name) < 0:
                raise QueryError(f"{name} is {getattr(self, name)}: give 0 or more")

    @cached_property
    def query(self) -> Query:
        """The words, read; without any terms if there are none."""
        return Query.parse(self.words) if self.words else Query(())

    @property
    def browsing(self) -> bool:
        """Whether nothing in particular is asked for."""
        return not (self.words or self.adapters or self.pictures)

    @property
    def last(self) -> int:
        """The rank of the last hit that is wanted, of either kind."""
        return max(self.offset, self.hidden_offset) + self.limit

    def filters(self, usual: Thresholds) -> Filters:
        """Which adapters may appear, where ``usual`` are the Protocol's thresholds."""
        base = Thresholds() if self.everything else usual
        return Filters(base.but(self.max_strength, self.min_consistency), self.family, self.folder)
