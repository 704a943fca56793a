"""The entry point: ``python -m lorascope`` and the script ``lorascope``."""

import sys


def main() -> None:
    """Run the command line. Ctrl-C while it is still being imported ends without a traceback."""
    try:
        from lorascope.cli import main as run
    except KeyboardInterrupt:
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
