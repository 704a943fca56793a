"""Signatures of six shipped adapters are the same to the bit as when they were first recorded.

``data/signatures.json`` holds two blocks of each at ``quick``. Kernels differ in their last digits from one processor
and one version of torch to another. So where the Execution or the processor is another one than that of the recording,
figures are compared with a tolerance instead. Run this file as a script to record them anew.
"""

from __future__ import annotations

import base64
import json
import platform
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lorascope.library import Library
from lorascope.measure import Event, StopRun, index, load_worker
from lorascope.miniature import adapters_path
from lorascope.protocol import Preset
from lorascope.signature import Signature

RECORDED = Path(__file__).parent / "data" / "signatures.json"
NAMES = ("candle_supper", "carrara", "deep_dive", "grandmas_wool", "pencil_sketch_v1", "popart")
"""DoRA, LoHa, LoKr, LoCon, LoRA, and a LoRA of the text encoders whose trigger word is in a sidecar."""


def processor() -> str:
    """The processor's name."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text("utf-8").splitlines() if info.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def plain(signature: Signature) -> dict[str, Any]:
    """The figures as JSON keeps them without loss."""
    estimates = {name: getattr(signature.grid, name) for name in ("strength", "consistency", "agreement")}
    return {
        "cells": signature.cells,
        "strength": signature.strength,
        "consistency": signature.consistency,
        "intervals": {name: [one.lower, one.upper] for name, one in estimates.items() if one is not None},
        "direction": base64.b64encode(signature.direction.astype(np.float32).tobytes()).decode(),
    }


def measured(folder: Path) -> dict[str, Any]:
    """Two blocks of each adapter, and how they were measured."""

    def stop_after_two_blocks(event: Event) -> None:
        nonlocal stage
        if event.kind == "stage":
            stage = event.text
        elif event.kind == "block" and stage == "refining":
            raise StopRun

    torch.set_num_threads(1)
    stage = ""
    with Library(folder / "library.db", create=True) as library:
        worker = load_worker(Preset.load("miniature"), device="cpu")
        for name in NAMES:
            index(
                [adapters_path() / f"{name}.safetensors"],
                worker,
                library,
                precision="quick",
                watch=stop_after_two_blocks,
            )
        adapters = library.adapters.all()
        stored = library.signatures.get(worker.protocols[0].digest, adapters)
        signatures = {adapters[key].name: plain(one.signature) for key, one in stored.items()}
        return {"execution": worker.execution, "processor": processor(), "signatures": dict(sorted(signatures.items()))}


def direction(figures: dict[str, Any]) -> np.ndarray:
    """The Direction of a recorded signature."""
    return np.frombuffer(base64.b64decode(figures["direction"]), np.float32)


def test_signatures_are_those_that_were_recorded(tmp_path: Path) -> None:
    recorded, now = json.loads(RECORDED.read_text("utf-8")), measured(tmp_path)
    if all(now[field] == recorded[field] for field in ("execution", "processor")):
        assert now["signatures"] == recorded["signatures"]
        return
    for name, expected in recorded["signatures"].items():
        found = now["signatures"][name]
        assert found["cells"] == expected["cells"] == 32
        one, other = direction(found), direction(expected)
        assert one @ other / np.linalg.norm(one) / np.linalg.norm(other) > 0.9999
        for figure in ("strength", "consistency"):
            assert found[figure] == pytest.approx(expected[figure], rel=1e-3)
        for figure, limits in expected["intervals"].items():
            assert found["intervals"][figure] == pytest.approx(limits, rel=1e-2)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        RECORDED.write_text(json.dumps(measured(Path(place)), indent=1) + "\n", "utf-8")
