"""How often ``lorascope audit`` is right, on the shipped world.

    python -m benchmarks.audit LIBRARY

First with the descriptions that the adapters ship with, whose sorts are known (``truth.json``). Then with drawn ones,
in known shares: queries of the test split that describe an effect, of the adapter's own (good) or of another family
(wrong); what authors of other adapters wrote (vague, boastful, foreign); any description of an effect (copied, which is
right where the adapter has it).
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import describe as machine
from lorascope import Library, Searcher
from lorascope.adapters import Claim
from lorascope.analysis import audit
from lorascope.analysis.audit import VERDICTS
from lorascope.evaluation import load_queries
from lorascope.library import StoredAdapter

DRAWS = 10
SHARES = {"good": 0.4, "vague": 0.2, "wrong": 0.15, "copied": 0.1, "boastful": 0.05, "foreign": 0.05, "empty": 0.05}


def report(library: Path, split: str) -> str:
    """Two tables in Markdown."""
    truth: dict[str, Any] = json.loads((files("lorascope.miniature") / "truth.json").read_text("utf-8"))["adapters"]
    with Library(library) as opened:
        searcher = Searcher(opened)
        shipped = Counter((truth[one.name]["description"], one.verdict) for one in audit(searcher))
        drawn: Counter[tuple[str, str]] = Counter()
        for seed in range(DRAWS):
            claims = claims_of(opened, truth, split, np.random.default_rng(seed))
            with Rewritten(searcher, claims) as rewritten:
                drawn.update((claims[one.name][0], one.verdict) for one in audit(rewritten))
    lines = [f"{len(truth)} adapters; {machine()}.", "", "As shipped:", "", *table(shipped), ""]
    return "\n".join([*lines, f"Drawn {DRAWS} times, {split} split:", "", *table(drawn)])


def claims_of(
    library: Library, truth: dict[str, Any], split: str, rng: np.random.Generator
) -> dict[str, tuple[str, str]]:
    """For each adapter a sort of description and its text."""
    family = effect_families()
    texts: dict[str, list[str]] = {}
    for query in load_queries("miniature", split=split):
        if query.kind == "description":
            texts.setdefault(query.group, []).append(query.text)
    written: dict[str, list[tuple[str, str]]] = {}
    for one in library.adapters.all().values():
        written.setdefault(truth[one.name]["description"], []).append((one.name, one.claimed("description") or ""))
    found: dict[str, tuple[str, str]] = {}
    for name, facts in truth.items():
        sort = str(rng.choice(list(SHARES), p=list(SHARES.values())))
        own = [effect for effect in facts["effects"] if effect in texts]
        others = [effect for effect in texts if family[effect] not in {family[one] for one in facts["effects"]}]
        if sort == "good" and not own:
            sort = "vague"
        if sort in ("good", "wrong"):
            found[name] = sort, str(rng.choice(texts[str(rng.choice(own if sort == "good" else others))]))
        elif sort == "copied":
            other = str(rng.choice([other for other in texts]))
            sort = "copied, right" if other in own else "copied, wrong" if other in others else "copied, of the family"
            found[name] = sort, str(rng.choice(texts[other]))
        elif sort == "empty":
            found[name] = sort, ""
        else:
            strangers = [text for other, text in written[sort] if other != name]
            found[name] = sort, str(rng.choice(strangers))
    return found


def effect_families() -> dict[str, str]:
    """The family of each effect: the categories of the world's vocabulary."""
    from lorascope import PromptSet

    return {prompt.group: prompt.category for prompt in PromptSet.load("miniature-vocabulary").prompts}


class Rewritten:
    """A searcher over a library in which adapters have other descriptions, and neither titles nor tags."""

    def __init__(self, searcher: Searcher, claims: dict[str, tuple[str, str]]) -> None:
        self.searcher, self.claims = searcher, claims

    def __enter__(self) -> Searcher:
        adapters = self.searcher.library.adapters
        self.read = adapters.get
        adapters.get = lambda keys: {key: self.rewritten(one) for key, one in self.read(keys).items()}  # type: ignore[method-assign]
        return self.searcher

    def __exit__(self, *_: object) -> None:
        self.searcher.library.adapters.get = self.read  # type: ignore[method-assign]

    def rewritten(self, adapter: StoredAdapter) -> StoredAdapter:
        """The same adapter with the drawn description."""
        text = self.claims[adapter.name][1]
        claims = {"description": Claim(text, "drawn")} if text else {}
        return replace(adapter, facts=replace(adapter.facts, claims=claims))


def table(counts: Counter[tuple[str, str]]) -> list[str]:
    """Verdicts by sort of description."""
    sorts = sorted({sort for sort, _ in counts}, key=lambda sort: (sort.split(",")[0] not in SHARES, sort))
    rows = [
        f"| {sort} | {sum(counts[sort, verdict] for verdict in VERDICTS)} |"
        + "".join(f" {counts[sort, verdict]} |" for verdict in VERDICTS)
        for sort in sorts
    ]
    return ["| description | adapters | " + " | ".join(VERDICTS) + " |", "|---|---|" + "---|" * len(VERDICTS), *rows]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library", type=Path, help="the shipped world, indexed with its preset")
    parser.add_argument("--split", default="test", choices=("dev", "test"))
    args = parser.parse_args()
    print(report(args.library, args.split))


if __name__ == "__main__":
    main()
