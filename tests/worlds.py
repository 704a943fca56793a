"""A library of the small world that ships with lorascope."""

from __future__ import annotations

from pathlib import Path

from lorascope.library import Library
from lorascope.measure import index, load_worker
from lorascope.miniature import adapters_path
from lorascope.protocol import Preset

WORLD = (
    "catify", "cathedral", "deep_dive", "do_not_use_above_0.3", "grandmas_wool", "heatvision", "neon_epoch1",
    "neon_nights", "pencil_sketch_v1", "pencil_sketch_v2", "roman_floor", "royal", "sakura_wind", "snow_test_step10",
    "style_mix_8in1", "watercolour_dream", "winter_wonder", "winter_wonder_retrain",
)  # fmt: skip
"""Shipped adapters of every kind and file format: less than a quarter of them, to be quick."""


def measured_world(path: Path) -> Path:
    """Measure the adapters of ``WORLD`` to ``glance`` into a new library."""
    paths = [adapters_path() / f"{name}.safetensors" for name in WORLD]
    with Library(path, create=True) as library:
        assert index(paths, load_worker(Preset.load("miniature"), device="cpu"), library, precision="glance").finished
    return path
