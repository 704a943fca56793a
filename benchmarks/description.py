"""How often the words that ``lorascope describe`` finds are right, on the shipped world.

    python -m benchmarks.description LIBRARY

A word is right if it names an effect that the adapter was trained on (``truth.json``); a word for another effect of the
same family counts as wrong.
"""

from __future__ import annotations

import argparse
import json
from importlib.resources import files
from pathlib import Path

from benchmarks.machine import describe as machine
from lorascope import Library, PromptSet, Searcher
from lorascope.analysis import describe


def report(library: Path) -> str:
    """A table in Markdown."""
    truth = json.loads((files("lorascope.miniature") / "truth.json").read_text("utf-8"))["adapters"]
    effects = {prompt.text: prompt.group for prompt in PromptSet.load("miniature-vocabulary").prompts}
    with Library(library) as opened:
        searcher = Searcher(opened)
        described = describe(searcher)
        cells = sum(
            one.signature.cells
            for one in opened.signatures.get(searcher.matrix.protocol, searcher.matrix.keys).values()
        )
    words = [(truth[one.name]["effects"], [effects[word.phrase] for word in one.words]) for one in described]
    known = [(true, said) for true, said in words if true]
    said = [(name in true) for true, names in words for name in names]
    first = [(names[0] in true) for true, names in words if names]
    rows = [
        ("words that name an effect of their adapter", sum(said), len(said)),
        ("first words that do", sum(first), len(first)),
        ("adapters with an effect that have a word", sum(bool(names) for _, names in known), len(known)),
        (
            "effects that are named",
            sum(len(set(true) & set(names)) for true, names in known),
            sum(len(true) for true, _ in known),
        ),
        (
            "adapters without an effect that have a word",
            sum(bool(names) for true, names in words if not true),
            sum(not true for true, _ in words),
        ),
    ]
    lines = [f"{len(described)} adapters, {cells} cells; {machine()}.", "", "| | share | of |", "|---|---|---|"]
    lines += [f"| {name} | {count / total:.2f} | {total} |" for name, count, total in rows]
    return "\n".join(lines)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library", type=Path, help="the shipped world, indexed with its preset")
    print(report(parser.parse_args().library))


if __name__ == "__main__":
    main()
