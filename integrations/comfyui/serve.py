"""Runs `lorascope serve` until ComfyUI ends, however it ends: then the pipe to this process closes."""

import signal
import sys
import threading


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    signal.raise_signal(signal.SIGINT)


if __name__ == "__main__":
    from lorascope.__main__ import main

    threading.Thread(target=_end_with_parent, daemon=True).start()
    main()
