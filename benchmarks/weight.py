"""How good the weight is that `lorascope weight` advises, on the shipped world.

    python -m benchmarks.weight LIBRARY [--adapters 40]

Shipped adapters of test and dev are measured by turns, at five weights, on two blocks of 16 cells each. The Curve is
taken from one block and judged on the other one, both ways round, by the world's independent judge: the best weight is
the one at which most images show the effect and keep the scene, of those that the judge names right without the
adapter. The rule is chosen on dev and compared on test with always 1.0, the author's claim, and Strength alone.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np

from benchmarks.judged import JUDGE, JudgedScenes, judged_preset
from benchmarks.machine import describe as machine
from lorascope import Library
from lorascope.analysis import Curve, advise, weight
from lorascope.analysis.cells import Cells, PromptTexts, known_grid
from lorascope.analysis.weight import curve_of
from lorascope.encoders.load import load_text_encoder
from lorascope.library import StoredAdapter
from lorascope.library.words import measured_words
from lorascope.measure import index, load_worker
from lorascope.measure.files import measured_delta
from lorascope.measure.measurement import Measurement
from lorascope.miniature import adapters_path
from miniature.catalogue import by_stem
from miniature.truth import split

SCALES = (0.4, 0.7, 1.0, 1.3, 1.6)
BLOCKS = (0, 1)
_FINE = np.round(np.arange(0.1, 1.601, 0.05), 2)
_FULLS, _POWERS = (0.6, 0.8, 1.0, 1.2), (0.5, 1.0, 2.0, 4.0)
_FEWEST, _DRAWS = 20, 10_000
"""Adapters from which an interval is given, and draws of the bootstrap over them."""


@dataclass(frozen=True)
class Judged:
    """An adapter: its Curve from each block, and how good the judge finds each fine scale on the other block."""

    adapter: StoredAdapter
    part: str
    curves: tuple[Curve, ...]
    good: tuple[np.ndarray, ...]
    features: np.ndarray

    @property
    def best(self) -> float:
        """The weight that the judge finds best over both blocks."""
        return float(_FINE[int(np.mean(self.good, axis=0).argmax())])


def chosen(library: Library, count: int) -> list[StoredAdapter]:
    """The first so many adapters of known effects, test and dev by turns."""
    adapters = sorted(library.adapters.all().values(), key=lambda one: one.name)
    random.Random(0).shuffle(adapters)
    known = [(one, by_stem(one.name).effects) for one in adapters]
    parts = {part: [one for one, effects in known if effects and split(effects) == part] for part in ("test", "dev")}
    turns = [one for place in range(len(adapters)) for part in parts.values() for one in part[place : place + 1]]
    return turns[:count]


def measure(library: Library, count: int) -> None:
    """Measure what is missing."""
    worker = load_worker(judged_preset(), device="cpu")
    index([adapters_path()], worker, library, precision="glance")
    at = {scale: Measurement(worker, library, scale) for scale in SCALES}
    for adapter in chosen(library, count):
        delta = measured_delta(adapter, at[1.0].names)
        words = measured_words(adapter, at[1.0].protocols[0])
        for measurement, block in product(at.values(), BLOCKS):
            if not library.evidence.blocks(adapter.key, measurement.digests[0], block, block + 1):
                measurement.measure(adapter.key, delta, words, block)
        print(adapter.name, flush=True)


def judged(library: Library, adapters: list[StoredAdapter]) -> Iterator[Judged]:
    """What the judge says of those adapters that were measured."""
    ours, theirs = _protocols(library)
    stored = library.protocols.find(ours)
    grid = known_grid(stored)
    texts, judge = PromptTexts(load_text_encoder(stored.protocol.encoder), grid), JudgedScenes(grid)
    for adapter in adapters:
        cells = [_cells(library, adapter.key, ours, block) for block in BLOCKS]
        images = [_cells(library, adapter.key, theirs, block) for block in BLOCKS]
        if any(len(found) < len(SCALES) for found in (*cells, *images)):
            continue
        entry = by_stem(adapter.name)
        good: list[np.ndarray] = []
        for found in images:
            kept = judge.single(found[1.0])
            means = [
                float(np.mean(judge.seen(entry, one.adapted[kept], one.prompts[kept])
                              * judge.right(entry, one.adapted[kept], one.prompts[kept])))
                for one in found.values()
            ]  # fmt: skip
            good.append(np.interp(_FINE, [0.0, *found], [0.0, *means]))
        curves = tuple(curve_of(found, texts.rows(found[1.0].prompts), len(found[1.0])) for found in cells)
        part = split(entry.effects)
        yield Judged(adapter, part, curves, tuple(good[::-1]), _features(adapter, cells))


def _protocols(library: Library) -> tuple[str, str]:
    """The digests of the Protocols of the encoder that measures and of the judge, at weight 1."""
    known = {one.protocol.encoder: one.protocol.digest for one in library.protocols.all()}
    theirs = known.pop(JUDGE)
    return next(iter(known.values())), theirs


def _cells(library: Library, key: str, protocol: str, block: int) -> dict[float, Cells]:
    """The cells of one block by scale."""
    stored = library.protocols.find(protocol)
    grid = known_grid(stored)
    found = {
        scale: library.evidence.blocks(key, replace(stored.protocol, scale=scale).digest, block, block + 1)
        for scale in SCALES
    }
    return {scale: Cells.of(grid, blocks) for scale, blocks in found.items() if blocks}


def _features(adapter: StoredAdapter, cells: list[dict[float, Cells]]) -> np.ndarray:
    """What the signature at 1.0 says: Strength, Consistency, spread of Strength over prompts, norm of the change."""
    effects = np.concatenate([one[1.0].effects for one in cells])
    lengths = np.linalg.norm(effects, axis=1)
    units = effects / np.maximum(lengths, 1e-9)[:, None]
    n = len(units)
    consistency = float((np.linalg.norm(units.sum(0)) ** 2 - n) / (n * (n - 1)))
    norm = next(iter(adapter.facts.spectra.values()))["norm"]
    return np.array([np.log(lengths.mean()), consistency, lengths.std() / lengths.mean(), np.log(norm)])


def _strength_alone(one: Judged, curve: Curve, usual: float) -> float:
    """The weight at which Strength is the usual one at 1.0."""
    known = [(0.0, 0.0), *((scale, value.value) for scale, value in curve.series("strength"))]
    strengths = np.interp(_FINE, *zip(*known, strict=True))
    return float(_FINE[int(np.abs(strengths - usual).argmin())])


def losses(rows: list[Judged], weights: list[tuple[float, ...]]) -> tuple[np.ndarray, np.ndarray]:
    """For each adapter the error of its weights in scale, and the loss in the judge's score, means of both ways."""
    errors, lost = [], []
    for one, advised in zip(rows, weights, strict=True):
        pairs = [(good.max() - np.interp(chosen, _FINE, good), _FINE[int(good.argmax())])
                 for good, chosen in zip(one.good, advised, strict=True)]  # fmt: skip
        errors.append(np.mean([abs(best - chosen) for (_, best), chosen in zip(pairs, advised, strict=True)]))
        lost.append(np.mean([loss for loss, _ in pairs]))
    return np.array(errors), np.array(lost)


