"""What `lorascope demo` does, step by step."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.markup import escape

from lorascope.cli.output import err, out, print_answer, print_json
from lorascope.cli.running import ProgressBar, report
from lorascope.errors import LibraryError
from lorascope.library import Library
from lorascope.measure import Outcome, index, load_bench
from lorascope.miniature.demo import QUERIES, lay_out
from lorascope.protocol import Preset
from lorascope.report.plain import plain_answer
from lorascope.report.sheet import write_sheet
from lorascope.search import Searcher


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
        outcome = _index(loras, library, precision)
        if not as_json:
            report(outcome, library, as_json=False)
        say.print("\n[bold]3.[/] Now ask what they do:\n")
        searcher = Searcher(library)
        answers = [searcher.text(query, top=3) for query in QUERIES]
        if not as_json:
            for answer in answers:
                print_answer(answer, searcher.thresholds, show_hidden=False)
                out.print()
        sheet = write_sheet(folder / "answers.html", answers, library)
    say.print(f"[bold]4.[/] Pictures, without and with each of them: {sheet.as_uri()}", soft_wrap=True)
    ask = f"\nAsk your own: lorascope search 'snow' --library {library.path} --sheet snow.html"
    say.print(ask, soft_wrap=True, markup=False)
    page = f"Or on a page: lorascope serve --library {library.path} --folder {loras}"
    say.print(page, soft_wrap=True, markup=False)
    if as_json:
        print_json({"run": outcome.summary(), "answers": list(map(plain_answer, answers)), "sheet": str(sheet)})
    return library.path


def _lay_out(folder: Path) -> Path:
    try:
        return lay_out(folder)
    except OSError as error:
        raise LibraryError(f"{folder} cannot be written ({error.strerror}): choose another folder") from error


def _index(loras: Path, library: Library, precision: str) -> Outcome:
    with err.status("loading the miniature base model and its encoder"):
        bench = load_bench(Preset.load("miniature"), library, device="cpu")
    with ProgressBar() as bar:
        return index([loras], bench, precision=precision, watch=bar.watch)
