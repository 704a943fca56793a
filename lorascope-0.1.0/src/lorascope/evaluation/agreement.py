"""How sure a vote is, and how far people agree."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence

_Z = 1.959963984540054
"""The 97.5% quantile of the standard normal."""


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """The 95% interval of a share (E. B. Wilson, 1927); everything from 0 to 1 without trials."""
    if trials == 0:
        return 0.0, 1.0
    share, spread = successes / trials, _Z**2 / trials
    middle = (share + spread / 2) / (1 + spread)
    reach = _Z / (1 + spread) * math.sqrt(share * (1 - share) / trials + spread / (4 * trials))
    return max(0.0, middle - reach), min(1.0, middle + reach)


def krippendorff_alpha(units: Iterable[Sequence[Hashable]]) -> float | None:
    """Krippendorff's alpha for nominal answers (K. Krippendorff, 2011, "Computing Krippendorff's Alpha-Reliability").

    Args:
        units: the answers that each question got, by however many people.

    Returns:
        1 for full agreement, 0 for what chance gives, below 0 for less; None where disagreement is impossible:
        fewer than two answers to every question, or the same answer to all of them.
    """
    compared = [Counter(unit) for unit in units if len(unit) > 1]
    totals = sum(compared, Counter[Hashable]())
    n = totals.total()
    expected = n**2 - sum(count**2 for count in totals.values())
    if expected == 0:
        return None
    observed = sum(
        (unit.total() ** 2 - sum(count**2 for count in unit.values())) / (unit.total() - 1) for unit in compared
    )
    return 1 - (n - 1) * observed / expected
