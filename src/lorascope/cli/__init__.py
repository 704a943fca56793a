"""The command line: parse, call, print."""

from __future__ import annotations

import errno
import io
import os
import sys
import warnings

from lorascope.errors import LorascopeError, OutputError

_STOPPED = 130
"""The exit status into which typer turns Ctrl-C, without a word."""


def main() -> None:
    """Run the command line; errors that a person can put right are one line, without a traceback."""
    _prepare_streams()
    warnings.filterwarnings("ignore", module=r"(diffusers|transformers|huggingface_hub)\b")  # not the person's concern
    try:
        _run()
    except LorascopeError as error:
        _fail(error, 2)
    except KeyboardInterrupt:
        _stopped()
    except SystemExit as end:
        if end.code != _STOPPED:
            raise
        _stopped()
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left is not tried again at the end
        full = OutputError("the output cannot be written (the disk is full): free some space, or print elsewhere")
        _fail(full, 2, as_json=False)


def _prepare_streams() -> None:
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # whoever called has closed it: what is printed goes nowhere
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8"))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal of an older encoding lacks even the dash of an interval
            stream.reconfigure(errors="backslashreplace")


def _run() -> None:
    from lorascope.cli.app import app

    try:
        app()
    finally:
        if sys.stdout is not None:
            sys.stdout.flush()  # here, where it can be told that the disk is full


def _stopped() -> None:
    if "lorascope.cli.output" not in sys.modules:  # nothing has begun, and what is half imported is of no more use
        sys.exit(_STOPPED)
    _fail(KeyboardInterrupt("stopped; what was measured is kept, and the same command goes on from there"), _STOPPED)


def _fail(error: BaseException, status: int, *, as_json: bool | None = None) -> None:
    from lorascope.cli.output import print_error

    print_error(error, as_json="--json" in sys.argv if as_json is None else as_json)
    sys.exit(status)
