"""What show and list print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lorascope.adapters.claims import plain_text
from lorascope.adapters.items import file_of
from lorascope.cli.hints import command
from lorascope.cli.output import counted, err, out, print_json, print_table, ranged
from lorascope.errors import LibraryError
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
    rows += [("path", path if _there(path) else f"{path}  ({_GONE})") for path in adapter.paths]
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


def _there(path: str) -> bool:
    try:
        return file_of(path).exists()
    except OSError:
        return False


def _from_file(key: str) -> bool:
    """Whether an adapter was measured from a file; one of the published library has no file here, nor ever had."""
    return key.startswith("sha256:")


def known_findings(library: Library, stored: StoredProtocol, key: str) -> list[Finding]:
    """What the analyses say of an adapter. Damaged evidence is reported, and the rest is still shown."""
    from lorascope.analysis import findings

    try:
        return findings(library, stored.protocol.digest, [key])
    except LibraryError as error:
        err.print(str(error), style="yellow", highlight=False, markup=False, soft_wrap=True)
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
        ("where", stored.provenance, ""),
        (
            "Direction from",
            f"regression, calibration {signature.calibration}" if signature.calibration else "the mean",
            "",
        ),
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
    there = {key for path, (key, *_) in library.adapters.stamps().items() if _there(path)}
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
        out.print(f"{counted(refused, 'file')} left out: {reasons}", soft_wrap=True, markup=False, highlight=False)


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
        line = f"{later.protocol} / {earlier.protocol}: {differences}"
        out.print(line, style="dim", soft_wrap=True, markup=False)


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
