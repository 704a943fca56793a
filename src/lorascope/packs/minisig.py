"""Signatures over manifests, in the format of minisign (https://jedisct1.github.io/minisign/)."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Any

from lorascope.errors import LibraryError
from lorascope.extras import require

NAME = "manifest.json.minisig"
LARGEST = 4096
"""Bytes of a signature."""


def sign(data: bytes, key: Path, name: str) -> bytes:
    """Sign a manifest with a secret key of minisign; a key with a password asks for it.

    Raises:
        MissingExtra: py-minisign is not installed.
        LibraryError: the key cannot be read, or the password is wrong.
    """
    minisign = _minisign()
    try:
        with minisign.SecretKey.from_file(key) as secret:
            if secret.is_encrypted():
                secret.decrypt(getpass.getpass(f"Password of {key}: "))
            return bytes(secret.sign(data, trusted_comment=name)) + b"\n"
    except (OSError, EOFError, minisign.Error, ValueError) as error:
        raise LibraryError(f"{key} cannot sign ({error}): give a secret key that `minisign -G` made") from error


def verify(data: bytes, signature: bytes | None, key: str, source: str) -> str:
    """Check that a manifest was signed by a public key.

    Args:
        data: the manifest.
        signature: the file beside it, or None.
        key: the public key as base64, or the path of its file.
        source: what the pack is called in messages.

    Returns:
        The key as base64.

    Raises:
        MissingExtra: py-minisign is not installed.
        LibraryError: it was not.
    """
    minisign = _minisign()
    try:
        path = Path(key).expanduser()
        public = minisign.PublicKey.from_file(path) if path.is_file() else minisign.PublicKey.from_base64(key)
    except (OSError, minisign.Error, ValueError) as error:
        raise LibraryError(
            f"{key!r:.80} is no public key of minisign ({error}): give RW... or its .pub file"
        ) from error
    if signature is None:
        raise LibraryError(f"{source} is not signed: ask its maker for {NAME}, or pull it without --signed-by")
    try:
        public.verify(data, minisign.Signature.from_bytes(signature))
    except (minisign.Error, ValueError) as error:
        raise LibraryError(
            f"{source} is not signed by that key, or was changed since ({error}): nothing was taken over"
        ) from error
    return public.to_base64().decode("ascii")


def _minisign() -> Any:
    require("sign")
    import minisign

    return minisign
