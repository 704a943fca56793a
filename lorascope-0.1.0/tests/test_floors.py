"""The oldest versions that pyproject.toml allows have no known vulnerability that matters here."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FIXED = [
    ("jinja2", "3.1.6", "CVE-2025-27516"),
    ("pillow", "11.3.0", "CVE-2025-48379"),
    ("pillow", "12.2.0", "CVE-2026-42309"),
    ("pillow", "12.3.0", "CVE-2026-59199"),
    ("pyarrow", "14.0.1", "CVE-2023-47248"),
    ("python-multipart", "0.0.22", "CVE-2026-24486"),
    ("python-multipart", "0.0.26", "CVE-2026-40347"),
    ("python-multipart", "0.0.27", "CVE-2026-42561"),
    ("python-multipart", "0.0.30", "CVE-2026-53538"),
    ("python-multipart", "0.0.31", "CVE-2026-53540"),
    ("starlette", "0.47.2", "CVE-2025-54121"),
    ("starlette", "0.49.1", "CVE-2025-62727"),
    ("starlette", "1.0.1", "CVE-2026-48710"),
    ("starlette", "1.3.0", "PYSEC-2026-248"),
    ("starlette", "1.3.1", "PYSEC-2026-249"),
    ("torch", "2.6.0", "CVE-2025-32434"),
    ("torch", "2.10.0", "CVE-2026-24747"),
]
"""Package, the version that fixed it, advisory. Add a line for each advisory that concerns us, and raise the floor."""


def floors() -> dict[str, tuple[int, ...]]:
    """The oldest allowed version of each dependency, those of the extras included."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = [lines for name, lines in project["optional-dependencies"].items() if name != "dev"]
    lines = [line for part in (project["dependencies"], *extras) for line in part if not line.startswith("lorascope")]
    return {name: version(floor) for name, floor in (re.findall(r"^([\w-]+)>=([\d.]+)", line)[0] for line in lines)}


def version(text: str) -> tuple[int, ...]:
    """A release as numbers, padded so that 1.7 equals 1.7.0."""
    return tuple(map(int, f"{text}.0.0".split(".")[:3]))


@pytest.mark.parametrize(("package", "fixed", "advisory"), FIXED)
def test_no_allowed_version_has_a_known_vulnerability(package: str, fixed: str, advisory: str) -> None:
    assert floors()[package] >= version(fixed), f"{package}: raise the floor to {fixed} ({advisory})"


def test_every_floor_is_at_most_the_version_that_is_tested() -> None:
    tested = dict(re.findall(r"^(\S+)==(\S+)$", (ROOT / "constraints.txt").read_text("utf-8"), re.MULTILINE))
    names = {name.lower().replace("_", "-"): version(text) for name, text in tested.items()}
    assert {name: floor for name, floor in floors().items() if floor > names[name]} == {}
