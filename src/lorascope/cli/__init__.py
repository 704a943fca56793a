"""The command line: parse, call, print."""

from __future__ import annotations

import sys

from lorascope.errors import LorascopeError


def main() -> None:
    """Run the command line; errors that a person can put right are one line, without a traceback."""
    from lorascope.cli.app import app

    try:
        app()
    except LorascopeError as error:
        _fail(error, 2)
    except KeyboardInterrupt:
        _fail(KeyboardInterrupt("stopped; what was measured is kept, and the same command goes on from there"), 130)


def _fail(error: BaseException, status: int) -> None:
    from lorascope.cli.output import print_error

    print_error(error, as_json="--json" in sys.argv)
    sys.exit(status)
