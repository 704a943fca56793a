"""demo and doctor."""

from pathlib import Path
from typing import Annotated

import typer

from lorascope.cli import options


def demo(
    folder: Annotated[Path, typer.Argument(help="Where to put the demo's files.")] = Path("demo"),
    precision: Annotated[str, typer.Option(help="glance, quick, standard or full.")] = "quick",
) -> None:
    """Run the main job on the small world that ships: index a folder, ask three questions, see pictures."""
    from lorascope.cli.output import err, out, print_answer
    from lorascope.cli.running import ProgressBar, report
    from lorascope.library import Library
    from lorascope.measure import index, load_bench
    from lorascope.miniature.demo import QUERIES, lay_out
    from lorascope.protocol import Preset
    from lorascope.report.sheet import write_sheet
    from lorascope.search import Searcher

    loras = lay_out(folder)
    out.print(f"[bold]1.[/] A folder of small LoRAs, some of them broken: {loras}", soft_wrap=True)
    with Library(folder / "library.db", create=True) as library:
        with err.status("loading the miniature base model and its encoder"):
            bench = load_bench(Preset.load("miniature"), library, device="cpu")
        out.print("[bold]2.[/] Every one is run on the same prompts and noise as the bare model:")
        with ProgressBar() as bar:
            outcome = index([loras], bench, precision=precision, watch=bar.watch)
        report(outcome, library, as_json=False)
        out.print("\n[bold]3.[/] Now search by what they do:\n")
        searcher = Searcher(library)
        answers = [searcher.text(query, top=3) for query in QUERIES]
        for answer in answers:
            print_answer(answer, searcher.thresholds, show_hidden=False)
            out.print()
        sheet = write_sheet(folder / "answers.html", answers, library)
    out.print(f"[bold]4.[/] Pictures without and with each of them: {sheet.as_uri()}", soft_wrap=True)
    out.print(
        f"\nAsk your own: lorascope search 'snow' --library {folder / 'library.db'} --sheet snow.html",
        soft_wrap=True,
    )


def doctor(library: options.LibraryPath = None, as_json: options.Json = False) -> None:
    """Tell what this installation has and lacks: device, versions, models, library."""
    from lorascope.cli.checkup import checks
    from lorascope.cli.output import print_json, print_table

    found = checks(library)
    if as_json:
        print_json([vars(check) for check in found])
    else:
        marks = {"ok": "ok", "note": "note", "problem": "PROBLEM"}
        print_table(("", "what", "found"), [(marks[c.state], c.what, c.found) for c in found])
    if any(check.state == "problem" for check in found):
        raise typer.Exit(1)