def _advised(rows: list[Judged]) -> list[tuple[float, ...]]:
    return [tuple(advise(curve).weight or 1.0 for curve in one.curves) for one in rows]


def choose(rows: list[Judged]) -> list[str]:
    """The loss of each rule on dev."""
    lines = ["| effect seen in full at | power of prompt kept | loss on dev |", "|---|---|---|"]
    shipped = weight._FULL, weight._POWER
    for full, power in product(_FULLS, _POWERS):
        weight._FULL, weight._POWER = full, power
        lines.append(f"| {full} | {power} | {losses(rows, _advised(rows))[1].mean():.3f} |")
    weight._FULL, weight._POWER = shipped
    return lines


def compared(rows: list[Judged]) -> list[str]:
    """The table of rules."""
    usual = float(np.median([dict(one.curves[0].series("strength"))[1.0].value for one in rows]))
    claims = [one.adapter.claimed("weight") for one in rows]
    rules: Mapping[str, list[tuple[float, ...]]] = {
        "`lorascope weight`": _advised(rows),
        "always 1.0": [(1.0, 1.0)] * len(rows),
        f"the author's claim ({sum(claim is not None for claim in claims)} have one), else 1.0": [
            (claim or 1.0,) * 2 for claim in claims
        ],
        "Strength alone": [tuple(_strength_alone(one, curve, usual) for curve in one.curves) for one in rows],
    }
    base = losses(rows, rules["always 1.0"])[1]
    lines = ["| rule | error in weight | loss in the judge's score | less than always 1.0 |", "|---|---|---|---|"]
    for name, weights in rules.items():
        error, loss = losses(rows, weights)
        lines.append(f"| {name} | {_mean(error)} | {_mean(loss)} | {_mean(base - loss)} |")
    return lines


def predicted(rows: list[Judged]) -> list[str]:
    """The best weight from the signature at 1.0: ridge regression and the best constant, leaving each adapter out."""
    best = np.array([one.best for one in rows])
    features = np.stack([one.features for one in rows])
    features = (features - features.mean(0)) / features.std(0)
    guesses: list[tuple[float, float]] = []
    for place in range(len(rows)):
        others = np.arange(len(rows)) != place
        x, y = features[others], best[others] - best[others].mean()
        slope = np.linalg.solve(x.T @ x + len(x) * 0.1 * np.eye(x.shape[1]), x.T @ y)
        guess = float(np.clip(best[others].mean() + features[place] @ slope, 0.1, 1.6))
        guesses.append((guess, float(np.median(best[others]))))
    lines = ["| predictor | error in weight | loss in the judge's score |", "|---|---|---|"]
    for name, column in (("from the signature at 1.0", 0), ("a constant", 1)):
        error, loss = losses(rows, [(guess[column],) * 2 for guess in guesses])
        lines.append(f"| {name} | {_mean(error)} | {_mean(loss)} |")
    return lines


def _mean(values: np.ndarray) -> str:
    """A mean and its bootstrap interval over adapters."""
    if len(values) < _FEWEST:
        return f"{values.mean():.3f}"
    draws = np.random.default_rng(0).choice(values, (_DRAWS, len(values))).mean(1)
    low, high = np.percentile(draws, (2.5, 97.5))
    return f"{values.mean():.3f} ({low:.3f} to {high:.3f})"


def report(path: Path, count: int) -> str:
    """Tables in Markdown."""
    with Library(path, create=True) as library:
        measure(library, count)
        rows = list(judged(library, chosen(library, count)))
    parts = {part: [one for one in rows if one.part == part] for part in ("dev", "test")}
    lines = [f"{len(parts['dev'])} adapters of dev, {len(parts['test'])} of test; {machine()}.", ""]
    lines += [*choose(parts["dev"]), "", *compared(parts["test"]), "", *predicted(rows)]
    return "\n".join(lines)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library", type=Path, help="where measurements are kept; made if it does not exist")
    parser.add_argument("--adapters", type=int, default=40, help="how many adapters")
    arguments = parser.parse_args()
    print(report(arguments.library, arguments.adapters))


if __name__ == "__main__":
    main()
