"""How long `index` takes to see that it knows 60,000 files already, and to read the headers of a thousand new ones.

    python -m benchmarks.rescan [COUNT]

Prints the figures of docs/measuring.md: small LoRAs with a sidecar each, in folders of a thousand. The disk's cache
holds them, so what is measured is lorascope and the system calls that it makes.
"""

from __future__ import annotations

import os
import struct
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from benchmarks.machine import describe
from lorascope.adapters import scan
from lorascope.cli.plans import plans
from lorascope.installations import Assignment, UserConfig
from lorascope.library import AdapterFacts, Library, StoredAdapter
from lorascope.measure.queue import SortedFiles, gather
from lorascope.models import config_file

T = TypeVar("T")
_FOLDER = 1000
_MODULE = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k"


def main() -> None:
    """Print the figures."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 60_000
    print(describe())
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "loras"
        _make(folder, count)
        with Library(Path(place) / "library.db", create=True) as library:
            _timed("listed", lambda: sum(1 for _ in scan([folder])))
            new = _timed(
                f"headers and sidecars of {_FOLDER} new ones read", lambda: _gather(folder / "0", library, set())
            )
            library.adapters.add(*_known(folder))
            done = set(library.adapters.all())
            os.environ["LORASCOPE_CONFIG"] = f"{place}/config.toml"
            UserConfig((folder,), (Assignment("illustrious", "", ("sdxl",)),)).save(config_file())
            _timed("known ones sorted by preset", lambda: plans((), "", "", {}, library=library.path))
            again = _timed("seen to be known", lambda: _gather(folder, library, done))
        assert (len(new.adapters), len(again.known)) == (_FOLDER, count)


def _gather(folder: Path, library: Library, done: set[str]) -> SortedFiles:
    return gather([folder], library, "sdxl", done, lambda _: None)


def _timed(what: str, work: Callable[[], T]) -> T:
    wall, processor = time.perf_counter(), time.process_time()
    found = work()
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    print(f"{what}: {wall:.1f} s, {processor:.1f} s of processor time", flush=True)
    return found


def _make(folder: Path, count: int) -> None:
    header = (
        f'{{"{_MODULE}.lora_down.weight":{{"dtype":"F16","shape":[1,2048],"data_offsets":[0,4096]}},'
        f'"{_MODULE}.lora_up.weight":{{"dtype":"F16","shape":[1280,1],"data_offsets":[4096,6656]}}}}'
    ).encode()
    for number in range(count):
        path = folder / f"{number // _FOLDER}" / f"{number}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(6656))
        path.with_suffix(".civitai.info").write_text('{"baseModel": "Illustrious", "trainedWords": ["ink"]}')


def _known(folder: Path) -> tuple[list[StoredAdapter], dict[str, tuple[int, int]]]:
    """What a library knows of them once they are measured."""
    adapters: list[StoredAdapter] = []
    stamps: dict[str, tuple[int, int]] = {}
    for path in scan([folder]):
        status = path.stat()
        stamps[str(path)] = (status.st_size, status.st_mtime_ns)
        adapters.append(StoredAdapter(f"sha256:{path.stem}", path.stem, "sdxl", (str(path),), AdapterFacts()))
    return adapters, stamps


if __name__ == "__main__":
    main()
