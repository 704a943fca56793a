"""When a measurement stops."""

from __future__ import annotations

import math
from dataclasses import dataclass

from lorascope.errors import ProtocolError


@dataclass(frozen=True, kw_only=True)
class Precision:
    """When a measurement is good enough: cos(D_n, D of the full grid) is at least ``agreement``.

    ``glance`` stops after its first block whatever the agreement, ``full`` only at the end of the grid.

    Attributes:
        name: what people call it.
        agreement: the cosine.
        prompts: on how many prompts it looks at least: an effect on few of them is seen on none of the first.
    """

    name: str
    agreement: float
    prompts: int = 1

    @property
    def tolerance(self) -> float:
        """How large an error may be, as a share of what it is an error of: the sine of the angle that is allowed.

        The error of a Direction relative to its length; the error of Strength or Consistency relative to the threshold
        that it is compared with.
        """
        return math.sqrt(max(0.0, 1.0 - self.agreement**2))

    @classmethod
    def named(cls, name: str) -> Precision:
        """``glance``, ``quick``, ``standard`` or ``full``.

        Raises:
            ProtocolError: any other name.
        """
        if name not in PRECISIONS:
            raise ProtocolError(f"no precision {name!r}: use one of {', '.join(PRECISIONS)}")
        return PRECISIONS[name]


PRECISIONS = {
    precision.name: precision
    for precision in (
        Precision(name="glance", agreement=-1.0),
        Precision(name="quick", agreement=0.95, prompts=96),
        Precision(name="standard", agreement=0.98, prompts=128),
        Precision(name="full", agreement=1.0),
    )
}
"""The four precisions, coarsest first. Each resumes into the next."""

SCREENED = "screened"
"""What a signature is kept as, before the threshold it crossed (``screened strength>9.8``), whose measuring ended early
because it was certain to be hidden. It is finer than ``glance`` and coarser than the others."""
