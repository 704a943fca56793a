"""What is known about one adapter so far, under each Protocol of a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import final

from lorascope.errors import LibraryError
from lorascope.grid import Grid
from lorascope.library import Block, Library
from lorascope.library.recomputation import add_block
from lorascope.signature import Calibration, Effects, Signature


@final
class Tally:
    """Collects the blocks of an adapter, in block order, as they become known."""

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
        self._effects: dict[str, Effects] = {}
        self._blocks = dict.fromkeys(protocols, 0)
        self.catch_up()

    @property
    def blocks(self) -> int:
        """How many blocks are known under every Protocol."""
        return min(self._blocks.values())

    def catch_up(self) -> None:
        """Add the blocks that were committed since."""
        for protocol, known in self._blocks.items():
            for block in self._library.evidence.blocks(self._key, protocol, known):
                _check_size(self._library, block, len(self._grid.block(block.index)))
                self._effects[protocol] = add_block(self._effects.get(protocol), block, self._grid)
                self._blocks[protocol] += 1

    def signatures(self, looks: int, calibrations: Mapping[str, Calibration]) -> dict[str, Signature]:
        """The Signature under each Protocol that has at least a block.

        Args:
            looks: how many looks the intervals allow for.
            calibrations: by Protocol, where its Directions are estimated by regression.
        """
        categories = self._grid.prompts.categories
        return {
            protocol: effects.signature(categories, looks=looks, calibration=calibrations.get(protocol))
            for protocol, effects in self._effects.items()
        }


def _check_size(library: Library, block: Block, expected: int) -> None:
    """Blocks are known by their number, so a library keeps to one size of block."""
    if len(block.moved) != expected:
        raise LibraryError(
            f"{library.path} was measured in blocks of {len(block.moved)} cells, not {expected}: set block_size in the"
            " preset to what it was, or give another --library"
        )
