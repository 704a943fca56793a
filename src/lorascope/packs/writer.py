"""Writing a pack: what of a library is shared, and what is left out."""

from __future__ import annotations

import dataclasses
import re
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import lorascope
from lorascope.caches import unfinished
from lorascope.errors import LibraryError, OutputError, UsageError
from lorascope.extras import require
from lorascope.library import BARE, Library, StoredAdapter, StoredProtocol
from lorascope.library.published import export_row, export_schema, measured_under
from lorascope.models import SHIPPED
from lorascope.packs import directory, manifest, minisig
from lorascope.packs.card import card
from lorascope.packs.directory import Entry, ListedPack, prefix, write_directory
from lorascope.packs.manifest import Baseline, Manifest
from lorascope.packs.reader import PREVIEWS, SIGNATURES, VECTORS, calibration_name
from lorascope.packs.tables import described, write_table
from lorascope.protocol import Preset, Protocol

CONTENTS = ("previews", "calibration", "baseline", "vectors", "names", "prompts")
"""What is shared only if it is asked for."""
TEXTS = ("words", "weight")
"""Columns for people, which are made by the analyses."""
GROUP = 64
"""Adapters of a row group, which is fetched as one: who asks for one of them asks for all."""
_BATCH = 10 * GROUP
_HUB = re.compile(r"[\w.-]+/[\w.-]+")
_AIR = {"sd15": "sd1", "sd2": "sd2", "sdxl": "sdxl", "sd3": "sd3", "flux": "flux1"}
"""How AIR, Civitai's names of resources, call an architecture."""
_PROMPT_SETS = ("prompts", "query_prompts", "reference", "judged_prompts", "vocabulary")
_OWN = "own prompts, not shared"


