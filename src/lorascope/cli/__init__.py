"""The command line: parse, call, print."""

from __future__ import annotations

import errno
import io
import os
import re
import signal
import sys
import warnings

from lorascope.errors import LorascopeError, OutputError, UsageError
from lorascope.extras import missing

_STOPPED = 130
"""The exit status of Ctrl-C and of SIGTERM."""
_EMPTY_OPTION = re.compile(r"(--[\w-]+)=")


def main() -> None:
    """Run the command line; errors that a person can put right are one line, without a traceback."""
    try:
        _prepare()
        _run()
    except LorascopeError as error:
        _fail(error, 2)
    except ModuleNotFoundError as error:
        explained = missing(error)
        if explained is None:
            raise
        _fail(explained, 2)
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


def _prepare() -> None:
    """Make output safe to print to, and let SIGTERM stop a run as Ctrl-C does."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # the caller has closed it: what is printed is lost
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8"))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal of an older encoding lacks even the dash of an interval
            stream.reconfigure(errors="backslashreplace")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    warnings.filterwarnings("ignore", module=r"(diffusers|transformers|huggingface_hub)\b")  # not the user's concern


def _run() -> None:
    """Run the verb, or say what to do next; with --json, errors in the command line itself are JSON too."""
    from typer import Abort, TyperException

    from lorascope.cli.app import app

    _refuse_empty(sys.argv[1:])
    try:
        if len(sys.argv) == 1:
            from lorascope.cli.hints import next_step

            sys.stdout.write(next_step())
        elif not _wants_json():
            app()
        elif status := app(standalone_mode=False):
            sys.exit(status)
    except TyperException as error:
        raise UsageError(error.format_message()) from error
    except Abort:
        sys.exit(1)
    finally:
        if sys.stdout is not None:
            sys.stdout.flush()  # here, where a full disk can still be reported


def _refuse_empty(arguments: list[str]) -> None:
    """Refuse empty arguments: an unset shell variable must not mean the current folder, or the default of an option."""
    for before, argument in zip(["lorascope", *arguments], arguments, strict=False):
        option = _EMPTY_OPTION.fullmatch(argument)
        if not argument or option:
            where = option[1] if option else before
            raise UsageError(f"the argument after {where!r} is empty: is a shell variable unset?")


def _wants_json() -> bool:
    return "--json" in sys.argv


def _stopped() -> None:
    if "lorascope.cli.output" not in sys.modules:  # nothing has begun, so there is nothing to say
        sys.exit(_STOPPED)
    _fail(KeyboardInterrupt("stopped; what was measured is kept, and the same command resumes from there"), _STOPPED)


def _fail(error: BaseException, status: int, *, as_json: bool | None = None) -> None:
    from lorascope.cli.output import print_error

    print_error(error, as_json=_wants_json() if as_json is None else as_json)
    sys.exit(status)
