"""What show and list print."""

from __future__ import annotations

from typing import Any

from lorascope.cli.output import counted, out, print_json, print_table, ranged
from lorascope.library import Library, StoredAdapter, StoredSignature


def print_adapter(adapter: StoredAdapter) -> None:
    """What the file is and what its metadata claims."""
    facts = adapter.facts
    rows = [("name", adapter.name), ("key", adapter.key), ("family", adapter.family)]
    rows += [("path", path) for path in adapter.paths]
    if "kinds" in facts:
        kinds = ", ".join(f"{count} {kind}" for kind, count in facts["kinds"].items())
        ranks = ", ".join(map(str, facts["ranks"]))
        rows += [("format", facts["format"]), ("modules", f"{kinds}; rank {ranks or '–'}")]
        rows += [("matched", f"{facts.get('modules_matched', '?')} of {facts.get('modules_total', '?')} modules")]
    if spectrum := facts.get("spectrum"):
        change = f"{spectrum['norm']:.1%} of the weights it touches; stable rank {spectrum['stable_rank']:.1f}"
        rows.append(("changes", change))
    if facts.get("prompts_cut"):
        rows.append(("prompts cut", f"{facts['prompts_cut']} are too long for the base model with the trigger words"))
    for name, claim in facts.get("claims", {}).items():
        value = claim["value"] if isinstance(claim["value"], str) else str(claim["value"])
        rows.append((f"claims {name}", f"{value[:300]}  ({claim['source']})"))
    print_table(("", ""), rows)


def print_signature(protocol: str, stored: StoredSignature) -> None:
    """One signature: figures with intervals, and the profile over categories."""
    signature = stored.signature
    grid, new = signature.grid, signature.new_prompts
    agreement = "–" if grid.agreement is None else f"at least {grid.agreement.lower:.3f}"
    rows = [
        (
            "Strength",
            ranged(signature.strength, grid.strength, 2),
            ranged(signature.strength, new.strength, 2),
        ),
        (
            "Consistency",
            ranged(signature.consistency, grid.consistency, 3),
            ranged(signature.consistency, new.consistency, 3),
        ),
        (
            "Direction agrees",
            agreement,
            "–" if new.agreement is None else f"at least {new.agreement.lower:.3f}",
        ),
        ("acts on", f"{signature.active_share:.0%} of cells", ""),
        ("measured", f"{signature.cells} cells, {stored.precision}", ""),
    ]
    out.print()
    print_table(("", "on the full grid", "on new prompts"), rows, protocol)
    if signature.categories:
        profile = [(c.category, c.cells, c.strength, c.consistency, c.alignment) for c in signature.categories]
        out.print()
        print_table(("category", "cells", "Strength", "Consistency", "alignment"), profile)


def list_adapters(library: Library, protocol: str, as_json: bool) -> None:
    """Every adapter under one Protocol, the strongest first."""
    stored = library.protocol(protocol)
    matrix = library.matrix(stored.protocol.digest)
    precisions = library.precisions(stored.protocol.digest)
    order = sorted(range(len(matrix)), key=lambda row: -float(matrix.strength[row]))
    rows = [
        (
            matrix.names[i],
            float(matrix.strength[i]),
            float(matrix.consistency[i]),
            precisions[matrix.keys[i]],
            matrix.keys[i],
        )
        for i in order
    ]
    if as_json:
        names = ("name", "strength", "consistency", "precision", "key")
        print_json([dict(zip(names, row, strict=True)) for row in rows])
        return
    shown = [(*row[:4], row[4] if "@" in row[4] else row[4][7:19]) for row in rows]
    print_table(("adapter", "Strength", "Consistency", "precision", "key"), shown, str(stored.protocol))
    if refused := len(library.refusals()):
        out.print(f"[dim]{counted(refused, 'file')} left out: lorascope list --refused[/]")


def list_protocols(library: Library, as_json: bool) -> None:
    """Every Protocol, and in which fields neighbours differ."""
    found = library.protocols()
    if as_json:
        print_json([{"name": str(s.protocol), "adapters": s.adapters, "origin": s.origin} for s in found])
        return
    print_table(
        ("Protocol", "adapters", "measured"),
        [(str(s.protocol), s.adapters, s.origin or "here") for s in found],
    )
    for earlier, later in zip(found, found[1:], strict=False):
        differences = "; ".join(later.protocol.differences(earlier.protocol))
        line = f"{later.protocol} / {earlier.protocol}: {differences}"
        out.print(line, style="dim", soft_wrap=True, markup=False)


def list_runs(library: Library, as_json: bool) -> None:
    """Every run and how it ended."""
    found = library.runs()
    if as_json:
        print_json(found)
        return
    rows = [(run["id"], ", ".join(run["request"]["paths"]), run["request"]["precision"], _ending(run)) for run in found]
    print_table(("run", "paths", "precision", "outcome"), rows)


def _ending(run: dict[str, Any]) -> str:
    outcome = run["outcome"]
    if outcome is None:
        return "running, or killed: the same command goes on from there"
    ending = "" if outcome["finished"] else "interrupted; "
    return ending + f"{outcome['measured']} measured, {outcome['refused']} left out, {outcome['seconds']:.0f} s"
