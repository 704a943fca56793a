"""What the shipped world shows: rankings by query encoding, and whether signatures are what adapters were made for.

    python -m benchmarks.world

Every adapter is measured at `standard`, through the public path.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.machine import describe
from lorascope import Library, Moments, Preset, Searcher, Signature, index
from lorascope.encoders.encoding import ENCODINGS
from lorascope.evaluation import Corpus, evaluate, load_queries
from lorascope.evaluation.queries import kinds
from lorascope.evaluation.retrievers import Behaviour, random_orders
from lorascope.measure import Bench, load_bench
from lorascope.miniature import adapters_path, truth
from lorascope.protocol import Thresholds
from lorascope.search import Filters
from lorascope.signature import Accuracy, Estimate

Table = list[Sequence[object]]


def report() -> str:
    """Measure the world and describe it, as Markdown."""
    with tempfile.TemporaryDirectory() as folder, Library(Path(folder) / "world.db", create=True) as library:
        bench = load_bench(Preset.load("miniature"), library, device="cpu")
        outcome = index([adapters_path()], bench, precision="standard")
        searcher = Searcher(library)
        parts = [
            "# What the shipped world shows\n",
            "Written by `python -m benchmarks`; do not edit.\n",
            f"{len(searcher.matrix)} adapters at `standard`, {outcome.cells} cells in all; {describe()}.\n",
        ]
        if outcome.refused:
            parts.append(f"Left out: {', '.join(refusal.path for refusal in outcome.refused)}\n")
        parts += [
            "## Queries\n",
            _queries(searcher),
            "## Clarity\n",
            _clarity(searcher),
            "## Signatures\n",
            _claims(searcher),
            _halves(bench),
        ]
        parts += ["## Two Executions\n", _executions(Path(folder)), "## Every adapter\n", _adapters(searcher)]
    return "\n".join(parts) + "\n"


def _queries(searcher: Searcher) -> str:
    queries, corpus = load_queries("miniature"), Corpus.of(searcher)
    encodings = [Behaviour(searcher, encoding, "none") for encoding in ENCODINGS]
    found = evaluate(corpus, queries, [*encodings, *random_orders(corpus)])
    rows: Table = []
    for kind in ("all", *kinds(queries)):
        chosen = [kind in ("all", query.kind) for query in queries]
        for name, figures in found.figures.items():
            means = [f"{figures[measure][chosen].mean():.3f}" for measure in ("P@1", "RR", "nDCG@5")]
            rows.append((kind, name, sum(chosen), *means))
    note = "All adapters are ranked, no thresholds. Random order: mean of 20.\n\n"
    return note + _table(("queries", "retriever", "n", "P@1", "MRR", "nDCG@5"), rows)


def _clarity(searcher: Searcher) -> str:
    """How often the best hit is called clear, likely or weak, for effects that are here and that are not."""
    rows: Table = []
    groups = {"some adapter does this": [q["text"] for q in truth()["queries"]], "none does": truth()["unanswered"]}
    for group, texts in groups.items():
        words = [searcher.text(text, top=1, filters=Filters(Thresholds())).hits[0].clarity for text in texts]
        rows.append(
            (group, len(texts), *(f"{words.count(word) / len(words):.0%}" for word in ("clear", "likely", "weak")))
        )
    note = (
        "What the best hit is called. The two levels and the reference phrases were chosen while looking at these very"
        " queries, so the shares describe this world; they do not predict another one.\n\n"
    )
    return note + _table(("queries", "n", "clear", "likely", "weak"), rows)


def _signatures(searcher: Searcher) -> dict[str, Signature]:
    names = dict(zip(searcher.matrix.keys, searcher.matrix.names, strict=True))
    found = searcher.library.signatures(searcher.stored.protocol.digest, names)
    return {names[key]: stored.signature for key, stored in found.items()}


def _claims(searcher: Searcher) -> str:
    """Each thing that must be so if signatures mean what they should."""
    signatures = _signatures(searcher)
    facts: Mapping[str, dict[str, object]] = truth()["adapters"]
    rows: Table = []
    for name, fact in facts.items():
        effects = fact["effects"]
        same = [n for n, f in facts.items() if n != name and f["effects"] == effects and f["kind"] == "single"]
        if fact["kind"] == "undertrained":
            one, other = signatures[name].strength, signatures[same[0]].strength
            rows.append((f"{name} (under-trained) is weaker than {same[0]}", f"S {one:.2f} < {other:.2f}", one < other))
        elif fact["kind"] == "mixture":
            parts = [n for n, f in facts.items() if f["kind"] == "single" and f["effects"][0] in effects]
            lowest = min(parts, key=lambda n: signatures[n].consistency or 0)
            one, other = signatures[name].consistency or 0, signatures[lowest].consistency or 0
            text = f"{name} (a mixture) is less consistent than each of its {len(parts)} parts"
            rows.append((text, f"C {one:.3f} < {other:.3f} ({lowest})", one < other))
        elif fact["kind"] == "twin":
            twin = fact["twin"]
            first, second = _nearest(searcher, name), _nearest(searcher, twin)
            fits = (first[0], second[0]) == (twin, name)
            rows.append(
                (
                    f"{name} and {twin} are each other's nearest",
                    f"{first[0]} {first[1]} / {second[0]} {second[1]}",
                    fits,
                )
            )
        elif fact["kind"] == "overpowering":
            rank = sorted(signatures, key=lambda n: -signatures[n].strength).index(name) + 1
            rows.append((f"{name} (overpowering) is the strongest", f"rank {rank}", rank == 1))
    return _table(("claim", "measured", "holds"), [(a, b, "yes" if c else "**no**") for a, b, c in rows])


def _nearest(searcher: Searcher, name: str) -> tuple[str, float]:
    directions = searcher.matrix.directions
    row = searcher.matrix.names.index(name)
    scores = directions @ directions[row]
    scores[row] = -1
    best = int(scores.argmax())
    return searcher.matrix.names[best], round(float(scores[best]), 3)


def _halves(bench: Bench) -> str:
    """Signatures from two disjoint halves of the prompts: do they differ by no more than their intervals allow?"""
    rng = np.random.default_rng(0)
    order = rng.permutation(len(bench.grid.prompts))
    halves = np.array_split(order, 2)
    inside = {"Strength": 0, "Consistency": 0, "Direction": 0}
    angles: list[float] = []
    protocol = bench.protocols[0]
    keys = list(bench.library.adapters())
    for key in keys:
        one, other = (_half(bench, key, protocol, set(half.tolist())) for half in halves)
        inside["Strength"] += _agree(one.new_prompts, other.new_prompts, "strength")
        inside["Consistency"] += _agree(one.new_prompts, other.new_prompts, "consistency")
        cosine = float(
            one.direction @ other.direction / np.linalg.norm(one.direction) / np.linalg.norm(other.direction)
        )
        angles.append(cosine)
        limit = sum(math.acos(s.new_prompts.agreement.lower) for s in (one, other) if s.new_prompts.agreement)
        inside["Direction"] += math.acos(min(1.0, cosine)) <= limit
    rows = [(name, f"{count} of {len(keys)}") for name, count in inside.items()]
    note = (
        "\nSignatures from two disjoint halves of an adapter's prompts differ by no more than their 95% intervals for"
        f" new prompts allow. The Directions of the halves agree to a median cosine of {np.median(angles):.3f}.\n\n"
    )
    return note + _table(("figure", "adapters whose halves agree"), rows)


def _executions(folder: Path) -> str:
    """The same cells in batches of 16 and of 4: kernels differ in the last digits, signatures should not."""
    paths = sorted(adapters_path().glob("*.safetensors"))[:6]
    found: list[dict[str, Signature]] = []
    for batch in (16, 4):
        with Library(folder / f"batch-{batch}.db", create=True) as library:
            index(paths, load_bench(Preset.load("miniature"), library, device="cpu", batch=batch), precision="glance")
            found.append(_signatures(Searcher(library)))
    pairs = [(found[0][name], found[1][name]) for name in found[0]]
    angle = max(
        1 - float(a.direction @ b.direction / math.hypot(*a.direction) / math.hypot(*b.direction)) for a, b in pairs
    )
    strength = max(abs(a.strength - b.strength) for a, b in pairs)
    consistency = max(abs((a.consistency or 0) - (b.consistency or 0)) for a, b in pairs)
    note = f"{len(pairs)} adapters at `glance`, in batches of 16 and of 4 images: the largest differences.\n\n"
    rows = [
        ("1 - cos of the Directions", f"{angle:.1e}"),
        ("Strength", f"{strength:.1e}"),
        ("Consistency", f"{consistency:.1e}"),
    ]
    return note + _table(("figure", "difference"), rows)


def _half(bench: Bench, key: str, protocol: str, prompts: set[int]) -> Signature:
    moments: Moments | None = None
    for block in bench.library.evidence.blocks(key, protocol):
        cells = np.array([cell.prompt for cell in bench.grid.block(block.index)])
        chosen = np.array([prompt in prompts for prompt in cells])
        if moments is None:
            moments = Moments.empty(len(bench.grid.prompts), len(bench.grid.seeds), block.adapted.shape[1])
        moments.add(cells[chosen], block.effects[chosen], noise_floor=block.noise_floor)
    assert moments is not None
    return Signature.from_moments(moments)


def _agree(one: Accuracy, other: Accuracy, figure: str) -> bool:
    """Whether a difference is within what two independent intervals allow."""
    first: Estimate | None = getattr(one, figure)
    second: Estimate | None = getattr(other, figure)
    if first is None or second is None:
        return False
    low, high = sorted((first, second), key=lambda estimate: estimate.value)
    return high.value - low.value <= math.hypot(low.upper - low.value, high.value - high.lower)


def _adapters(searcher: Searcher) -> str:
    facts = truth()["adapters"]
    rows: Table = []
    for name, signature in sorted(_signatures(searcher).items(), key=lambda item: -item[1].strength):
        fact = facts.get(name, {"kind": "", "effects": []})
        effects = ", ".join(fact["effects"])
        consistency = "" if signature.consistency is None else f"{signature.consistency:.3f}"
        rows.append((name, fact["kind"], effects, f"{signature.strength:.2f}", consistency, signature.cells))
    return _table(("adapter", "kind", "effects", "Strength", "Consistency", "cells"), rows)


def _table(columns: Sequence[str], rows: Table) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines) + "\n"


if __name__ == "__main__":
    print(report())
