"""What setup finds, and how it prints it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lorascope.cli.output import counted, err, harmless, out, print_line, print_note, print_table
from lorascope.cli.progress import counted_files
from lorascope.errors import printable
from lorascope.families import title_of
from lorascope.installations import (
    Inventory,
    UserConfig,
    find_installations,
    kind_of,
    open_installation,
    reason_against,
    take_inventory,
    usual_places,
)

_EACH_NOTE = 20


def look_around(named: Sequence[Path]) -> Inventory:
    """Find the tools of this machine, and read the headers of their models.

    Raises:
        UsageError: One of these is not the folder of a tool.
    """
    from huggingface_hub import constants

    further = [open_installation(path) for path in named]
    with counted_files() as step:
        places = usual_places(Path.home(), os.environ)
        return take_inventory([*further, *find_installations(places)], Path(constants.HF_HUB_CACHE), step)


def print_inventory(inventory: Inventory) -> None:
    """Print tools, base models and adapters by kind, and what was left out."""
    if inventory.counts:
        rows = [(one.tool, printable(str(one.root)), *numbers) for one, *numbers in inventory.counts]
        print_table(("tool", "folder", "adapters", "checkpoints", "VAEs"), rows)
    if inventory.checkpoints:
        models = [
            (printable(one.name), title_of(one.architecture), one.lineage or "–", one.prediction or "–")
            for one in inventory.checkpoints
        ]
        out.print()
        print_table(("base model", "architecture", "lineage", "predicts"), models)
    for note in inventory.notes[:_EACH_NOTE]:
        print_note(note, "yellow")
    if len(inventory.notes) > _EACH_NOTE:
        err.print(f"and {len(inventory.notes) - _EACH_NOTE} more such lines: --json has all", style="yellow")


def print_proposal(inventory: Inventory, config: UserConfig) -> None:
    """Print which preset measures how many adapters on what, and why others are not measured."""
    counts = Counter(map(kind_of, inventory.adapters))
    assigned = {kind for one in config.assignments for kind in one.adapters}
    rows = [
        (one.preset, harmless(one.base), _kinds({kind: counts[kind] for kind in one.adapters if counts[kind]}))
        for one in config.assignments
    ]
    out.print()
    if rows:
        print_table(("preset", "on", "measures"), rows)
    for kind, count in sorted(counts.items()):
        if kind not in assigned:
            print_line(f"not measured: {_kinds({kind: count})}: {reason_against(kind)}")
    if inventory.unread:
        out.print(f"{counted(len(inventory.unread), 'file')} cannot be read as LoRAs: `index` says of each why")
    out.print()


def _kinds(counts: dict[str, int]) -> str:
    """``12 SDXL (pony), 3 SDXL``."""
    parts = ((count, *kind.partition("/")[::2]) for kind, count in counts.items())
    return ", ".join(f"{count} {title_of(name)}{f' ({lineage})' if lineage else ''}" for count, name, lineage in parts)


def plain_inventory(inventory: Inventory, config: UserConfig) -> dict[str, Any]:
    """All that was found, and what is proposed, as plain data."""
    return {
        "tools": [
            {"tool": one.tool, "folder": str(one.root), "adapters": adapters, "checkpoints": checkpoints, "vaes": vaes}
            for one, adapters, checkpoints, vaes in inventory.counts
        ],
        "adapters": dict(sorted(Counter(map(kind_of, inventory.adapters)).items())),
        "checkpoints": [asdict(one) for one in inventory.checkpoints],
        "vaes": [str(path) for path in inventory.vaes],
        "unread": [{"path": one.place, "code": one.code, "reason": one.reason} for one in inventory.unread],
        "folders": [str(folder) for folder in config.folders],
        "measure": [asdict(one) for one in config.assignments],
        "notes": inventory.notes,
    }
