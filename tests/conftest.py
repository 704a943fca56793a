"""What every test has: checked array shapes, one thread, no network, caches of its own."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jaxtyping import install_import_hook

_SOURCE = Path(__file__).parents[1] / "src"
_CHECKED = [path for path in _SOURCE.rglob("*.py") if "from jaxtyping" in path.read_text("utf-8")]
"""Modules that name array shapes. To check every call of the others, too, makes a run with the fakes 40% slower."""
hook = install_import_hook(
    [".".join(path.relative_to(_SOURCE).with_suffix("").parts) for path in _CHECKED], "beartype.beartype"
)

import pytest  # noqa: E402
import torch  # noqa: E402
from worlds import measured_world  # noqa: E402

from lorascope.library import Library  # noqa: E402
from lorascope.measure import Worker, load_worker  # noqa: E402
from lorascope.protocol import Preset  # noqa: E402

torch.set_num_threads(1)
_connect = socket.socket.connect


_SLOW = {
    "test_components", "test_exact_signatures", "test_experiments", "test_faults", "test_generators", "test_hub",
    "test_judges", "test_levers", "test_single_file",
    "test_library", "test_measure", "test_measurement", "test_quarantine", "test_ray", "test_recipe",
    "test_replication",
    "test_server_schema", "test_server_work", "test_stopping", "test_verification", "test_workers", "test_world",
}  # fmt: skip
"""Files of tests that run real models, whole measurements, or kill processes: ``make check`` leaves them out."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is slow."""
    for item in items:
        if item.path.stem in _SLOW or item.path.parent.name in ("browser", "fuzz"):
            item.add_marker("slow")


@pytest.fixture(autouse=True, scope="session")
def _aside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What is made once for several tests does not reach the user's own files either."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LORASCOPE_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("LORASCOPE_DATA", str(tmp_path_factory.mktemp("data")))
        patch.setenv("LORASCOPE_CONFIG", str(tmp_path_factory.mktemp("config") / "config.toml"))
        yield


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reaches a network but this machine's own, or the user's own files."""

    def connect(self: socket.socket, address: Any) -> None:
        if not isinstance(address, str | bytes) and address[0] not in ("127.0.0.1", "::1"):
            raise AssertionError(f"a test tried to reach {address}")
        _connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("LORASCOPE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("LORASCOPE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("LORASCOPE_CONFIG", str(tmp_path / "config" / "config.toml"))


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The path of a library of some shipped adapters, measured to ``glance``.

    Tests that use it are in the xdist group ``world``, so that only one worker measures.
    """
    return measured_world(tmp_path_factory.mktemp("world") / "world.db")


@pytest.fixture
def preset() -> Preset:
    """The fake world: 280 prompts x 4 seeds in blocks of 16."""
    return Preset.load(Path(__file__).parent / "fake.toml")


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    """An empty library."""
    with Library(tmp_path / "library.db", create=True) as opened:
        yield opened


@pytest.fixture
def worker(preset: Preset) -> Worker:
    """A worker with the fakes."""
    return load_worker(preset)
