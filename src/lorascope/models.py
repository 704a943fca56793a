"""Where models, caches and the config file are: folders, shipped models and the Hugging Face cache."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Generator, Sequence, Set
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import platformdirs

from lorascope.caches import unfinished
from lorascope.errors import ModelError

SHIPPED = "package:"
_PATTERNS = ["*.json", "*.txt", "*.safetensors"]
_HALF = ".fp16"
_FEWEST_WORDS = 256
"""Of the tokenizer of a whole model."""
_SKIPPED = ["*.fp16.safetensors", "*flax*", "*openvino*", "*onnx*", "sd_xl_base_1.0*.safetensors"]


def cache_dir() -> Path:
    """Where derived files lie: ``$LORASCOPE_CACHE``, or the user's cache folder."""
    return Path(os.environ.get("LORASCOPE_CACHE") or platformdirs.user_cache_path("lorascope"))


def data_dir() -> Path:
    """Where the default library is: ``$LORASCOPE_DATA``, or the user's data folder."""
    return Path(os.environ.get("LORASCOPE_DATA") or platformdirs.user_data_path("lorascope"))


def config_file() -> Path:
    """The file in which `lorascope setup` keeps what it found: ``$LORASCOPE_CONFIG``, or one in the config folder."""
    return Path(os.environ.get("LORASCOPE_CONFIG") or platformdirs.user_config_path("lorascope") / "config.toml")


def remembered(paths: Sequence[Path], salt: str, compute: Callable[[], str]) -> str:
    """A digest over files and ``salt``, remembered by the size and time of each: reading large models takes seconds."""
    stamp = repr([(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in paths])
    memo = cache_dir() / "digests" / hashlib.sha256((stamp + salt).encode()).hexdigest()[:32]
    with contextlib.suppress(OSError, UnicodeDecodeError):
        known = memo.read_text("ascii")
        if known == _checked(digest := known.partition(" ")[0]):
            return digest
    digest = compute()
    with contextlib.suppress(OSError):  # a cache that cannot be written costs time, not correctness
        memo.parent.mkdir(parents=True, exist_ok=True)
        memo.write_text(_checked(digest), "ascii")
    return digest


def _checked(digest: str) -> str:
    """A remembered digest with a checksum behind it, so that a damaged file is not believed."""
    return f"{digest} {hashlib.sha256(digest.encode()).hexdigest()[:16]}"


@contextmanager
def network(*, allowed: bool) -> Generator[None]:
    """Let libraries reach the Hugging Face hub, or make every attempt fail, whatever options they were given.

    diffusers, for one, fetches configurations despite ``local_files_only``.
    """
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or not allowed
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def is_single_file(location: str) -> bool:
    """Whether this is one file of weights, of this disk or in a repository."""
    return location.endswith((".safetensors", ".sft"))


def is_repository(location: str) -> bool:
    """Whether this is a Hugging Face id (owner/name), and no folder of this disk."""
    return location.count("/") == 1 and not location.startswith(("/", ".", "~")) and not Path(location).is_dir()


def find_configuration(repository: str, *, download: bool = False) -> Path:
    """The folder with a repository's configuration files, without its weights.

    Raises:
        ModelError: it is not on this disk (or, with ``download``, cannot be fetched).
    """
    return _snapshot(repository, download=download, patterns=["*.json", "*.txt"])


def find_model(location: str, *, download: bool = False) -> Path:
    """The folder of a model on this disk.

    Args:
        location: a folder; ``package:PATH`` for one that ships with lorascope; or a Hugging Face id.
        download: fetch a Hugging Face model that is not here yet. Nothing is ever fetched otherwise.

    Raises:
        ModelError: it is not on this disk (or, with ``download``, cannot be fetched).
    """
    if location.startswith(SHIPPED):
        folder = Path(str(files("lorascope"))) / location.removeprefix(SHIPPED)
        if not folder.is_dir():
            raise ModelError(f"{location} is not part of this installation: install lorascope again")
        return folder
    if Path(location).is_dir():
        return Path(location)
    if Path(location).is_file():
        raise ModelError(
            f"{location} is no safetensors file: pickles (.ckpt, .pt) are not opened, and GGUF is not read: get the"
            " model as .safetensors"
        )
    if not is_repository(location):
        raise ModelError(f"no folder {location!r}: give an existing model folder or a Hugging Face id (owner/name)")
    converted = cache_dir() / "models" / location.replace("/", "--")
    if converted.is_dir():
        return converted
    folder = _snapshot(location, download=download)
    has_weights = any(folder.rglob("*.safetensors"))
    if not has_weights and download:
        return _convert(location, converted)
    if not has_weights:
        raise ModelError(f"{location} is here, but without safetensors weights: run once with --download")
    return folder


def find_file(location: str, *, download: bool = False) -> Path:
    """A single weights file on this disk.

    Args:
        location: its path; ``package:PATH`` for one that ships with lorascope; or ``owner/name/FILE`` for one in a
            Hugging Face repository.
        download: fetch it if it is not here yet. Nothing is ever fetched otherwise.

    Raises:
        ModelError: it is not on this disk (or, with ``download``, cannot be fetched).
    """
    shipped = location.startswith(SHIPPED)
    path = Path(str(files("lorascope")), location.removeprefix(SHIPPED)) if shipped else Path(location)
    if path.is_file():
        return path
    if location.count("/") < 2 or location.startswith(("/", ".", "~")):
        raise ModelError(f"no file {location!r}: give an existing file, or owner/name/FILE on the Hugging Face hub")
    from huggingface_hub import hf_hub_download

    owner, name, file = location.split("/", 2)
    with _from_hub(location, download=download):
        return Path(hf_hub_download(f"{owner}/{name}", file, local_files_only=not download))


def is_here(location: str) -> bool:
    """Whether a model, a folder or a single file, is on this disk."""
    try:
        find_file(location) if is_single_file(location) else find_model(location)
    except ModelError:
        return False
    return True


def bytes_to_fetch(location: str, *, pipeline: bool = False) -> int:
    """How many bytes of a repository are not on this disk; 0 where the hub does not tell.

    Args:
        location: a Hugging Face id (owner/name), or ``owner/name/FILE``.
        pipeline: it is a base model, of which diffusers takes the half-precision variant if there is one.
    """
    from httpx2 import RequestError
    from huggingface_hub import hf_hub_download, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    owner, name, *rest = location.split("/")
    try:
        if rest:
            files = [hf_hub_download(f"{owner}/{name}", "/".join(rest), dry_run=True)]
        else:
            skipped = None if pipeline else _SKIPPED
            files = snapshot_download(location, dry_run=True, allow_patterns=_PATTERNS, ignore_patterns=skipped)
    except (HfHubHTTPError, RequestError, OSError, ValueError):
        return 0  # the download itself says what is wrong
    half = {one.filename.rpartition("/")[0] for one in files if _HALF in one.filename}
    return sum(
        one.file_size or 0
        for one in files
        if one.will_download
        and not (pipeline and one.filename.endswith(".safetensors") and _unused(one.filename, half))
    )


def _unused(name: str, half: Set[str]) -> bool:
    """Whether diffusers leaves a file of weights alone: folders with a half-precision variant are ``half``."""
    return "/" not in name or (name.rpartition("/")[0] in half and _HALF not in name)


def _snapshot(location: str, *, download: bool, patterns: Sequence[str] = _PATTERNS) -> Path:
    from huggingface_hub import snapshot_download

    with _from_hub(f"the model {location}", download=download):
        return Path(
            snapshot_download(
                location, local_files_only=not download, allow_patterns=list(patterns), ignore_patterns=_SKIPPED
            )
        )


@contextmanager
def _from_hub(what: str, *, download: bool) -> Generator[None]:
    """Say what is wrong with a place on the hub, and what to do."""
    from httpx2 import RequestError  # the client of huggingface_hub
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )

    try:
        yield
    except LocalEntryNotFoundError as error:
        remedy = "check the connection" if download else "run once with --download, or name what is here"
        raise ModelError(f"{what} is not on this disk: {remedy}") from error
    except GatedRepoError as error:
        remedy = "accept its terms on its page, log in with `hf auth login`, and run again"
        raise ModelError(f"{what} is gated: {remedy}") from error
    except RepositoryNotFoundError as error:
        remedy = "check its name, or log in with `hf auth login`"
        raise ModelError(f"{what} is not on the hub, or is private: {remedy}") from error
    except (HFValidationError, HfHubHTTPError, OfflineModeIsEnabled, OSError, RequestError) as error:
        raise ModelError(
            f"{what} could not be fetched ({error}): check its name, the connection and HF_HUB_OFFLINE, and run again:"
            " the files that have arrived are kept"
        ) from error


