"""Finds the parts that a checkpoint lacks: configurations and tokenizers, text encoders, VAEs.

They are looked for in the tool that holds the checkpoint, in the tools of this machine, and in the Hugging Face cache.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from lorascope.adapters import Header, read_header, scan
from lorascope.errors import AdapterError
from lorascope.installations.models import VAE_KEYS
from lorascope.installations.places import Installation, find_installations, tool_around, usual_places
from lorascope.installations.tools import Role

_INDEX = "model_index.json"


@dataclass(frozen=True)
class PartsFinder:
    """Looks for the parts that a checkpoint lacks."""

    checkpoint: Path
    cache: Path

    @cached_property
    def installations(self) -> list[Installation]:
        """The tool that holds the checkpoint, then those of this machine."""
        around = tool_around(self.checkpoint)
        others = find_installations(usual_places(Path.home(), os.environ))
        own = [around] if around else []
        return [*own, *(one for one in others if not own or one.root.resolve() != own[0].root.resolve())]

    @property
    def places(self) -> list[Path]:
        """The folders that are looked through for text encoders and VAEs."""
        return [folder for role in ("encoders", "vaes") for folder in self._folders(role)]

    def configuration(self, repository: str) -> Path | None:
        """A copy of a repository of the hub with its configuration: under the same name, whoever mirrors it."""
        name = repository.rpartition("/")[2]
        patterns = [(self.cache, f"models--*--{name}/snapshots/*")]
        for role in ("configurations", "checkpoints"):
            patterns += [(folder, place) for folder in self._folders(role) for place in (name, f"*/{name}")]
        for folder, pattern in patterns:
            for index in sorted(folder.glob(f"{pattern}/{_INDEX}")):
                return index.parent
        return None

    def text_encoders(self) -> Iterator[tuple[Path, Header]]:
        """Yield the files of text encoders, the largest first, which are the most precise."""
        yield from self._files("encoders")

    def autoencoders(self, names: tuple[str, ...], channels: int) -> Iterator[Path]:
        """Yield the files that hold a VAE alone, the largest first.

        Args:
            names: How such files are called, in lower case without punctuation: VAEs of several architectures have the
                same tensors, so the name decides.
            channels: Of its latents.
        """
        for path, header in self._files("vaes"):
            stem = "".join(letter for letter in path.stem.lower() if letter.isalnum())
            called = any(stem == name or (len(name) > 2 and stem.startswith(name)) for name in names)
            alone = all(key in header.tensors for key in VAE_KEYS)
            if called and alone and header.tensors[VAE_KEYS[0]].shape[1] == channels:
                yield path

    def _folders(self, role: Role) -> list[Path]:
        return [folder for one in self.installations for folder in one.folders(role)]

    def _files(self, role: Role) -> list[tuple[Path, Header]]:
        found: list[tuple[Path, Header]] = []
        for path in scan(self._folders(role), follow_links=True):
            try:
                found.append((path, read_header(path)))
            except AdapterError:  # nobody named it
                continue
        return sorted(found, key=lambda one: (-one[1].size, one[0]))
