"""What `lorascope versions` says of six epochs of one training, beside what the judge of the shipped world sees.

python -m benchmarks.versions LIBRARY
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.judged import JUDGE, JudgedScenes, judged_preset
from benchmarks.machine import describe as machine
from benchmarks.markdown import print_report
from lorascope import Library
from lorascope.analysis import versions
from lorascope.analysis.blocks import BlockMeasurement
from lorascope.analysis.cells import PromptTexts, cells_of, known_grid
from lorascope.encoders.load import load_text_encoder
from lorascope.measure import index, load_worker
from lorascope.measure.measurement import Measurement
from lorascope.miniature import adapters_path
from lorascope.signature import Estimate
from miniature.catalogue import SERIES

CELLS = 48


def report(path: Path) -> str:
    """A table in Markdown."""
    with Library(path, create=True) as library:
        worker = load_worker(judged_preset(), device="cpu")
        folder = adapters_path().parent / "series"
        index([folder], worker, library, precision="glance")
        stored = next(one for one in library.protocols.all() if one.protocol.encoder != JUDGE)
        grid, measurement = known_grid(stored), Measurement(worker, library)
        blocks = BlockMeasurement(measurement, stored, CELLS)
        for adapter in library.adapters.all().values():
            if adapter.name.startswith(SERIES.stem):
                blocks.cells(adapter, lambda one, count: print(one.name, flush=True))
        texts = PromptTexts(load_text_encoder(stored.protocol.encoder), grid)
        (series,) = versions(library, texts, str(stored.protocol), folder)
        theirs = next(one for one in measurement.protocols if one.encoder == JUDGE).digest
        judge = JudgedScenes(grid)
        seen: dict[str, tuple[float, float]] = {}
        for one in series.versions:
            images = cells_of(library, grid, theirs, one.key, grid.blocks_for(CELLS))
            assert images is not None
            kept = judge.single(images)
            rows, prompts = images.adapted[kept], images.prompts[kept]
            seen[one.key] = (
                float(judge.seen(SERIES, rows, prompts).mean()),
                float(np.mean(judge.right(SERIES, rows, prompts))),
            )
    lines = [f"{series.cells} images of each; {machine()}.", ""]
    lines += [
        "| epoch | effect of the last | cosine | prompt kept | judge: effect | judge: scene | beside the one before |"
    ]
    lines += ["|---|---|---|---|---|---|---|"]
    for one in series.versions:
        effect, scene = seen[one.key]
        figures = " | ".join(map(_figure, (one.effect, one.cosine, one.kept)))
        lines.append(f"| {one.name} | {figures} | {effect:.2f} | {scene:.2f} | {one.change} |")
    return "\n".join([*lines, "", f"> {series.sentence}."])


def _figure(estimate: Estimate | None) -> str:
    return "–" if estimate is None else f"{estimate.value:.2f} ({estimate.lower:.2f} to {estimate.upper:.2f})"


if __name__ == "__main__":
    print_report(__doc__, report, "where measurements are kept; made if it does not exist")
