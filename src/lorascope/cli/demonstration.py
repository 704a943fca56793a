"""What `lorascope demo` does, step by step."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from lorascope.cli.output import out, print_answer, print_json
from lorascope.cli.runs import followed, loaded, print_outcome
from lorascope.errors import LibraryError
from lorascope.library import Library
from lorascope.miniature.demo import QUERIES, lay_out
from lorascope.protocol import Preset
from lorascope.report.plain import plain_answer
from lorascope.report.sheet import write_sheet
from lorascope.search import Request, Searcher


def demonstrate(folder: Path, precision: str, *, as_json: bool) -> Path:
    """Index the shipped world, ask three questions, write their pictures; tell each step, or print JSON at the end.

    Returns:
        The library.
    """
    say = Console(quiet=True) if as_json else out
    loras = _lay_out(folder)
    say.print(f"[bold]1.[/] A folder of small LoRAs, some of them broken: {escape(str(loras))}", soft_wrap=True)
    with Library(folder / "library.db", create=True) as library:
        say.print("[bold]2.[/] Each is run on the same prompts and the same noise as the bare model:")
        bench = loaded(Preset.load("miniature"), library, device="cpu")
        outcome = followed([loras], bench, precision=precision)
        if not as_json:
            print_outcome(outcome, library)
        _suggest(say, "Why each was left out", "list", "--refused", "--library", library.path)
        say.print("\n[bold]3.[/] Now ask what they do:\n")
        searcher = Searcher(library)
        answers = [searcher.search(Request(query, limit=3)) for query in QUERIES]
        if not as_json:
            for answer in answers:
                print_answer(answer, show_hidden=False)
                out.print()
        sheet = write_sheet(folder / "answers.html", answers, library)
    say.print(f"[bold]4.[/] Pictures, without and with each of them: {sheet.as_uri()}", soft_wrap=True)
    say.print()
    _suggest(say, "Ask your own", "search", "night", "--library", library.path, "--sheet", "night.html")
    _suggest(say, "Or on a page", "serve", "--library", library.path, "--folder", loras)
    if as_json:
        print_json({"run": outcome.summary(), "answers": list(map(plain_answer, answers)), "sheet": str(sheet)})
    return library.path


def _suggest(say: Console, why: str, *argv: str | Path) -> None:
    """A command to go on with, as this one was called: in a virtual environment it may not be on the path."""
    program = "lorascope" if shutil.which("lorascope") else sys.argv[0]
    say.print(f"{why}: {shlex.join([program, *map(str, argv)])}", soft_wrap=True, markup=False, highlight=False)


def _lay_out(folder: Path) -> Path:
    try:
        return lay_out(folder)
    except OSError as error:
        raise LibraryError(f"{folder} cannot be written ({error.strerror}): choose another folder") from error
