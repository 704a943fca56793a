"""What a site says of one file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from lorascope.library import StoredAdapter


@dataclass(frozen=True)
class Remote:
    """A file at a site.

    Attributes:
        site: The site's name.
        address: Where it is downloaded from.
        name: What it is called there.
        sha256: By which it is checked.
        size: In bytes; 0 where the site does not say.
        version: What Civitai says of it, which is kept beside it.
    """

    site: str
    address: str
    name: str
    sha256: str
    size: int = 0
    version: Mapping[str, Any] = field(default_factory=dict[str, Any])


@runtime_checkable
class Site(Protocol):
    """A site that knows adapters by their files."""

    @property
    def name(self) -> str:
        """As messages and the library call it."""
        ...

    @property
    def batch(self) -> int:
        """How many adapters are asked for in one go."""
        ...

    def claims(self, adapters: Sequence[StoredAdapter]) -> Mapping[str, Mapping[str, Any]]:
        """What it says of some adapters, by key; those that it does not know are left out.

        Raises:
            SiteError: it does not answer as documented.
        """
        ...


def text(value: Any) -> str:
    """A text, or "" for anything else that a site may send."""
    return value.strip() if isinstance(value, str) else ""


def said(**claims: Any) -> dict[str, Any]:
    """The claims that say something."""
    return {name: value for name, value in claims.items() if value not in (None, "", [], ())}
