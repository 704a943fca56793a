"""A worker behind the API of a ComfyUI that runs already."""

from __future__ import annotations

import dataclasses
import glob
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from lorascope.adapters import sha256
from lorascope.generators.comfyui import ComfyGenerator, ComfyServer
from lorascope.generators.workflow import Workflow
from lorascope.measure.load import load_encoders
from lorascope.measure.local import LocalWorker
from lorascope.measure.worker import Worker
from lorascope.models import remembered
from lorascope.protocol import Preset

Servers = Callable[[str], ComfyServer]


def hashes_of(names: Iterable[str], folders: Sequence[Path]) -> dict[str, str]:
    """The SHA-256 of models by the names that ComfyUI has for them, of those whose files are in some folders.

    A name that fits several files there belongs to none.
    """
    found: dict[str, str] = {}
    for name in names:
        tail = name.replace("\\", "/")
        paths = [
            path
            for folder in folders
            for path in folder.rglob(glob.escape(tail.rpartition("/")[2]))
            if path.as_posix().endswith(f"/{tail}") and path.is_file()
        ]
        if len({path.resolve() for path in paths}) == 1:
            found[name] = remembered(paths[:1], "sha256", lambda path=paths[0]: sha256(path))
    return found


def worker_through(
    preset: Preset,
    address: str,
    workflow: Path,
    nodes: Mapping[str, str],
    *,
    hashes: Mapping[str, str] | None = None,
    device: str = "",
    download: bool = False,
    connect: Servers = ComfyServer,
) -> Worker:
    """A worker that renders by a ComfyUI and embeds here.

    The Protocol is that of the workflow: its nodes, settings and models and the server's version decide its digest.
    Prompts, seeds, encoders and thresholds are the preset's.

    Args:
        preset: what is asked, and who looks.
        address: of ComfyUI, such as ``http://127.0.0.1:8188``.
        workflow: a file in the API's format.
        nodes: node by role, where their types do not tell it.
        hashes: the SHA-256 of the models that it names (see :func:`hashes_of`); of others their names count.
        device: a torch device for the encoders.
        download: fetch encoders that are not on this disk.
        connect: makes the connection.

    Raises:
        ProtocolError: the workflow does not say what it has to.
        ModelError: ComfyUI does not answer, or an encoder cannot be loaded.
    """
    read = Workflow.load(workflow, nodes)
    width, height = read.size
    changed = dataclasses.replace(
        preset, name=f"{preset.name}-{workflow.stem}", base=f"ComfyUI, {workflow.name}", vae="", accelerator="",
        width=width, height=height, batch=1, noise="cell",
    )  # fmt: skip
    changed.check_prompts()
    generator = ComfyGenerator(changed, read, connect(address), hashes)
    return LocalWorker(changed, generator, load_encoders(changed, device=device, download=download))