@dataclass(frozen=True)
class Draft:
    """A pack that is not written yet.

    Attributes:
        stored: The Protocol whose signatures are shared.
        keys: The adapters.
        contents: What is shared beside signatures, of :data:`CONTENTS`.
        title: What it is called.
        texts: Further columns for people, such as ``words``: a text by key.
    """

    library: Library
    stored: StoredProtocol
    keys: tuple[str, ...]
    contents: Set[str]
    title: str
    texts: Mapping[str, Mapping[str, str]]

    def summary(self) -> list[str]:
        """What it holds and what it leaves out, a sentence a line."""
        stored, contents = self.stored, self.contents
        own = _own_prompts(stored.preset)
        shared = [
            f"signatures of {len(self.keys)} adapters under {stored.protocol}: SHA-256, Direction, figures with their"
            " intervals, trigger words that were used, and Civitai's title and numbers where they are known",
            "the whole Protocol, with its quality words and negative prompt, and the Executions: devices and versions",
        ]
        shared += ["what each adapter does in words"] if "words" in self.texts else []
        shared += ["the weight that is advised for each adapter whose curve is known"] if "weight" in self.texts else []
        shared += ["pictures"] if "previews" in contents else []
        shared += ["the Calibrations that Directions were estimated by"] if "calibration" in contents else []
        shared += ["vectors of common phrases, which find them without the encoder"] if "vectors" in contents else []
        shared += ["the mean embedding of the bare model"] if "baseline" in contents else []
        shared += ["the names of files and of local models"] if "names" in contents else []
        shared += ["the prompts of the pictures"] if "prompts" in contents and own else []
        left = ["folders, descriptions, what is claimed by other sources than Civitai"]
        left += [] if "names" in contents else ["the names of files and of local models"]
        left += [] if "prompts" in contents or not own else ["your own prompts"]
        return [*(f"It holds {line}." for line in shared), f"It leaves out {'; '.join(left)}."]

    def write(self, folder: Path, key: Path | None = None) -> Manifest:
        """Write the pack, whole or not at all; an earlier one in the same folder is replaced.

        Args:
            folder: where; made if it does not exist.
            key: a secret key of minisign to sign it with.

        Raises:
            MissingExtra: pyarrow, or for a signature py-minisign, is not installed.
            LibraryError: a row of the library is damaged, or the key cannot be read.
            OutputError: the folder cannot be written, or holds something else.
        """
        require("parquet")
        if (
            folder.exists()
            and not (folder / manifest.NAME).is_file()
            and (not folder.is_dir() or any(folder.iterdir()))
        ):
            raise OutputError(f"{folder} holds something else than a pack: name another folder")
        try:
            with unfinished(folder.absolute().parent) as partial:
                partial.mkdir()
                found = self._write(partial, key)
                if folder.exists():
                    shutil.rmtree(folder)
                partial.replace(folder)
        except OSError as error:
            raise OutputError(
                f"{folder} cannot be written ({error.strerror or error}): choose another place"
            ) from error
        return found

    def _write(self, folder: Path, key: Path | None) -> Manifest:
        stored, library = self.stored, self.library
        protocol, preset = anonymous(stored, self.contents)
        executions = library.evidence.executions(stored.protocol.digest) if library.has_evidence else {}
        metadata = measured_under(protocol, preset)
        write_table(folder / SIGNATURES, self._schema(), self._rows(executions), GROUP, metadata)
        prefixes = [(prefix(key), place // GROUP) for place, key in enumerate(self.keys)]
        entries = [Entry(found, 0, group) for found, group in prefixes if found is not None]
        write_directory(folder / directory.NAME, [ListedPack("", "")], entries)
        if "previews" in self.contents:
            write_table(folder / PREVIEWS, _preview_schema(), self._previews(), GROUP, {})
        for digest in self._calibrations() if "calibration" in self.contents else ():
            calibration = library.protocols.calibration(digest)
            if calibration is not None:
                (folder / calibration_name(digest)).write_bytes(calibration.to_bytes())
        if "vectors" in self.contents:
            write_table(folder / VECTORS, _vector_schema(), self._vectors(), GROUP, {})
        mean = library.protocols.baseline_mean(stored.protocol.digest) if "baseline" in self.contents else None
        used = sorted({digest for key in self.keys for digest in executions.get(key, ())})
        found = Manifest(
            title=self.title,
            made_by=f"lorascope {lorascope.__version__}",
            made=time.strftime("%Y-%m-%d"),
            adapters=len(self.keys),
            protocol=protocol,
            preset=preset,
            executions=tuple(library.protocols.execution(digest) for digest in used),
            files=tuple(described(path, parts=path.name == SIGNATURES) for path in sorted(folder.iterdir())),
            baseline=None if mean is None else Baseline(0, mean),
        )
        text = found.to_json().encode()
        (folder / manifest.NAME).write_bytes(text)
        (folder / "README.md").write_text(card(found, signed=key is not None), "utf-8")
        if key is not None:
            (folder / minisig.NAME).write_bytes(minisig.sign(text, key, self.title))
        return found

    def _schema(self) -> dict[str, Any]:
        import pyarrow

        text = pyarrow.string()
        added = {"autov2": text, "air": text, "measured_words": text, "executions": pyarrow.list_(text)}
        return export_schema() | added | dict.fromkeys(self.texts, text)

    def _rows(self, executions: Mapping[str, tuple[str, ...]]) -> Iterator[dict[str, Any]]:
        protocol = self.stored.protocol
        for first in range(0, len(self.keys), _BATCH):
            keys = self.keys[first : first + _BATCH]
            adapters, signatures = self.library.adapters.get(keys), self.library.signatures.get(protocol.digest, keys)
            for key in keys:
                adapter = adapters[key]
                yield export_row(_anonymous_adapter(adapter, self.contents), signatures[key]) | {
                    "autov2": _autov2(key),
                    "air": _air(adapter),
                    "measured_words": adapter.facts.measured_words.get(protocol.scene),
                    "executions": list(executions.get(key, ())),
                    **{name: texts.get(key) for name, texts in self.texts.items()},
                }

    def _calibrations(self) -> list[str]:
        """The digests of those that the signatures name."""
        found: set[str] = set()
        for first in range(0, len(self.keys), _BATCH):
            keys = self.keys[first : first + _BATCH]
            stored = self.library.signatures.get(self.stored.protocol.digest, keys).values()
            found |= {one.signature.calibration for one in stored if one.signature.calibration}
        return sorted(found)

    def _vectors(self) -> Iterator[dict[str, Any]]:
        for phrase, (vector, share) in self.library.phrases.all(self.stored.protocol.digest).items():
            yield {"phrase": phrase, "vector": vector.tobytes(), "consistency": share}

    def _previews(self) -> Iterator[dict[str, Any]]:
        hidden = _own_prompts(self.stored.preset) and "prompts" not in self.contents
        for key in (BARE, *self.keys):
            scene = self.library.previews.scene(self.stored.protocol, key)
            for one in self.library.previews.all(scene, key):
                yield {"key": key, "scene": scene, **vars(one)} | ({"prompt": ""} if hidden else {})


def draft(
    library: Library,
    *,
    protocol: str = "",
    only: Sequence[str] = (),
    contents: Set[str] = frozenset(),
    title: str = "",
    texts: Mapping[str, Mapping[str, str]] | None = None,
) -> Draft:
    """Choose what a pack will hold.

    Args:
        library: what is shared from.
        protocol: which Protocol, by name or digest; the active one by default.
        only: adapters by name, path or start of the key; all by default.
        contents: what is shared beside signatures, of :data:`CONTENTS`.
        title: what it is called; the Protocol's name by default.
        texts: further columns for people, such as ``words``: a text by key.

    Raises:
        UsageError: there is no such content.
        LibraryError: there is no such Protocol or adapter, none of them has a signature under it, or vectors are to be
            shared and there are none.
    """
    if odd := sorted(contents - set(CONTENTS)):
        raise UsageError(f"--with {odd[0]}: use {', '.join((*CONTENTS, *TEXTS))}")
    stored = library.protocols.find(protocol)
    if "vectors" in contents and not library.phrases.all(stored.protocol.digest):
        raise LibraryError(
            f"{library.path} has no vectors of phrases under {stored.protocol}: run `lorascope describe` where the"
            " encoder is"
        )
    measured = library.signatures.precisions(stored.protocol.digest)
    chosen = {library.adapters.find(name).key for name in only} if only else set(measured)
    if lacking := sorted(chosen - set(measured)):
        raise LibraryError(f"{lacking[0]} has no signature under {stored.protocol}: index it first")
    if not chosen:
        raise LibraryError(f"{library.path} has no signatures under {stored.protocol}: index a folder first")
    return Draft(library, stored, tuple(sorted(chosen)), contents, title or stored.protocol.name, texts or {})


def anonymous(stored: StoredProtocol, contents: Set[str]) -> tuple[Protocol, Preset]:
    """A Protocol and its preset without places of this disk. Digests are over the models, so they stay as they are."""
    protocol, preset = stored.protocol, stored.preset
    local = {"names": "names" in contents}
    changes = {"base": _location(preset.base, **local), "vae": _location(preset.vae, **local),
               "accelerator": _location(preset.accelerator, **local),
               "encoders": tuple(_location(one, **local) for one in preset.encoders)}  # fmt: skip
    prompts = {name: _OWN for name in _PROMPT_SETS if not _shipped(getattr(preset, name))}
    base = _location(protocol.base, **local) if protocol.base_digest else protocol.base
    encoder = _location(protocol.encoder, **local) if protocol.encoder_digest else protocol.encoder
    return (
        dataclasses.replace(protocol, base=base, encoder=encoder),
        dataclasses.replace(preset, **(changes | prompts)),
    )


def _location(location: str, *, names: bool) -> str:
    """Where a model is, as others may know it: a name on the hub, or that it was on a disk."""
    if not location or location.startswith(SHIPPED) or (_HUB.fullmatch(location) and not Path(location).exists()):
        return location
    return re.split(r"[/\\]", location.rstrip("/\\"))[-1] if names else "a file of its maker's"


def _shipped(prompts: str) -> bool:
    return (files("lorascope") / "prompts" / f"{prompts}.toml").is_file()


def _own_prompts(preset: Preset) -> bool:
    return not _shipped(preset.prompts)


def _anonymous_adapter(adapter: StoredAdapter, contents: Set[str]) -> StoredAdapter:
    """An adapter by what Civitai calls it, or by its AutoV2, unless names are shared."""
    public = ("civitai_model", "civitai_version", "nsfw_level", "triggers")
    known = adapter.claimed("civitai_version") is not None
    claims = {name: claim for name, claim in adapter.facts.claims.items() if known and name in public}
    title = adapter.claimed("title") if known else None
    name = adapter.name if "names" in contents else title or _autov2(adapter.key) or adapter.key
    facts = dataclasses.replace(adapter.facts, claims=claims, folder_name=None)
    return dataclasses.replace(adapter, name=name, paths=(), facts=facts)


def _autov2(key: str) -> str | None:
    """The first ten hex digits of a file's SHA-256, as A1111 and Civitai write it."""
    return key[7:17].upper() if key.startswith("sha256:") else None


def _air(adapter: StoredAdapter) -> str | None:
    """The name of an adapter on Civitai as an AIR, where it is known."""
    model, version = adapter.claimed("civitai_model"), adapter.claimed("civitai_version")
    base = _AIR.get(adapter.family)
    return f"urn:air:{base}:lora:civitai:{model}@{version}" if model and version and base else None


def _vector_schema() -> dict[str, Any]:
    import pyarrow

    return {"phrase": pyarrow.string(), "vector": pyarrow.binary(), "consistency": pyarrow.float64()}


def _preview_schema() -> dict[str, Any]:
    import pyarrow

    text, whole = pyarrow.string(), pyarrow.int64()
    return {"key": text, "scene": text, "place": whole, "prompt": text, "seed": whole, "webp": pyarrow.binary()}
