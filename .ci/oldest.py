"""Print the oldest version of every dependency that pyproject.toml allows, and what the server's tests need beside it.

torch is the exception: its old builds weigh gigabytes, and nothing here depends on its version.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
TOOLS = ("beartype", "httpx2", "pytest", "pytest-timeout", "pytest-xdist", "torch")


def main() -> None:
    """One requirement a line."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    tested = dict(re.findall(r"^(\S+)==(\S+)$", (ROOT / "constraints.txt").read_text("utf-8"), re.MULTILINE))
    for dependency in (*project["dependencies"], *project["optional-dependencies"].get("measure", ())):
        name, floor, marker = re.fullmatch(r"([\w-]+)>=([\w.]+)(;.*)?", dependency.replace(" ", "", 1)).groups()
        if name not in TOOLS:
            print(f"{name}=={floor}{marker or ''}")
    for name in TOOLS:
        print(f"{name}=={tested[name]}")


main()
