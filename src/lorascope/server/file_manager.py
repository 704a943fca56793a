"""Shows a file in the file manager of the machine that the server runs on."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from lorascope.server.problems import Problem


def show_file(path: Path) -> None:
    """Open the folder that holds a file, with the file selected where the file manager can do that.

    Raises:
        Problem: the file is gone, or there is no file manager.
    """
    if not path.exists():
        raise Problem(404, "unknown-file", f"{path} is not there any more", "index the folder that it was moved to")
    command = _command(path)
    if shutil.which(command[0]) is None:
        raise Problem(409, "no-file-manager", f"no file manager was found to show {path}", "copy its path instead")
    subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _command(path: Path) -> list[str]:
    if sys.platform == "win32":
        return ["explorer", f"/select,{path}"]
    if sys.platform == "darwin":
        return ["open", "-R", str(path)]
    return ["xdg-open", str(path.parent)]
