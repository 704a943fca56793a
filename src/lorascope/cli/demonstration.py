"""The steps of `lorascope demo`."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.markup import escape

from lorascope.cli.hints import command
from lorascope.cli.output import counted, out, print_answer, print_json, print_line
from lorascope.cli.runs import followed, loaded, print_outcome
from lorascope.library import Library
from lorascope.measure.estimate import CostEstimate, estimate
from lorascope.miniature.demo import QUERIES, lay_out
from lorascope.precision import Precision
from lorascope.protocol import Preset
from lorascope.report.plain import plain_answer
from lorascope.report.sheet import write_sheet
from lorascope.report.words import duration
from lorascope.search import Answer, Request, Searcher


def demonstrate(folder: Path, precision: str, *, as_json: bool) -> Path:
    """Index the shipped world, ask three questions, write their pictures; print each step, or JSON at the end.

    Answers come after the first look at every adapter, and once more when all are measured to the Precision.

    Returns:
        The library.
    """
    goal = Precision.named(precision)
    say = Console(quiet=True) if as_json else out
    loras = lay_out(folder)
    say.print(f"[bold]1.[/] A folder of small LoRAs, some of them broken: {escape(str(loras))}", soft_wrap=True)
    with Library(folder / "library.db", create=True) as library:
        worker = loaded(Preset.load("miniature"), device="cpu")
        costs = {cost.precision: cost for cost in estimate(worker, library, [loras])}
        _say_cost(say, costs["glance"], costs[goal.name])
        say.print("[bold]2.[/] Each is run on the same prompts and the same noise as the bare model:")
        outcome = followed([loras], worker, library, precision="glance")
        answers, sheet = _ask(library, folder)
        if not as_json:
            print_outcome(outcome, library)
            _suggest("Why files were left out", "list", "--refused", library=library.path)
            out.print("\n[bold]3.[/] Now ask what they do:\n")
            _print(answers, library.path)
        say.print(f"[bold]4.[/] Pictures, without and with each of them: {sheet.as_uri()}\n", soft_wrap=True)
        if goal.name != "glance":
            hours = max(0.0, costs[goal.name].hours - costs["glance"].hours)
            say.print(f"[bold]5.[/] Measuring more precisely, {duration(hours * 3600)}. Ctrl-C ends it here:")
            outcome = followed([loras], worker, library, precision=precision)
            answers, sheet = _ask(library, folder)
            if not as_json:
                print_outcome(outcome, library)
                _print(answers, library.path)
    if as_json:
        print_json({"run": outcome.summary(), "answers": list(map(plain_answer, answers)), "sheet": str(sheet)})
    else:
        _suggest("Ask your own", "search", "night", "--sheet", "night.html", library=library.path)
        _suggest("Or on a page", "serve", "--folder", loras, library=library.path)
    return library.path


def _say_cost(say: Console, first: CostEstimate, whole: CostEstimate) -> None:
    """What the demo takes on this machine, before it begins."""
    say.print(
        f"   {counted(first.adapters, 'adapter')}: first answers in {duration(first.hours * 3600)}, all of it in"
        f" {duration(whole.hours * 3600)}; {whole.gigabytes * 1000:.0f} MB of disk.",
        soft_wrap=True, highlight=False,
    )  # fmt: skip


def _ask(library: Library, folder: Path) -> tuple[list[Answer], Path]:
    searcher = Searcher(library)
    answers = [searcher.search(Request(query, limit=3)) for query in QUERIES]
    return answers, write_sheet(folder / "answers.html", answers, library)


def _print(answers: list[Answer], library: Path) -> None:
    for answer in answers:
        if not out.is_terminal:  # a table in a pipe has no title
            out.print(answer.query, markup=False, highlight=False)
        print_answer(answer, library, show_hidden=False)
        out.print()


def _suggest(why: str, *argv: str | Path, library: Path) -> None:
    """Print a command to try next."""
    print_line(f"{why}: {command(*argv, library=library)}")
