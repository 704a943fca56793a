"""What is looked at: prompts in categories, seeds, and the fixed order of their cells."""

from __future__ import annotations

import hashlib
import random
import tomllib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from lorascope.errors import PromptSetError

PREVIEWS = 12
"""How many cells, the first of every grid, have their pictures kept for every adapter."""

_LARGEST = 50_000_000
"""Bytes of a prompt set: a hundred thousand prompts of 500 characters."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt, the category it belongs to, and the group within that category."""

    text: str
    category: str
    group: str


@dataclass(frozen=True)
class PromptSet:
    """A named, ordered set of prompts. Its digest, not its name, is its identity.

    Examples:
        >>> len(PromptSet.load("index"))
        280
    """

    name: str
    prompts: tuple[Prompt, ...]

    def __post_init__(self) -> None:
        """Refuse an empty set and repeated prompts."""
        texts = [prompt.text for prompt in self.prompts]
        if not texts:
            raise PromptSetError(f"prompt set {self.name!r} holds no prompt: give at least one")
        repeated = sorted(text for text, count in Counter(texts).items() if count > 1)
        if repeated:
            raise PromptSetError(f"prompt set {self.name!r} repeats {repeated[0]!r}: remove all but one of each prompt")

    def __len__(self) -> int:
        return len(self.prompts)

    @property
    def texts(self) -> tuple[str, ...]:
        """The prompts' texts, in order."""
        return tuple(prompt.text for prompt in self.prompts)

    @property
    def categories(self) -> tuple[str, ...]:
        """The category of each prompt, in order."""
        return tuple(prompt.category for prompt in self.prompts)

    @cached_property
    def digest(self) -> str:
        """First 16 hex digits of the sha256 over every category and text, in order."""
        lines = (f"{prompt.category}\t{prompt.text}\n" for prompt in self.prompts)
        return hashlib.sha256("".join(lines).encode()).hexdigest()[:16]

    @classmethod
    def load(cls, source: str | Path) -> PromptSet:
        """Read a prompt set that ships with the package, or one from a file.

        Args:
            source: a shipped name such as ``"index"``, or the path of a ``.toml`` file (tables are
                categories, keys are groups, values lists of prompts) or of a ``.txt`` file (one prompt
                a line, a single category).

        Raises:
            PromptSetError: the source does not exist, cannot be parsed or holds no prompts.
        """
        shipped = files("lorascope") / "prompts" / f"{source}.toml"
        try:
            if isinstance(source, str) and shipped.is_file():
                return _from_toml(str(source), shipped.read_text("utf-8"))
            text = _read(Path(source))
        except (OSError, ValueError) as error:  # UnicodeDecodeError is one
            raise PromptSetError(
                f"cannot read the prompt set {str(source)!r} ({error}): give a shipped name or a .toml or .txt file"
            ) from error
        if Path(source).suffix == ".toml":
            return _from_toml(Path(source).stem, text)
        lines = [line.strip() for line in text.splitlines()]
        return cls(Path(source).stem, tuple(Prompt(line, "all", "all") for line in lines if line))


def _read(path: Path) -> str:
    """The text of a file: a library of somebody else may name a device, or a file without end."""
    size = path.stat().st_size
    if not path.is_file() or size > _LARGEST:
        raise OSError(f"it is no file, or has over {_LARGEST} bytes")
    return path.read_text("utf-8")


def _from_toml(name: str, text: str) -> PromptSet:
    try:
        data = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise PromptSetError(f"prompt set {name!r} is not valid TOML ({error}): mend that line") from error
    prompts: list[Prompt] = []
    for category, groups in data.items():
        if not isinstance(groups, dict):
            continue
        for group, texts in groups.items():
            if not isinstance(texts, list) or not all(isinstance(line, str) for line in texts):
                raise PromptSetError(
                    f"prompt set {name!r}: [{category}] {group} is {texts!r}: it must be a list of prompts"
                )
            prompts += [Prompt(line, category, group) for line in texts]
    return PromptSet(str(data.get("name", name)), tuple(prompts))


class Cell(NamedTuple):
    """One (prompt, seed): the index of the prompt in its set, and the seed itself."""

    prompt: int
    seed: int


@dataclass(frozen=True)
class Grid:
    """Prompts x seeds in a fixed order, cut into blocks: the unit in which work is done and stored.

    The order spreads what is measured first as widely as it can: round by round, every prompt is visited
    once, the categories in proportion, so the first block already touches all of them. In each round
    neighbouring prompts use different seeds, and over all rounds every prompt meets every seed once.

    Examples:
        >>> grid = Grid(PromptSet.load("index"), seeds=(42, 43), block_size=32)
        >>> len(grid), len(grid.block(0))
        (560, 32)
    """

    prompts: PromptSet
    seeds: tuple[int, ...]
    block_size: int

    def __post_init__(self) -> None:
        """Refuse a grid without seeds, with repeated seeds or with an empty block."""
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise PromptSetError(f"seeds are {self.seeds}: give at least one, each once")
        if self.block_size < 1:
            raise PromptSetError(f"block_size is {self.block_size}: it must be at least 1")

    def __len__(self) -> int:
        return len(self.prompts) * len(self.seeds)

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """Every cell, in the order of measurement."""
        order = _spread(self.prompts.categories, self.prompts.digest)
        seeds = self.seeds
        return tuple(
            Cell(prompt, seeds[(turn + rank) % len(seeds)])
            for turn in range(len(seeds))
            for rank, prompt in enumerate(order)
        )

    @property
    def blocks(self) -> int:
        """How many blocks the grid has; the last may be shorter."""
        return -(-len(self) // self.block_size)

    def block(self, index: int) -> tuple[Cell, ...]:
        """The cells of one block."""
        return self.cells[index * self.block_size : (index + 1) * self.block_size]

    @property
    def looks(self) -> list[int]:
        """After how many blocks a sequential measurement looks: 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, ...

        Four for each doubling: so few blocks are measured in vain, and the limits of Strength and Consistency, which
        every look widens, stay narrow. The last look is at the whole grid.
        """
        found = {step * 2**power for power in range(self.blocks.bit_length()) for step in (1, 2, 3, 4, 5, 6, 7)}
        return sorted({blocks for blocks in found if blocks < self.blocks} | {self.blocks})

    def blocks_for(self, cells: int) -> int:
        """The fewest blocks that hold at least this many cells, and never more than there are."""
        return min(self.blocks, -(-cells // self.block_size))


def _spread(categories: Sequence[str], digest: str) -> list[int]:
    """Prompt indices shuffled within their category, seeded by the set itself, and every category in proportion.

    Any first part of the order holds each category in about the share that it has of the whole set: taking turns
    instead would let small categories weigh too much, and bias Strength by a tenth where only some are acted on.
    """
    shuffle = random.Random(digest).shuffle
    lanes: dict[str, list[int]] = {}
    for index, category in enumerate(categories):
        lanes.setdefault(category, []).append(index)
    places: list[tuple[float, int]] = []
    for lane in lanes.values():
        shuffle(lane)
        places += [((rank + 0.5) / len(lane), index) for rank, index in enumerate(lane)]
    return [index for _, index in sorted(places)]