def is_without_vocabulary(known: int, words: int) -> bool:
    """Whether a tokenizer lost its words: without its files, transformers loads it in silence with a few marks.

    Every text would be the same to it.

    Args:
        known: How many words it knows.
        words: How many its text encoder has.
    """
    return known < min(words / 2, _FEWEST_WORDS)


def _convert(location: str, folder: Path) -> Path:
    """Keep a safetensors copy of a model whose main branch holds pickles only (CLIP ViT-B/32 is one).

    Raises:
        ModelError: there are no safetensors weights or no vocabulary to be had, or the disk does not take them.
    """
    from safetensors import SafetensorError
    from transformers import AutoModel, AutoProcessor

    try:
        parts: tuple[Any, Any] = (
            AutoModel.from_pretrained(location, use_safetensors=True),
            AutoProcessor.from_pretrained(location),
        )
        tokenizer = getattr(parts[1], "tokenizer", None)
        words: int = getattr(parts[0].config.get_text_config(), "vocab_size", 0)
        if tokenizer is not None and is_without_vocabulary(len(tokenizer), words):
            raise ModelError(f"{location} has no vocabulary for its tokenizer: name a folder with the whole model")
        with unfinished(folder.parent) as partial:
            for part in parts:
                part.save_pretrained(partial)
            partial.rename(folder)
    except (OSError, SafetensorError) as error:
        if folder.is_dir():  # another process was first
            return folder
        if isinstance(error, OSError) and error.errno is None:  # transformers' own, which is no trouble with a disk
            raise ModelError(
                f"{location} offers no safetensors weights, or they could not be fetched: check the connection, or name"
                " a folder that holds some"
            ) from error
        raise ModelError(f"{location} cannot be kept in {folder} ({error}): check that disk's space") from error
    return folder
