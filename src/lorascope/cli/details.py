"""What show and list print."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lorascope.adapters.claims import plain_text
from lorascope.adapters.items import is_there
from lorascope.cli.hints import command
from lorascope.cli.output import counted, out, print_json, print_line, print_note, print_table, ranged
from lorascope.errors import LibraryError
from lorascope.families import title_of
from lorascope.library import Library, StoredAdapter, StoredProtocol, StoredSignature
from lorascope.library.words import arms, measured_words
from lorascope.report.words import prompt_tag

if TYPE_CHECKING:
    from lorascope.analysis import Finding

_GONE = "gone"


def print_adapter(adapter: StoredAdapter) -> None:
    """Print what the file is and what its metadata claims."""
    facts = adapter.facts
    rows = [("name", adapter.name), ("kind", facts.kind), ("key", adapter.key), ("family", adapter.family)]
    rows += [("path", path if is_there(path) else f"{path}  ({_GONE})") for path in adapter.paths]
    if tag := prompt_tag(adapter):
        rows.append(("prompt", tag))
    if not adapter.was_here:
        rows.append(("path", f"not on this disk{f': {adapter.address}' if adapter.address else ''}"))
    elif not adapter.paths and _from_file(adapter.key):
        rows.append(("path", f"{_GONE}: its file was replaced by another"))
    if facts.kinds and facts.kind == "adapter":
        rows += module_rows(facts.to_dict())
    if facts.modules_total is not None:
        rows.append(("matched", f"{facts.modules_matched} of {facts.modules_total} modules"))
    for spectrum in facts.spectra.values() if facts.kind == "adapter" else ():
        change = f"{spectrum['norm']:.1%} of the weights it touches; stable rank {spectrum['stable_rank']:.1f}"
        rows.append(("changes", change))
    if facts.prompts_cut:
        rows.append(("prompts cut", f"{facts.prompts_cut} are too long for the base model with the trigger words"))
    print_table(("", ""), rows + said_rows(facts.to_dict()))


def module_rows(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The format of a file's keys, and the kinds and ranks of its modules."""
    kinds = ", ".join(f"{count} {kind}" for kind, count in facts["kinds"].items())
    ranks = ", ".join(map(str, facts["ranks"]))
    return [("format", facts["format"]), ("modules", f"{kinds}; rank {ranks or '–'}")]


