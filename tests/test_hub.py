"""--download against a hub on this machine: what is fetched, resumed, and said where something cannot be had."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hubs import Hub, fetched, served

WEIGHTS = bytes(range(256)) * 400
REPOSITORIES = {
    "owner/complete": {
        "config.json": b"{}", "model.safetensors": WEIGHTS, "model.fp16.safetensors": b"", "flax_model.msgpack": b"",
    },
    "owner/large": {"config.json": b"{}", "model.safetensors": WEIGHTS},
}  # fmt: skip


@pytest.fixture
def hub() -> Iterator[Hub]:
    """A hub with two models."""
    with served() as server:
        server.repositories |= REPOSITORIES
        yield server


def test_only_what_is_used_is_fetched_and_then_found_offline(hub: Hub, tmp_path: Path) -> None:
    refused = fetched(hub, tmp_path, "owner/complete", download=False)
    assert refused.startswith("refused: the model owner/complete is not on this disk: run once with --download")
    assert hub.asked == []
    assert fetched(hub, tmp_path, "owner/complete") == "config.json model.safetensors"
    assert sorted(name for name, _ in hub.asked) == ["config.json", "model.safetensors"]
    asked = len(hub.asked)
    assert fetched(hub, tmp_path, "owner/complete", download=False) == "config.json model.safetensors"
    assert len(hub.asked) == asked


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("owner/gated", "is gated: accept its terms on its page, log in with `hf auth login`, and run again"),
        ("owner/none", "is not on the hub, or is private: check its name, or log in with `hf auth login`"),
    ],
)
def test_what_the_hub_refuses_is_told_with_what_to_do(name: str, message: str, hub: Hub, tmp_path: Path) -> None:
    assert fetched(hub, tmp_path, name) == f"refused: the model {name} {message}"


def test_a_download_that_is_cut_off_goes_on_with_the_files_that_are_missing(hub: Hub, tmp_path: Path) -> None:
    hub.cut = 60_000
    refused = fetched(hub, tmp_path, "owner/large")
    assert refused.startswith("refused: the model owner/large could not be fetched (")
    assert refused.endswith("and run again: the files that have arrived are kept")
    hub.cut = None
    hub.asked.clear()
    assert fetched(hub, tmp_path, "owner/large") == "config.json model.safetensors"
    assert {name for name, _ in hub.asked} == {"model.safetensors"}
    (weights,) = tmp_path.rglob("snapshots/*/model.safetensors")
    assert weights.read_bytes() == WEIGHTS
