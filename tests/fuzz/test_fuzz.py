"""Changed files are read or refused; ``python -m tests.fuzz --minutes 60`` does it for longer."""

from __future__ import annotations

from pathlib import Path

import pytest

from fuzz.run import round_of
from fuzz.targets import TARGETS


@pytest.mark.parametrize("name", TARGETS)
def test_a_changed_file_is_read_or_refused(name: str, tmp_path: Path) -> None:
    assert list(round_of(name, 0, tmp_path)) == []
