"""Real processes of Ray: one of two workers is killed, and signatures are those of one machine to the bit."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import psutil
import pytest
from test_crew import everything, folder  # noqa: F401  (a fixture)

from lorascope.errors import ModelError
from lorascope.library import Library
from lorascope.measure import index, load_worker
from lorascope.measure.cluster import ClusterPlan
from lorascope.measure.ray import RayCrew
from lorascope.protocol import Preset

pytest.importorskip("ray", reason="Ray is not installed: pip install 'lorascope[ray]'")
CONNECT = socket.socket.connect


def workers() -> list[psutil.Process]:
    """The processes of workers that this process has started through Ray."""
    return [one for one in psutil.Process().children(recursive=True) if "ActorBody" in " ".join(one.cmdline())]


def test_a_killed_process_of_ray_changes_no_bit(
    tmp_path: Path,
    folder: Path,  # noqa: F811
    preset: Preset,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(socket.socket, "connect", CONNECT)  # Ray's processes talk over this machine's own addresses
    killed: list[int] = []

    def kill(event: Any) -> None:
        if event.kind == "block" and not killed:
            victim = workers()[0]
            killed.append(victim.pid)
            victim.kill()

    try:
        crew = RayCrew(preset, ClusterPlan(workers=2, gpus=0.0))
    except ModelError as error:
        if "did not start" not in str(error):
            raise
        pytest.skip(f"Ray does not start on a machine as busy as this one: {error}")
    with crew, Library(tmp_path / "a.db", create=True) as library:
        outcome = index([folder], crew, library, precision="quick", watch=kill)
        on_ray = everything(library)
    assert (outcome.finished, outcome.refused) == (True, [])
    assert killed
    with Library(tmp_path / "b.db", create=True) as library:
        index([folder], load_worker(preset), library, precision="quick")
        assert everything(library) == on_ray
