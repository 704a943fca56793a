"""Does a signature belong to its effect or to its training? And does the held-out comparison depend on trainings?

    python -m miniature retrained
    python -m benchmarks.trainings FOLDER build/miniature/retrained

The first command trains an adapter of every effect once more, with another seed, other pictures and twice the rank.
The second one measures it with the cells of `benchmarks.heldout`, whose FOLDER it shares, and compares the signatures.
Then it draws libraries in which each of these adapters is of either training, and asks them the same queries. Adapters
that are not trained yet are left out. They are trained in random order, so those that are there are a random sample.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from zlib import crc32

import numpy as np
from jaxtyping import Bool, Float

from benchmarks.heldout import CELLS, SHIPPED, TEXT, Comparison, Made, Workshop, corpora, directions, grouped, shown
from benchmarks.machine import describe as machine
from benchmarks.markdown import table
from lorascope.evaluation.measures import MAIN, Qrels
from lorascope.evaluation.retrievers import Scores
from lorascope.evaluation.statistics import Interval, resampled, spearman
from lorascope.signature.consistency import consistency
from miniature.catalogue import RETRAINED

Seen = Float[np.ndarray, "rows cells d"]
_LIBRARIES = 200


def trained_again(folder: Path) -> Made:
    """What was trained again so far; images of the same adapters are kept under the same name."""
    entries = [entry for entry in RETRAINED if (folder / f"{entry.stem}.safetensors").exists()]
    return Made(f"retrained-{crc32(' '.join(entry.stem for entry in entries).encode()):08x}", folder, entries)


def of_library(compared: Comparison, again: Made) -> Iterator[list[str]]:
    """Means over libraries in which each adapter is of either training, and intervals over these and the queries."""
    corpus, asked, rng = corpora()["good"], compared.queries, np.random.default_rng(0)
    qrels, groups = Qrels(corpus, asked), grouped(asked)
    places = np.array([corpus.names.index(entry.stem) for entry in again.entries])
    libraries = rng.integers(0, 2, (_LIBRARIES, len(places))).astype(bool)
    first, other, words = compared.behaviour(), compared.behaviour(again), qrels.main(compared.words()[TEXT])
    for name, scores in first.items():
        figures = partial(_with_some, qrels, scores, other[name], places)
        drawn = np.stack([figures(chosen) for chosen in libraries])
        centre = drawn.mean(0)
        drawn = centre + np.sqrt(2) * (drawn - centre)  # one of two, drawn, has half of the variance of trainings
        yield [
            name,
            *(f"{figures(np.full(len(places), chosen)).mean():.3f}" for chosen in (False, True)),
            f"{drawn.mean(1).std():.4f}",
            shown(groups.interval(centre)),
            _redrawn(groups.samples(drawn.T), centre, rng),
            _redrawn(groups.samples((drawn - words).T), centre - words, rng),
        ]


def _with_some(
    qrels: Qrels, first: Scores, other: Scores, places: np.ndarray, chosen: Bool[np.ndarray, " adapters"]
) -> Float[np.ndarray, " queries"]:
    """The measure of each query where the chosen adapters are of the other training."""
    scores = first.copy()
    scores[:, places[chosen]] = other[:, chosen]
    return qrels.main(scores)


def _redrawn(samples: Float[np.ndarray, "draws libraries"], centre: np.ndarray, rng: np.random.Generator) -> str:
    """A mean, with an interval in which each sample of the queries is asked of a library of its own."""
    values = samples[np.arange(len(samples)), rng.integers(0, samples.shape[1], len(samples))]
    return shown(Interval(float(centre.mean()), *map(float, np.quantile(values, (0.025, 0.975)))))


def of_signatures(compared: Comparison, again: Made) -> Iterator[tuple[str, str]]:
    """How alike the signatures of two trainings of one effect are, by the encoder that ships."""
    names = [entry.stem for entry in SHIPPED.entries]
    places = np.array([names.index(entry.stem) for entry in again.entries])
    library, other = compared.seen("shipped", SHIPPED), compared.seen("shipped", again)
    first, count = library[[0, *(1 + places)]], len(places)
    cosines = directions(other) @ directions(library).T
    twins = cosines[np.arange(count), places]
    same = np.array([[one.effects[0] in entry.effects for entry in SHIPPED.entries] for one in again.entries])
    stranger = np.where(same, -1, cosines).argmax(1)
    yield "cosine of the two Directions: median, 10%, lowest", _quantiles(twins, 0.5, 0.1, 0)
    yield (
        "cosine with the nearest adapter without the effect: median, 90%, highest",
        _quantiles(cosines[np.arange(count), stranger], 0.5, 0.9, 1),
    )
    odd = [
        f"{one.stem} ({names[place]} {cosines[row, place]:.3f}, its twin {twins[row]:.3f})"
        for row, (one, place) in enumerate(zip(again.entries, stranger, strict=True))
        if cosines[row, place] > twins[row]
    ]
    yield "nearest of all adapters: the other training", f"{(cosines.argmax(1) == places).sum()} of {count}"
    yield "nearer to one without the effect than to the other training", ", ".join(odd) or "none"
    yield "cosine of two halves of the cells: one training, median", _quantiles(_halves(first, first), 0.5)
    yield "cosine of two halves of the cells: two trainings, median", _quantiles(_halves(first, other), 0.5)
    for name, figure in (("Strength", _strengths), ("Consistency", _consistencies)):
        values = np.stack([figure(first), figure(other)])
        yield f"rank correlation of {name}", _correlation(values)
        yield (
            f"{name}, the further training over the shipped one: 10%, median, 90%",
            _quantiles(values[1] / values[0], 0.1, 0.5, 0.9),
        )


def _quantiles(values: Float[np.ndarray, " n"], *points: float) -> str:
    return ", ".join(f"{value:.3f}" for value in np.quantile(values, points))


def _halves(one: Seen, other: Seen) -> Float[np.ndarray, " adapters"]:
    """Cosines of Directions from every second cell of one training and from the other cells of the other."""
    return (directions(one[:, ::2]) * directions(other[:, 1::2])).sum(1)


def _strengths(seen: Seen) -> Float[np.ndarray, " adapters"]:
    return np.linalg.norm(seen[1:] - seen[0], axis=-1).mean(1)


def _consistencies(seen: Seen) -> Float[np.ndarray, " adapters"]:
    return np.array([consistency(effects) for effects in seen[1:] - seen[0]])


def _correlation(values: Float[np.ndarray, "2 adapters"]) -> str:
    return shown(resampled(lambda rows: spearman(*values[:, rows]), values.shape[1]))


def report(folder: Path, trained: Path) -> str:
    """Both tables as Markdown."""
    compared, again = Comparison(Workshop(folder)), trained_again(trained)
    columns = ("retriever", "shipped trainings", "further trainings", "standard deviation over libraries",
               f"{MAIN}, either training: queries drawn", "queries and trainings drawn", f"− {TEXT}")  # fmt: skip
    note = f"{len(again.entries)} of {len(RETRAINED)} effects trained twice, {CELLS} cells each; {machine()}."
    return "\n".join(
        [
            table(("two trainings of an effect", "value"), of_signatures(compared, again)),
            table(columns, of_library(compared, again)),
            note,
        ]
    )


def main() -> None:
    """Make what is missing, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="that of benchmarks.heldout; made if it does not exist")
    parser.add_argument("trained", type=Path, help="what `python -m miniature retrained` trained")
    arguments = parser.parse_args()
    print(report(arguments.folder, arguments.trained))


if __name__ == "__main__":
    main()
