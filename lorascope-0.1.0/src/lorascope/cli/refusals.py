"""Files that were left out: new ones in full, known ones counted by reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

from lorascope.cli.hints import command
from lorascope.cli.output import counted, out, print_table
from lorascope.library import Refusal

_MANY = 5
"""From how many files on a summary helps."""


def without(refused: Sequence[Refusal], known: Collection[Refusal]) -> list[Refusal]:
    """The refusals that are new: another file, or the same file for another reason."""
    before = {(one.path, one.code, one.reason) for one in known}
    return [one for one in refused if (one.path, one.code, one.reason) not in before]


def print_refusals(refused: Sequence[Refusal]) -> None:
    """Each file that was left out with its reason, and how many there are for each reason."""
    if refused:
        rows = [(one.path, one.code, f"{one.reason}. {one.remedy}") for one in refused]
        print_table(("left out", "code", "why"), rows)
        if len(refused) >= _MANY:
            out.print(f"{counted(len(refused), 'file')} left out: {by_reason(refused)}", soft_wrap=True)


def print_known(refused: Sequence[Refusal], library: Path | None) -> None:
    """How many files were left out again, for the same reasons as before."""
    if refused:
        out.print(
            f"{counted(len(refused), 'file')} left out as before ({by_reason(refused)}):"
            f" {command('list', '--refused', library=library)} shows why",
            soft_wrap=True, markup=False, highlight=False,
        )  # fmt: skip


def by_reason(refused: Sequence[Refusal]) -> str:
    """``12 pickle, 3 truncated``, the most frequent first."""
    return ", ".join(f"{count} {code}" for code, count in Counter(one.code for one in refused).most_common())
