"""The command line: parse, call, print."""

from __future__ import annotations

import io
import sys
import warnings

from lorascope.errors import LorascopeError

_STOPPED = 130
"""The exit status into which typer turns Ctrl-C, without a word."""


def main() -> None:
    """Run the command line; errors that a person can put right are one line, without a traceback."""
    from lorascope.cli.app import app

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal of an older encoding lacks even the dash of an interval
            stream.reconfigure(errors="backslashreplace")
    warnings.filterwarnings("ignore", module=r"(diffusers|transformers|huggingface_hub)\b")  # not the person's concern
    try:
        app()
    except LorascopeError as error:
        _fail(error, 2)
    except SystemExit as end:
        if end.code != _STOPPED:
            raise
        _fail(
            KeyboardInterrupt("stopped; what was measured is kept, and the same command goes on from there"), _STOPPED
        )


def _fail(error: BaseException, status: int) -> None:
    from lorascope.cli.output import print_error

    print_error(error, as_json="--json" in sys.argv)
    sys.exit(status)
