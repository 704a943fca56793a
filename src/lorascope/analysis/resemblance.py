"""Whether pictures with an adapter are nearer to reference works than pictures without it, and than to other pictures.

A picture's nearness to a set of works is its mean cosine with them, after the mean embedding of the base model's own
pictures is taken out of both. Its *gain* is how much nearer the picture with the adapter is than the one without it, of
the same prompt and noise. An adapter's *pull* is its mean gain, less its mean gain towards pictures of other adapters:
what any adapter does to pictures is no resemblance.

The null are unrelated adapters: the pulls of other adapters towards pictures of adapters that do something else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import final

import numpy as np
from jaxtyping import Bool, Float64, Int64

from lorascope.adapters.items import PICTURES
from lorascope.analysis.cells import Cells
from lorascope.analysis.jackknife import interval, sums_by_prompt, totals
from lorascope.encoders.base import PictureEncoder
from lorascope.encoders.pictures import embed_picture
from lorascope.errors import QueryError
from lorascope.moments import unit_rows
from lorascope.signature import Estimate

FEWEST_PICTURES = 3
_FLIPS = 9_999
UNRELATED = 0.3
"""Adapters whose Directions have a cosine below this do different things."""


@final
@dataclass(frozen=True, eq=False)
class Works:
    """The pictures of one protected work, character or style.

    Attributes:
        name: of their folder.
        files: the pictures.
        digests: SHA-256 of each file.
        embeddings: of each, unnormalised.
    """

    name: str
    files: tuple[Path, ...]
    digests: tuple[str, ...]
    embeddings: Float64[np.ndarray, "pictures d"]


def read_works(folder: Path, encoder: PictureEncoder) -> Works:
    """Embed the pictures of a folder; other files in it are left alone.

    Raises:
        QueryError: it is no folder, holds too few pictures, or one of them cannot be read.
    """
    if not folder.is_dir():
        raise QueryError(f"{folder} is no folder: give a folder of pictures of one work, character or style")
    files = tuple(sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURES))
    if len(files) < FEWEST_PICTURES:
        kinds = ", ".join(ending[1:] for ending in PICTURES)
        raise QueryError(f"{folder} holds {len(files)} pictures ({kinds}): give at least {FEWEST_PICTURES}")
    embeddings = np.stack([embed_picture(path, encoder) for path in files]).astype(np.float64)
    digests = tuple(sha256(path.read_bytes()).hexdigest() for path in files)
    return Works(folder.resolve().name, files, digests, embeddings)


@final
@dataclass(frozen=True, eq=False)
class Resemblance:
    """An adapter compared with one set of works, by one encoder.

    Attributes:
        works: their name.
        gains: how much nearer each cell's picture is with the adapter, less the mean gain towards other pictures.
        gain: how much nearer on average, with its interval over prompts.
        pull: the same less the mean gain towards other pictures.
        nearer: in what share of cells the picture with the adapter is the nearer one.
        standing: of the pull among unrelated adapters, in robust standard deviations.
        chance: the share of pulls of unrelated adapters that stand as high.
        paired: the chance of such a pull if each prompt's pictures went nearer or farther by accident (sign flips).
    """

    works: str
    gains: Float64[np.ndarray, " cells"]
    gain: Estimate
    pull: Estimate
    nearer: float
    standing: float
    chance: float
    paired: float


@final
class Nearness:
    """Pulls of adapters towards sets of works, and towards each other's pictures, by one encoder."""

    def __init__(
        self,
        adapters: Mapping[str, Cells],
        directions: Mapping[str, Float64[np.ndarray, " d"]],
        works: Sequence[Works],
        centre: Float64[np.ndarray, " d"],
    ) -> None:
        """Compare all adapters with all works.

        Args:
            adapters: pictures of each, by key.
            directions: what each does, vectors of length 1, by key; tells which ones are unrelated.
            works: the sets of works.
            centre: the mean embedding of the bare model's pictures.
        """
        self.keys = tuple(adapters)
        self.works = tuple(works)
        self._centre = centre
        self._pairs = adapters
        self._marks = np.stack([self._mark(one.embeddings) for one in works])
        self._others = np.stack([self._mark(pairs.adapted) for pairs in adapters.values()])
        moves = np.stack([self._moves(pairs).mean(axis=0) for pairs in adapters.values()])
        rows = np.stack([directions[key] for key in self.keys])
        self._unrelated: Bool[np.ndarray, "n n"] = rows @ rows.T < UNRELATED
        towards_others = moves @ self._others.T
        self._usual = np.array([_mean(row, where) for row, where in zip(towards_others, self._unrelated, strict=True)])
        self.pulls = moves @ self._marks.T - self._usual[:, None]
        null = towards_others - self._usual[:, None]
        self._null = np.sort(_standings(null, null, self._unrelated)[self._unrelated])

    def standings(self, among: Bool[np.ndarray, " n"] | None = None) -> Float64[np.ndarray, "n works"]:
        """How far each adapter's pull stands above the usual for the same works, in robust standard deviations."""
        chosen = np.ones(len(self.keys), bool) if among is None else among
        return _standings(self.pulls, self.pulls[chosen], None)

    def chance(self, standing: float) -> float:
        """The share of pulls of unrelated adapters that stand as high."""
        higher = len(self._null) - int(np.searchsorted(self._null, standing, side="left"))
        return (1 + higher) / (1 + len(self._null))

    def resemblances(self, key: str) -> list[Resemblance]:
        """One adapter compared with each set of works."""
        row, pairs = self.keys.index(key), self._pairs[key]
        others = np.arange(len(self.keys)) != row
        standings = self.standings(others)[row]
        moves = self._moves(pairs)
        control = moves @ self._others[self._unrelated[row]].mean(axis=0) if self._unrelated[row].any() else 0.0
        found: list[Resemblance] = []
        for place, works in enumerate(self.works):
            gains = moves @ self._marks[place]
            net = gains - control
            gain, pull = (_over_prompts(values, pairs.prompts) for values in (gains, net))
            standing, nearer = float(standings[place]), float((gains > 0).mean())
            chances = self.chance(standing), _sign_flips(net, pairs.prompts)
            found.append(Resemblance(works.name, net, gain, pull, nearer, standing, *chances))
        return found

    def beyond(self, key: str, works: str, control: str) -> Estimate:
        """How much higher an adapter's pull towards some works stands than that towards others, over its prompts.

        Both in robust standard deviations of all other adapters, as :attr:`Resemblance.standing`: works that are much
        alike pull more strongly than works of all kinds, and this takes it out.
        """
        row, pairs = self.keys.index(key), self._pairs[key]
        others = np.arange(len(self.keys)) != row
        medians, spreads = _usual(self.pulls[others], None)
        names = [one.name for one in self.works]
        gains = (self._moves(pairs) @ self._marks.T - self._usual[row] - medians) / spreads
        return _over_prompts(gains[:, names.index(works)] - gains[:, names.index(control)], pairs.prompts)

    def _mark(self, embeddings: Float64[np.ndarray, "m d"]) -> Float64[np.ndarray, " d"]:
        return unit_rows(embeddings - self._centre).mean(axis=0)

    def _moves(self, pairs: Cells) -> Float64[np.ndarray, "cells d"]:
        return unit_rows(pairs.adapted - self._centre) - unit_rows(pairs.bare - self._centre)


