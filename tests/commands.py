"""Runs `lorascope` in processes that can be killed: one is warmed up, and each command is a fork of it.

A line of JSON on standard input starts a command: {"argv": [...], "output": a file, "limit": bytes or 0}, which is
answered by its process id, and one byte a rendered batch goes to the pipe of --ticks; or it ends one:
{"pid": id, "signal": number or 0}, which is answered by its exit status.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any


def main() -> None:
    """Answer requests until standard input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--ticks", type=int, required=True)
    ticks = parser.parse_args().ticks
    _warm_up(ticks)
    for line in sys.stdin:
        request = json.loads(line)
        if "argv" in request:
            pid = os.fork()
            if pid == 0:
                _run(request)
            _say(pid)
        else:
            if request["signal"]:
                os.kill(request["pid"], request["signal"])
            _say(os.waitstatus_to_exitcode(os.waitpid(request["pid"], 0)[1]))


def _say(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


def _warm_up(ticks: int) -> None:
    import torch

    from lorascope.cli import answers, app, runs  # noqa: F401  (loaded once, for every fork)
    from lorascope.encoders import fake  # noqa: F401
    from lorascope.generators.fake import FakeGenerator

    torch.set_num_threads(1)
    render = FakeGenerator.render

    def ticking(self: FakeGenerator, *cells: Any) -> torch.Tensor:
        images = render(self, *cells)
        os.write(ticks, b".")
        return images

    FakeGenerator.render = ticking


def _run(request: dict[str, Any]) -> None:
    from lorascope.cli import main as command

    if request["limit"]:  # Python ignores SIGXFSZ, so a write beyond the limit fails as on a full disk
        resource.setrlimit(resource.RLIMIT_FSIZE, (request["limit"], request["limit"]))
    output = os.open(Path(request["output"]), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell that runs the tests in the background ignores it
    sys.stdin.close()
    sys.argv = ["lorascope", *request["argv"]]
    status: Any = 1
    with contextlib.suppress(BaseException):
        try:
            command()
            status = 0
        except SystemExit as end:
            status = end.code or 0
        except BaseException:
            import traceback

            traceback.print_exc()
        sys.stdout.flush()
    os._exit(status)


if __name__ == "__main__":
    main()
