"""Evidence beyond one disk: embeddings of blocks as immutable objects in a bucket, by what they hold.

An object's name is the SHA-256 of its bytes: the same block has the same name, writing twice changes nothing, and what
is read is checked. The library's own files keep everything else, and for each block the address of its object.
"""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from pathlib import Path
from typing import Any, final

from lorascope.errors import LibraryError, UsageError
from lorascope.extras import optional

SCHEMES = ("s3", "gs", "az", "file")
_REFERENCE = re.compile(rb"object:([0-9a-f]{64}) ([a-z0-9]{2,4}://[!-~]{1,500})")


@final
class ObjectStore:
    """A bucket, or a folder in one. Credentials are those that its own tools find, such as ``AWS_ACCESS_KEY_ID``."""

    def __init__(self, address: str) -> None:
        """Open it. Nothing is written yet.

        Args:
            address: such as ``s3://bucket/folder``, ``gs://bucket``, ``az://container`` or ``file:///path``.

        Raises:
            UsageError: it is no such address.
            LibraryError: it cannot be opened, as where an account is missing.
            MissingExtra: obstore is not installed.
        """
        scheme, _, rest = address.partition("://")
        if scheme not in SCHEMES or not rest.strip("/") or not address.isascii() or len(address) > 500:
            raise UsageError(f"--evidence {address:.80}: give s3://, gs://, az:// or file:///, and a path")
        self.address = address.rstrip("/")
        module = optional("obstore")
        self._lost = (module.exceptions.NotFoundError, FileNotFoundError)
        self._errors = (module.exceptions.BaseError, OSError)
        try:
            self._store = _open(self.address)
        except self._errors as error:
            raise _unreachable(self.address, error) from error

    def put(self, data: bytes) -> bytes:
        """Keep bytes; returns the reference by which :func:`fetched` finds them.

        Raises:
            LibraryError: they cannot be written, after several tries.
        """
        digest = hashlib.sha256(data).hexdigest()
        try:
            self._store.put(_path(digest), data)
        except self._errors as error:
            raise _unreachable(self.address, error) from error
        return f"object:{digest} {self.address}".encode()

    def get(self, digest: str) -> bytes:
        """The bytes of an object.

        Raises:
            LibraryError: it is gone, cannot be read, or is not what it was.
        """
        try:
            data = self._store.get(_path(digest)).bytes().to_bytes()
        except self._errors as error:
            raise _unreachable(self.address, error) from error
        if hashlib.sha256(data).hexdigest() != digest:
            raise LibraryError(
                f"{self.address}/{_path(digest)} is damaged: `lorascope verify` names all blocks that are"
            )
        return data

    def holds(self, digest: str) -> bool:
        """Whether an object is there, and is what it was.

        Raises:
            LibraryError: the store cannot be reached.
        """
        try:
            data = self._store.get(_path(digest)).bytes().to_bytes()
        except self._lost:
            return False
        except self._errors as error:
            raise _unreachable(self.address, error) from error
        return hashlib.sha256(data).hexdigest() == digest


def is_reference(data: bytes) -> bool:
    """Whether a value is a reference to an object instead of its bytes."""
    return _REFERENCE.fullmatch(data) is not None


def fetched(data: bytes) -> bytes:
    """Bytes as they are, or those of the object that they refer to.

    Raises:
        LibraryError: the object is gone, cannot be read, or is not what it was.
    """
    found = _REFERENCE.fullmatch(data)
    return data if found is None else _known(found[2].decode()).get(found[1].decode())


def is_whole(reference: bytes) -> bool:
    """Whether the object of a reference is there, and is what it was.

    Raises:
        LibraryError: its store cannot be reached.
    """
    found = _REFERENCE.fullmatch(reference)
    return found is not None and _known(found[2].decode()).holds(found[1].decode())


@lru_cache(maxsize=8)
def _known(address: str) -> ObjectStore:
    return ObjectStore(address)


def _open(address: str) -> Any:
    store = optional("obstore.store")
    if address.startswith("file://"):
        Path(address.removeprefix("file://")).mkdir(parents=True, exist_ok=True)
    return store.from_url(address)


def _path(digest: str) -> str:
    """Spread over folders, as some stores slow down where thousands of names begin alike."""
    return f"{digest[:2]}/{digest}"


def _unreachable(address: str, error: Exception) -> LibraryError:
    reason = str(error).splitlines()[0]
    return LibraryError(
        f"{address} cannot be reached ({reason:.200}): check the address, account, credentials and the connection"
    )
