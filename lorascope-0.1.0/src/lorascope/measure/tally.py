"""What is known of one adapter so far, under each Protocol of a run."""

from __future__ import annotations

from collections.abc import Iterable
from typing import final

import numpy as np

from lorascope.errors import LibraryError
from lorascope.grid import Grid
from lorascope.library import Block, Library
from lorascope.moments import Moments
from lorascope.signature import Signature


@final
class Tally:
    """Folds an adapter's blocks into Moments, in block order, as they become known."""

    def __init__(self, library: Library, grid: Grid, protocols: Iterable[str], key: str) -> None:
        """Begin with all that the library holds.

        Args:
            library: has the blocks.
            grid: says which cells they are.
            protocols: the digests of the run's Protocols.
            key: the adapter's key.
        """
        self._library = library
        self._grid = grid
        self._key = key
        self._moments: dict[str, Moments] = {}
        self._blocks = dict.fromkeys(protocols, 0)
        self.catch_up()

    @property
    def blocks(self) -> int:
        """How many blocks are known under every Protocol."""
        return min(self._blocks.values())

    def catch_up(self) -> None:
        """Fold the blocks that were committed since."""
        library, grid = self._library, self._grid
        for protocol, known in self._blocks.items():
            for block in library.evidence.blocks(self._key, protocol, known):
                _check_size(library, block, len(grid.block(block.index)))
                effects = block.effects
                moments = self._moments.get(protocol)
                if moments is None:
                    moments = Moments.empty(len(grid.prompts), len(grid.seeds), effects.shape[1])
                    self._moments[protocol] = moments
                prompts = np.array([cell.prompt for cell in grid.block(block.index)])
                moments.add(prompts, effects, noise_floor=block.noise_floor)
                self._blocks[protocol] += 1

    def signatures(self, looks: int) -> dict[str, Signature]:
        """The Signature under each Protocol that has at least a block.

        Args:
            looks: how many looks the intervals allow for.
        """
        categories = self._grid.prompts.categories
        return {
            protocol: Signature.from_moments(moments, categories, looks=looks)
            for protocol, moments in self._moments.items()
        }


def _check_size(library: Library, block: Block, expected: int) -> None:
    """Blocks are known by their number, so a library keeps to one size of block."""
    if len(block.moved) != expected:
        raise LibraryError(
            f"{library.path} was measured in blocks of {len(block.moved)} cells, not {expected}: set block_size in the"
            " preset to what it was, or give another --library"
        )