def said_rows(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What is claimed of a file, with the place where it is said, and the notes of reading it."""
    rows: list[tuple[str, str]] = []
    for name, claim in facts.get("claims", {}).items():
        value = plain_text(claim["value"]) if isinstance(claim["value"], str) else str(claim["value"])
        rows.append((f"claims {name}", f"{value[:300]}  ({claim['source']})"))
    for site, answer in facts.get("sites", {}).items():
        source = f"{site}, {answer['date']}"
        rows += [(f"claims {name}", f"{str(value)[:300]}  ({source})") for name, value in answer["claims"].items()]
    return rows + [("note", note) for note in facts.get("notes", ())]


def _from_file(key: str) -> bool:
    """Whether an adapter was measured from a file; one of the published library has no file here, nor ever had."""
    return key.startswith("sha256:")


def known_findings(library: Library, stored: StoredProtocol, key: str) -> list[Finding]:
    """What the analyses say of an adapter. Damaged evidence is reported, and the rest is still shown."""
    from lorascope.analysis import findings

    try:
        return findings(library, stored.protocol.digest, [key])
    except LibraryError as error:
        print_note(str(error), "yellow")
        return []


def print_findings(found: Sequence[Finding]) -> None:
    """Print what was found of one adapter, and what to do."""
    if found:
        out.print()
        print_table(
            ("flag", "what was seen, and what to do"), [(one.flag, f"{one.seen}. {one.remedy}") for one in found]
        )


def print_signature(adapter: StoredAdapter, protocol: StoredProtocol, stored: StoredSignature) -> None:
    """One signature: figures with intervals, the trigger words it was measured with, the profile over categories."""
    signature = stored.signature
    words, _ = arms(protocol.protocol, measured_words(adapter, protocol.protocol))
    grid, new = signature.grid, signature.new_prompts
    estimator = f"regression, calibration {signature.calibration}" if signature.calibration else "the mean"
    rows = [
        ("Strength", *(ranged(signature.strength, one.strength, 2) for one in (grid, new))),
        ("Consistency", *(ranged(signature.consistency, one.consistency, 3) for one in (grid, new))),
        (
            "Direction agrees",
            *(f"at least {one.agreement.at_least(3)}" if one.agreement else "–" for one in (grid, new)),
        ),
        ("acts on", f"{signature.active_share:.0%} of cells", ""),
        ("measured", f"{signature.cells} cells, {stored.precision}", ""),
        ("where", stored.provenance, ""),
        ("Direction from", estimator, ""),
        *([("trigger words", words.removeprefix(", ") or "none", "")] if _from_file(adapter.key) else []),
    ]
    out.print()
    print_table(("", "on the full grid", "on new prompts"), rows, str(protocol.protocol))
    if signature.categories:
        profile = [(c.category, c.cells, c.strength, c.consistency, c.alignment) for c in signature.categories]
        out.print()
        print_table(("category", "cells", "Strength", "Consistency", "alignment"), profile)


def list_adapters(library: Library, protocol: str, flag: str, as_json: bool) -> None:
    """Every adapter under one Protocol, or those that have a flag, the strongest first."""
    stored = library.protocols.find(protocol)
    matrix = library.signatures.matrix(stored.protocol.digest)
    precisions = library.signatures.precisions(stored.protocol.digest)
    there = {key for path, (key, *_) in library.adapters.stamps().items() if is_there(path)}
    order = sorted(range(len(matrix)), key=lambda row: -float(matrix.strength[row]))
    if flag:
        from lorascope.analysis import flagged

        chosen = flagged(library, flag, protocol)
        order = [row for row in order if matrix.keys[row] in chosen]
    rows = [
        (
            matrix.names[i],
            float(matrix.strength[i]),
            float(matrix.consistency[i]),
            precisions[matrix.keys[i]],
            matrix.keys[i],
            _GONE if _from_file(matrix.keys[i]) and matrix.keys[i] not in there else "",
        )
        for i in order
    ]
    if as_json:
        names = ("name", "strength", "consistency", "precision", "key")
        print_json([dict(zip(names, row[:5], strict=True)) | {"gone": bool(row[5])} for row in rows])
        return
    names = ("adapter", "Strength", "Consistency", "precision", "key", "file")
    columns = names if any(row[5] for row in rows) else names[:5]
    shown = [(*row[:4], row[4] if "@" in row[4] else row[4][7:19], row[5])[: len(columns)] for row in rows]
    print_table(columns, shown, str(stored.protocol))
    if refused := len(library.refusals.all()):
        reasons = command("list", "--refused", library=library.path)
        print_line(f"{counted(refused, 'file')} left out: {reasons}")


def list_protocols(library: Library, as_json: bool) -> None:
    """Every Protocol, and in which fields neighbours differ."""
    found = library.protocols.all()
    if as_json:
        print_json([{"name": str(s.protocol), "adapters": s.adapters, "origin": s.origin} for s in found])
        return
    print_table(
        ("Protocol", "adapters", "measured"),
        [(str(s.protocol), s.adapters, s.origin or "here") for s in found],
    )
    for earlier, later in zip(found, found[1:], strict=False):
        differences = "; ".join(later.protocol.differences(earlier.protocol))
        print_line(f"{later.protocol} / {earlier.protocol}: {differences}", "dim")


def list_runs(library: Library, as_json: bool) -> None:
    """Every run and how it ended."""
    found = library.runs.all()
    if as_json:
        print_json(found)
        return
    rows = [(run["id"], ", ".join(run["request"]["paths"]), run["request"]["precision"], _ending(run)) for run in found]
    print_table(("run", "paths", "precision", "outcome"), rows)


def _ending(run: dict[str, Any]) -> str:
    outcome = run["outcome"]
    if outcome is None:
        return "running, or killed: the same command resumes from there"
    ending = "" if outcome["finished"] else "interrupted; "
    return ending + f"{outcome['measured']} measured, {outcome['refused']} left out, {outcome['seconds']:.0f} s"


def print_inspected(rows: list[dict[str, Any]]) -> None:
    """One line for each file, with the notes of reading it, and totals by kind."""
    shown = [
        (
            Path(row["path"]).name,
            row["family"],
            row["format"],
            ", ".join(f"{n} {kind}" for kind, n in row["kinds"].items()) + ("; all zero" if row["all_zero"] else ""),
            ", ".join(map(str, row["ranks"])) or "–",
            ", ".join(row["claims"].get("triggers", {}).get("value", ())) or "–",
            *([row["sha256"][:12]] if "sha256" in row else []),
        )
        for row in rows
    ]
    if not rows:
        out.print("no adapter files here")
        return
    columns = ["file", "base", "format", "modules", "rank", "triggers", *(["sha256"] if "sha256" in rows[0] else [])]
    if any(row["notes"] for row in rows):
        columns.append("notes")
        shown = [(*line, "; ".join(row["notes"])) for line, row in zip(shown, rows, strict=True)]
    print_table(columns, shown)
    _print_totals(rows)


def print_file(row: dict[str, Any]) -> None:
    """Everything known about one file."""
    parts = ", ".join(f"{count} in {part}" for part, count in row["components"].items())
    rows = [("path", row["path"]), ("base", title_of(row["family"])), *module_rows(row), ("changes", parts)]
    rows += [("size", f"{row['size'] / 1e6:.2f} MB"), *([("sha256", row["sha256"])] if "sha256" in row else [])]
    effect = [("effect", "none: all its weights are zero")] if row["all_zero"] else []
    print_table(("", ""), [*rows, *effect, *said_rows(row)])


def _print_totals(rows: list[dict[str, Any]]) -> None:
    """``3 adapters: 2 lora, 1 loha; 3 sdxl``: each file counts once, by all kinds of modules in it."""
    if len(rows) > 1:
        kinds = Counter("+".join(sorted(row["kinds"])) for row in rows)
        families = Counter(row["family"] for row in rows)
        totals = "; ".join(", ".join(f"{n} {name}" for name, n in one.most_common()) for one in (kinds, families))
        print_line(f"{counted(len(rows), 'adapter')}: {totals}")
