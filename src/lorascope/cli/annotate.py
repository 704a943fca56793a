"""annotate: what was measured, written into the files of other tools."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lorascope.cli import options

if TYPE_CHECKING:
    from lorascope.report.sidecar_notes import Wanted
    from lorascope.sidecars import Annotation

_SHOWN = 60
"""Letters of a value."""


def annotate(
    folder: Annotated[Path | None, typer.Argument(help="Only adapters in this folder; all by default.")] = None,
    to: Annotated[
        str, typer.Option(metavar="TOOL", help="Whose files: lora-manager, a1111 (Forge, too), sdnext or swarmui.")
    ] = "",
    weight: Annotated[bool, typer.Option("--weight", help="The advised weight, where it was measured.")] = False,
    words: Annotated[bool, typer.Option("--words", help="Phrases that say what an adapter does, as tags.")] = False,
    triggers: Annotated[bool, typer.Option("--triggers", help="Trigger words, where the tool has none.")] = False,
    preview: Annotated[bool, typer.Option("--preview", help="A scene without and with it, where it has none.")] = False,
    notes: Annotated[bool, typer.Option("--notes", help="A line with its figures and what to know of it.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Write. Without this, changes are only shown.")] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Also change what a person has written.")] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Put back every file that was written the last time.")] = False,
    download: options.Download = False,
    library: options.LibraryPath = None,
    protocol: options.ProtocolName = "",
    as_json: options.Json = False,
) -> None:
    """Write weights, words, triggers, previews and notes beside adapters, where other tools read them.

    Shows what would change; --yes writes it. Without a choice of what, it is weights and words.

    Exits with 1 if a file could not be written or put back.
    """
    from lorascope.cli.checks import check_unused
    from lorascope.errors import UsageError, printable
    from lorascope.report.sidecar_notes import Wanted
    from lorascope.sidecars import Annotations
    from lorascope.sidecars.annotation import undo as put_back

    if undo:
        if folder:
            raise UsageError(f"--undo puts back every file, not those of {printable(str(folder))} alone: leave it out")
        given = {"to": to, "weight": weight, "words": words, "triggers": triggers, "preview": preview, "notes": notes}
        check_unused(given | {"replace": replace}, "with --undo")
        _report([{"path": str(path), "problem": problem} for path, problem in put_back()], "put back", as_json)
        return
    if not to:
        raise UsageError("name the tool with --to: lora-manager, a1111, sdnext or swarmui")
    annotations = Annotations(to, replace=replace)
    chosen = Wanted(weight, words, triggers, preview, notes)
    wanted = chosen if chosen.anything else Wanted(weight=True, words=True)
    said = _notes(library, protocol, folder, wanted, download)
    plan = [one for path, notes in said for one in annotations.plan(path, notes)]
    if not yes:
        _show(plan, as_json)
        return
    due = [one for one in plan if one.after is not None or one.problem]
    _report([{"path": str(one.path), "problem": annotations.write(one)} for one in due], "written", as_json)


def _notes(library: Path | None, protocol: str, folder: Path | None, wanted: Wanted, download: bool) -> list[Any]:
    """What can be said about each file."""
    from lorascope.cli.answers import ready_searcher
    from lorascope.library import Library
    from lorascope.report.sidecar_notes import notes

    with Library(library) as opened, ready_searcher(opened, protocol, download=download) as searcher:
        return list(notes(opened, searcher, list(opened.adapters.inside(folder).values()), wanted))


def _show(plan: list[Annotation], as_json: bool) -> None:
    """Print what would change."""
    from lorascope.cli.output import counted, harmless, out, print_json, print_table

    if as_json:
        rows = [
            {"path": str(one.path), "new": one.before is None, "problem": one.problem,
             "edits": [asdict(edit) for edit in one.edits], "kept": [asdict(edit) for edit in one.kept]}
            for one in plan
        ]  # fmt: skip
        print_json({"changes": rows})
        return
    table: list[tuple[str, ...]] = []
    for one in plan:
        place = harmless(str(one.path))
        table += [(place, edit.name, _short(edit.before), _short(edit.after)) for edit in one.edits]
        table += [(place, edit.name, _short(edit.before), "stays: somebody wrote it") for edit in one.kept]
        if one.after is not None and not one.edits:
            table.append((place, "", "–", "a new picture"))
        if one.problem:
            table.append((place, "", "", harmless(one.problem)))
    changed = sum(one.after is not None for one in plan)
    if table:
        print_table(("file", "field", "now", "then"), table)
    out.print(f"{counted(changed, 'file')} would be written" + (": give --yes to write them" if changed else ""))


def _short(value: Any) -> str:
    text = "–" if value is None else value if isinstance(value, str) else str(value)
    return text if len(text) <= _SHOWN else f"…{text[-_SHOWN:]}"


def _report(rows: list[dict[str, str]], done: str, as_json: bool) -> None:
    """Print how it went.

    Raises:
        Exit: a file could not be written.
    """
    from lorascope.cli.output import counted, print_json, print_line, print_note

    failed = [row for row in rows if row["problem"]]
    if as_json:
        print_json({"files": rows})
    else:
        for row in failed:
            print_note(f"{row['path']}: {row['problem']}", "yellow")
        undo = "" if done == "put back" or len(rows) == len(failed) else ". `lorascope annotate --undo` puts them back"
        print_line(f"{counted(len(rows) - len(failed), 'file')} {done}{undo}")
    if failed:
        raise typer.Exit(1)
