"""All models of the tools that were found, each file once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from lorascope.adapters import Adapter, read_adapter, scan
from lorascope.errors import AdapterError, printable
from lorascope.installations.models import Checkpoint, cached_pipelines, is_vae, read_checkpoint, read_pipeline
from lorascope.installations.places import Installation, identity_of
from lorascope.installations.tools import Role

_COUNTED: Final[tuple[Role, ...]] = ("adapters", "checkpoints", "vaes")
"""What is read and shown; the others are looked at when a checkpoint lacks a part."""
Step = Callable[[Path], None]
"""Called with each file that is read."""


@dataclass
class Inventory:
    """The models of some installations.

    Attributes:
        folders: The folders of adapters, each once.
        adapters: What could be read as an adapter.
        checkpoints: The base models, files before what the Hugging Face cache holds.
        vaes: Files that hold nothing but a VAE.
        unread: Files in the adapters' folders that could not be read as one, and why.
        counts: For each installation its adapters, checkpoints and VAEs.
        notes: Folders and files that were left out, and why.
    """

    folders: list[Path] = field(default_factory=list)
    adapters: list[Adapter] = field(default_factory=list)
    checkpoints: list[Checkpoint] = field(default_factory=list)
    vaes: list[Path] = field(default_factory=list)
    unread: list[AdapterError] = field(default_factory=list)
    counts: list[tuple[Installation, int, int, int]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def counts_so_far(self) -> tuple[int, int, int]:
        """Return how many adapters, checkpoints and VAEs there are."""
        return len(self.adapters), len(self.checkpoints), len(self.vaes)


def take_inventory(
    installations: Iterable[Installation], cache: Path | None = None, step: Step = lambda _: None
) -> Inventory:
    """Read the headers of all files in the folders of installations; a folder that two of them share counts once."""
    inventory = Inventory()
    seen: dict[tuple[int, int], Installation] = {}
    roots: set[tuple[int, int] | None] = set()
    for installation in installations:
        root = identity_of(installation.root)
        if root in roots:  # named, and in one of the usual places
            continue
        roots.add(root)
        before = inventory.counts_so_far()
        inventory.notes += installation.notes
        own = {identity_of(path): path for role, path in installation.places if role in _COUNTED}
        for identity, path in own.items():
            if identity is None:
                continue
            if (other := seen.get(identity)) is not None:
                where = f"{other.tool} ({printable(str(other.root))})"
                inventory.notes.append(f"{printable(str(path))} is also a folder of {where}: counted there")
                continue
            seen[identity] = installation
            _read(path, installation, inventory, step)
        adapters, checkpoints, vaes = (now - then for now, then in zip(inventory.counts_so_far(), before, strict=True))
        inventory.counts.append((installation, adapters, checkpoints, vaes))
    if cache is not None:
        inventory.checkpoints += cached_pipelines(cache)
    return inventory


def _read(folder: Path, installation: Installation, inventory: Inventory, step: Step) -> None:
    """Read one folder. In one that holds several kinds, whatever is none of them is passed over."""
    roles: set[Role] = {role for role, path in installation.places if path == folder}
    mixed = len(roles) > 1
    if roles == {"adapters"}:
        inventory.folders.append(folder)
    if "checkpoints" in roles:
        inventory.checkpoints += _pipelines(folder)
    for path in scan([folder], lambda error: inventory.notes.append(str(error))):
        step(path)
        try:
            _sort(path, roles, inventory)
        except AdapterError as error:
            if roles == {"adapters"}:
                inventory.unread.append(error)
            elif not mixed:
                inventory.notes.append(str(error))


def _sort(path: Path, roles: set[Role], inventory: Inventory) -> None:
    """Put a file where it belongs: it is one of the kinds that its folder holds, or none.

    Raises:
        AdapterError: It cannot be read.
    """
    if "checkpoints" in roles and (checkpoint := read_checkpoint(path)):
        inventory.checkpoints.append(checkpoint)
    elif "vaes" in roles and is_vae(path):
        inventory.vaes.append(path)
    elif "adapters" in roles:
        inventory.adapters.append(read_adapter(path))
        if path.parent not in inventory.folders and len(roles) > 1:
            inventory.folders.append(path.parent)
    elif "checkpoints" in roles:
        with suppress(AdapterError):
            found = "+".join(read_adapter(path).kinds)
            inventory.notes.append(
                f"{printable(str(path))} is no base model ({found}): move it to where your LoRAs are"
            )


def _pipelines(folder: Path) -> list[Checkpoint]:
    """The folders of diffusers in a folder of checkpoints, or one level deeper."""
    indexes = [*folder.glob("*/model_index.json"), *folder.glob("*/*/model_index.json")]
    return [found for index in sorted(indexes) if (found := read_pipeline(index.parent))]
