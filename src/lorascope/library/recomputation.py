"""What the evidence says that a library holds: signatures computed anew from its blocks, and how many pictures."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np

from lorascope.errors import PromptSetError
from lorascope.grid import PREVIEWS, Grid
from lorascope.library.codec import columns
from lorascope.library.evidence import Block
from lorascope.library.previews import BARE
from lorascope.library.records import StoredProtocol
from lorascope.library.store import Library
from lorascope.protocol import Protocol
from lorascope.signature import Calibration, Effects, Signature

_CLOSE = 1e-6
"""Sums over the same cells may differ in their last digits between processors."""


def grid_of(stored: StoredProtocol) -> Grid | None:
    """The grid that a Protocol was measured on; None if its prompts are not here."""
    try:
        grid = stored.preset.grid()
    except PromptSetError:
        return None
    protocol = stored.protocol
    return grid if (grid.prompts.digest, grid.seeds) == (protocol.prompts, protocol.seeds) else None


def lost_previews(library: Library, protocol: Protocol, grid: Grid) -> dict[str, int]:
    """How many pictures were lost of each adapter that was measured here, and of the bare model.

    The first cells of the grid have one each, so blocks that are known say how many there were.
    """
    if not library.has_evidence:
        return {}
    blocks = library.evidence.counts(protocol.digest, grid.blocks_for(PREVIEWS))
    due = {key: min(PREVIEWS, count * grid.block_size, len(grid)) for key, count in blocks.items()}
    kept = library.previews.counts(protocol.scene)
    kept[BARE] = library.previews.counts(library.previews.scene(protocol, BARE)).get(BARE, 0)
    due[BARE] = max(due.values(), default=0)
    return {key: number - kept.get(key, 0) for key, number in due.items() if number > kept.get(key, 0)}


def add_block(effects: Effects | None, block: Block, grid: Grid) -> Effects:
    """Add one block to the effects of an adapter; None stands for no cells yet."""
    if effects is None:
        effects = Effects(len(grid.prompts), len(grid.seeds), block.adapted.shape[1])
    prompts = np.array([cell.prompt for cell in grid.block(block.index)])
    effects.add(prompts, block.effects, block.bare, noise_floor=block.noise_floor)
    return effects


def recomputed(
    effects: Effects, grid: Grid, stored: Signature | None, calibration: Calibration | None = None
) -> Signature:
    """The Signature of some cells. Its intervals allow for as many looks as those of what is stored, if that is known.

    A measurement that stops by its intervals looks often, ``glance`` and ``full`` do not.
    """
    looks = (max(1, len(grid.looks) - 1), 1)
    options = [effects.signature(grid.prompts.categories, looks=number, calibration=calibration) for number in looks]
    return next((option for option in options if stored is not None and agree(option, stored)), options[0])


def agree(one: Signature, other: Signature) -> bool:
    """Whether two signatures are the same except for rounding."""
    if one.direction.shape != other.direction.shape:
        return False
    close = _CLOSE * float(np.abs(one.direction).max(initial=0.0)) + 1e-9
    if not np.allclose(one.direction, other.direction, rtol=1e-5, atol=close):
        return False
    return _agree(*(json.loads(columns(signature)[-1]) for signature in (one, other)))


def _agree(one: Any, other: Any) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_agree(value, other[name]) for name, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_agree, one, other))
    if isinstance(one, float) and isinstance(other, int | float):
        return one == other or math.isclose(one, other, rel_tol=_CLOSE, abs_tol=1e-9)
    return one == other
