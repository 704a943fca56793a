"""search, similar, show, list: everything that only reads a library."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lorascope.cli import options
from lorascope.cli.verb import Verb

if TYPE_CHECKING:
    from lorascope.library import Library
    from lorascope.search import Example

_MINUS = re.compile(r"-(?!n\d+$)[^\W\d_]\S")


class WordsVerb(Verb):
    """A command that takes ``-people`` as words to subtract. The value of a short option comes after a space."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read words with a minus as arguments: what begins with a space is no option."""
        taking = {name for one in self.params if not getattr(one, "is_flag", True) for name in one.opts}
        before = [""] + args
        words = [_MINUS.match(arg) and last not in taking for last, arg in zip(before, args, strict=False)]
        return super().parse_args(ctx, [f" {arg}" if minus else arg for minus, arg in zip(words, args, strict=True)])


def search(
    words: options.Words = None,
    image: options.Pictures = None,
    like: options.Like = None,
    unlike: options.Unlike = None,
    top: options.Top = 10,
    encoding: options.EncodingName = "suffix",
    encoder: options.EncoderLocation = "",
    library: options.LibraryPath = None,
    protocol: options.ProtocolName = "",
    every_protocol: options.EveryProtocol = False,
    max_strength: options.MaxStrength = None,
    min_consistency: options.MinConsistency = None,
    everything: options.Everything = False,
    family: options.Family = "",
    folder: options.Folder = "",
    hidden: options.ShowHidden = False,
    sheet: options.Sheet = None,
    download: options.Download = False,
    as_json: options.Json = False,
) -> None:
    """Find adapters by what they do: in words, by pictures, by other adapters, or by all of them together."""
    from lorascope.cli.answers import ask, present
    from lorascope.cli.checks import check_unused
    from lorascope.encoders.encoding import encoding_of
    from lorascope.errors import QueryError
    from lorascope.library import Library
    from lorascope.search import Example, Request

    text = " ".join(words or ()).strip()
    if not (text or image or like or unlike):
        raise QueryError("nothing is asked: give words, --image FILE, --like ADAPTER or --unlike ADAPTER")
    if every_protocol:
        check_unused({"protocol": protocol}, "with --all")
    with Library(library) as opened:
        request = Request(
            text,
            adapters=(*_examples(opened, like), *(-example for example in _examples(opened, unlike))),
            pictures=tuple(Example(str(path)) for path in image or ()),
            encoding=encoding_of(encoding), family=family, folder=folder, max_strength=max_strength,
            min_consistency=min_consistency, everything=everything, hidden=hidden or as_json, limit=top,
        )  # fmt: skip
        answers = ask(
            opened, _lanes(opened, protocol, every=every_protocol), request, location=encoder, download=download
        )
        present(opened, answers, hidden=hidden, sheet=sheet, as_json=as_json)


def _lanes(library: Library, protocol: str, *, every: bool) -> list[str]:
    """One Protocol, or all under which there are signatures; without any, searching says what to do."""
    measured = [str(stored.protocol) for stored in library.protocols.all() if stored.adapters] if every else []
    return measured or [protocol]


def similar(
    adapter: options.AdapterName,
    top: options.Top = 10,
    library: options.LibraryPath = None,
    protocol: options.ProtocolName = "",
    max_strength: options.MaxStrength = None,
    min_consistency: options.MinConsistency = None,
    everything: options.Everything = False,
    family: options.Family = "",
    folder: options.Folder = "",
    hidden: options.ShowHidden = False,
    sheet: options.Sheet = None,
    as_json: options.Json = False,
) -> None:
    """Find adapters that do what another one does."""
    from lorascope.cli.answers import ask, present
    from lorascope.library import Library
    from lorascope.search import Example, Request

    with Library(library) as opened:
        request = Request(
            adapters=(Example(opened.adapters.find(adapter).key),), family=family, folder=folder,
            max_strength=max_strength, min_consistency=min_consistency, everything=everything,
            hidden=hidden or as_json, limit=top,
        )  # fmt: skip
        present(opened, ask(opened, [protocol], request), hidden=hidden, sheet=sheet, as_json=as_json)


