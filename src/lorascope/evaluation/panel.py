"""Runs judges: every image that a ranking calls for is scored once, and rankings get the means of their top."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import final

import numpy as np
import torch

from lorascope.caches import Note, quiet
from lorascope.errors import ModelError
from lorascope.evaluation.judges import Judge, Verdict
from lorascope.evaluation.pictures import Sitting, pixels, scene_of
from lorascope.evaluation.run import Evaluation
from lorascope.evaluation.store import LabStore, Picture
from lorascope.evaluation.verdicts import NOBODY, TOP, Judged
from lorascope.generators.memory import out_of_memory
from lorascope.library import BARE
from lorascope.protocol import Protocol

_BATCH = 16


@final
class Panel:
    """Runs judges over kept images."""

    def __init__(self, store: LabStore, protocol: Protocol, sitting: Sitting) -> None:
        self._store, self._protocol = store, protocol
        self._cells = set(sitting.cells)

    def judged(self, judge: Judge, evaluation: Evaluation, note: Note = quiet) -> Judged:
        """Let a judge score what the retrievers found. Scores that were given before are not paid for again.

        A ranking with fewer hits than are judged is filled up with the bare model's images: where nothing is found, the
        picture stays as it is. So are adapters that have no images.

        Raises:
            ModelError: not even one image fits into the device's memory. What was scored before is kept.
        """
        wanted = self._wanted(evaluation)
        scores: dict[tuple[int, int], float] = {}
        bare: dict[int, float] = {}
        for done, (row, places) in enumerate(wanted.items()):
            note(f"{judge.name} looks at images", done, len(wanted))
            key = BARE if row is None else evaluation.corpus.keys[row]
            found = self._means(judge, key, [evaluation.queries[place].text for place in places])
            for place, score in zip(places, found, strict=False):
                if row is None:
                    bare[place] = score
                else:
                    scores[place, row] = score
        note("", len(wanted), len(wanted))
        raw = {
            name: np.array([_top(ranking, scores, bare, place) for place, ranking in enumerate(rankings)])
            for name, rankings in evaluation.rankings.items()
        }
        raw[NOBODY] = np.array([bare[place] for place in range(len(evaluation.queries))])
        return Judged(judge.name, raw, scores, judge.encoder != self._protocol.encoder_digest)

    @staticmethod
    def _wanted(evaluation: Evaluation) -> dict[int | None, list[int]]:
        """For which queries each adapter (None: the bare model) has to be looked at."""
        found: dict[int | None, list[int]] = {None: list(range(len(evaluation.queries)))}
        for rankings in evaluation.rankings.values():
            for place, ranking in enumerate(rankings):
                for row in ranking[:TOP]:
                    if place not in found.setdefault(row, []):
                        found[row].append(place)
        return found

    def _means(self, judge: Judge, key: str, queries: Sequence[str]) -> list[float]:
        """The mean score over an adapter's images, for each query; nothing if it has no images."""
        pictures = [
            p for p in self._store.pictures(scene_of(self._protocol, key), key) if (p.prompt, p.seed) in self._cells
        ]
        if not pictures:
            return []
        known = self._store.verdicts(judge.identity, [picture.digest for picture in pictures])
        fresh = [q for q in dict.fromkeys(queries) if any((p.digest, q) not in known for p in pictures)]
        for part, verdicts in _batches(judge, pictures, fresh):
            rows = [
                (picture.digest, query, verdict.score, verdict.parts)
                for picture, row in zip(part, verdicts, strict=True)
                for query, verdict in zip(fresh, row, strict=True)
            ]
            self._store.put_verdicts(judge.identity, rows)
            known |= {(digest, query): score for digest, query, score, _ in rows}
        return [float(np.mean([known[picture.digest, query] for picture in pictures])) for query in queries]


def _batches(
    judge: Judge, pictures: Sequence[Picture], queries: Sequence[str]
) -> Iterator[tuple[Sequence[Picture], list[list[Verdict]]]]:
    """Verdicts batch by batch; where the device's memory runs out, in batches of half the size."""
    size, first = _BATCH, 0
    while queries and first < len(pictures):
        part = pictures[first : first + size]
        try:
            verdicts = judge.judge(pixels(part), queries)
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
            if size == 1:
                raise ModelError(
                    f"the device's memory does not hold {judge.name} and one image: use --device cpu or a smaller"
                    " judge; what was judged is kept"
                ) from error
            torch.cuda.empty_cache()
            size //= 2
            continue
        yield part, verdicts
        first += len(part)


def _top(
    ranking: Sequence[int], scores: Mapping[tuple[int, int], float], bare: Mapping[int, float], place: int
) -> float:
    found = [scores.get((place, row), bare[place]) for row in ranking[:TOP]]
    return float(np.mean(found + [bare[place]] * (TOP - len(found))))