def holm(chances: Sequence[float]) -> list[float]:
    """Chances that allow for all of them together (Holm 1979).

    >>> holm([0.01, 0.04, 0.5])
    [0.03, 0.08, 0.5]
    """
    adjusted, largest = [0.0] * len(chances), 0.0
    for place, at in enumerate(sorted(range(len(chances)), key=lambda at: chances[at])):
        largest = max(largest, min(1.0, (len(chances) - place) * chances[at]))
        adjusted[at] = largest
    return adjusted


def false_alarms(chances: Sequence[float]) -> list[float]:
    """For each chance the share of false alarms to be expected among all that are as small (Benjamini-Hochberg).

    >>> false_alarms([0.01, 0.04, 0.5])
    [0.03, 0.06, 0.5]
    """
    shares, least = [0.0] * len(chances), 1.0
    order = sorted(range(len(chances)), key=lambda at: chances[at])
    for place, at in reversed(list(enumerate(order, 1))):
        least = min(least, chances[at] * len(chances) / place)
        shares[at] = least
    return shares


def _standings(
    values: Float64[np.ndarray, "n q"], usual: Float64[np.ndarray, "m q"], where: Bool[np.ndarray, "m q"] | None
) -> Float64[np.ndarray, "n q"]:
    """Values less the median of the usual ones of their column, in median absolute deviations times 1.4826."""
    medians, spreads = _usual(usual, where)
    return (values - medians) / spreads


def _usual(
    values: Float64[np.ndarray, "m q"], where: Bool[np.ndarray, "m q"] | None
) -> tuple[Float64[np.ndarray, " q"], Float64[np.ndarray, " q"]]:
    """The median of each column, and its median absolute deviation times 1.4826; of some of the values."""
    masked = values if where is None else np.where(where, values, np.nan)
    empty = np.isnan(masked).all(axis=0)
    masked = np.where(empty, 0.0, masked)
    medians = np.nanmedian(masked, axis=0)
    return medians, np.maximum(1.4826 * np.nanmedian(np.abs(masked - medians), axis=0), 1e-9)


def _over_prompts(values: Float64[np.ndarray, " cells"], prompts: Int64[np.ndarray, " cells"]) -> Estimate:
    sums = sums_by_prompt(np.column_stack([values, np.ones(len(values))]), prompts)
    return interval(totals(sums[:, 0]) / totals(sums[:, 1]))


def _sign_flips(values: Float64[np.ndarray, " cells"], prompts: Int64[np.ndarray, " cells"]) -> float:
    """One-sided chance of the mean over prompts under random signs; seeded, so that it is the same again."""
    sums = sums_by_prompt(values[:, None], prompts)[:, 0]
    signs = np.random.default_rng(0).choice((-1.0, 1.0), (_FLIPS, len(sums)))
    return float(1 + (signs @ sums >= sums.sum()).sum()) / (1 + _FLIPS)


def _mean(row: Float64[np.ndarray, " n"], where: Bool[np.ndarray, " n"]) -> float:
    return float(row[where].mean()) if where.any() else 0.0