def _examples(library: Library, names: list[str] | None) -> list[Example]:
    """Adapters by key, name or path, each of which may end in a weight."""
    from lorascope.search import Example

    examples: list[Example] = []
    for text in names or ():
        name, colon, weight = text.rpartition(":")
        weighted = bool(name and colon) and re.fullmatch(r"\d+(\.\d+)?", weight) is not None
        key = library.adapters.find(name if weighted else text).key
        examples.append(Example(key, float(weight) if weighted else 1.0))
    return examples


def show(
    adapter: options.AdapterName,
    direction: Annotated[bool, typer.Option("--direction", help="Print the Direction too (JSON only).")] = False,
    library: options.LibraryPath = None,
    as_json: options.Json = False,
) -> None:
    """Show everything known about one adapter: its signature under each Protocol, its claims, where it is."""
    from dataclasses import asdict

    from lorascope.analysis import advise, known_curves
    from lorascope.cli.checks import check_unused
    from lorascope.cli.details import known_findings, print_adapter, print_findings, print_signature
    from lorascope.cli.output import print_json
    from lorascope.cli.weight import print_advice
    from lorascope.library import Library
    from lorascope.report.plain import plain_adapter, plain_signature, plain_weight

    if not as_json:
        check_unused({"direction": direction}, "without --json")
    with Library(library) as opened:
        found = opened.adapters.find(adapter)
        measured = [
            (stored, signatures[found.key])
            for stored in opened.protocols.all()
            if (signatures := opened.signatures.get(stored.protocol.digest, [found.key]))
        ]
        said = {str(stored.protocol): known_findings(opened, stored, found.key) for stored, _ in measured}
        curves = {
            str(stored.protocol): curve
            for stored, _ in measured
            for curve in known_curves(opened, stored.protocol.digest, [found.key]).values()
        }
        if as_json:
            figures = {str(one.protocol): plain_signature(kept, direction=direction) for one, kept in measured}
            plain = {name: [asdict(finding) for finding in found] for name, found in said.items()}
            weights = {name: plain_weight(curve) for name, curve in curves.items()}
            print_json(plain_adapter(found) | {"signatures": figures, "findings": plain, "weights": weights})
            return
        print_adapter(found)
        for stored, signature in measured:
            print_signature(found, stored, signature)
            print_findings(said[name := str(stored.protocol)])
            if name in curves:
                print_advice(advise(curves[name]))


def list_(
    refused: Annotated[bool, typer.Option("--refused", help="List files that were left out, with reasons.")] = False,
    protocols: Annotated[bool, typer.Option("--protocols", help="List the Protocols instead.")] = False,
    runs: Annotated[bool, typer.Option("--runs", help="List the runs instead.")] = False,
    flag: options.FlagName = "",
    library: options.LibraryPath = None,
    protocol: options.ProtocolName = "",
    as_json: options.Json = False,
) -> None:
    """List the adapters of a library, strongest first; or its Protocols, runs or refused files."""
    from lorascope.cli.checks import check_unused
    from lorascope.cli.details import list_adapters, list_protocols, list_runs
    from lorascope.cli.output import print_json
    from lorascope.cli.refusals import print_refusals
    from lorascope.library import Library

    lists = {"refused": refused, "protocols": protocols, "runs": runs}
    if first := next((name for name, wanted in lists.items() if wanted), ""):
        check_unused(lists | {first: False, "flag": flag, "protocol": protocol}, f"with --{first}")
    with Library(library) as opened:
        if refused:
            found = opened.refusals.all()
            print_json([vars(refusal) for refusal in found]) if as_json else print_refusals(found)
        elif protocols:
            list_protocols(opened, as_json)
        elif runs:
            list_runs(opened, as_json)
        else:
            list_adapters(opened, protocol, flag, as_json)
