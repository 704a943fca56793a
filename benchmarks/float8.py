"""What float8 weights do to signatures, on the second small world: ``python -m benchmarks.float8``.

Some of its adapters are measured at several scales on the same cells, with the denoiser in float32 and in float8.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from benchmarks.machine import describe as machine
from lorascope import Preset
from lorascope.adapters import Delta, Names, load_delta
from lorascope.measure import Worker, load_worker
from lorascope.miniature import adapters_path

SCALES = (1.0, 0.3, 0.1, 0.03)
BLOCKS, EVERY = 2, 4
"""How many blocks of 16 cells, and of how many adapters one is measured."""


def embeddings(worker: Worker, delta: Delta | None = None, scale: float = 1.0) -> np.ndarray:
    """Those of the first cells, (cells, d)."""
    blocks = [worker.block(place, delta=delta, scale=scale) for place in range(BLOCKS)]
    return np.concatenate([next(iter(block.embeddings.values())) for block in blocks]).astype(np.float64)


def main() -> None:
    """Print the table."""
    preset = Preset.load("miniature-flux")
    exact, rounded = (load_worker(replace(preset, dtype=name), device="cpu") for name in ("float32", "float8"))
    files = sorted((adapters_path().parent / "flux" / "adapters").glob("*.safetensors"))[::EVERY]
    deltas = [load_delta(path, Names(exact.shapes)) for path in files]
    bare = {worker: embeddings(worker) for worker in (exact, rounded)}
    floor = max(rounded.noise_floor().floors.values())
    print(f"{len(files)} adapters, {BLOCKS * preset.block_size} cells each; {machine()}\n")
    print(f"noise floor: {max(exact.noise_floor().floors.values()):.3f} in float32, {floor:.3f} in float8\n")
    print("| scale | values changed | Strength, float32 | float8 | cosine of Directions | cells below the floor |")
    print("|---|---|---|---|---|---|")
    for scale in SCALES:
        rows: list[tuple[float, ...]] = []
        for delta in deltas:
            one, two = (embeddings(worker, delta, scale) - bare[worker] for worker in (exact, rounded))
            norms = [np.linalg.norm(effect, axis=1) for effect in (one, two)]
            a, b = one.mean(0), two.mean(0)
            cosine = float(a @ b / max(np.linalg.norm(a) * np.linalg.norm(b), 1e-12))
            changed = rounded.spectrum(delta, scale).changed
            rows.append((changed, norms[0].mean(), norms[1].mean(), cosine, float(np.mean(norms[1] <= floor))))
        print(f"| {scale} | {' | '.join(f'{value:.3f}' for value in np.mean(rows, axis=0))} |", flush=True)


if __name__ == "__main__":
    main()
