"""Every error of lorascope, so that one ``except LorascopeError`` catches what a person can put right.

    LorascopeError
    ├── AdapterError(path, reason, remedy)      one file that cannot be measured; ``code``
    │   ├── UnreadableAdapter    unreadable         missing, no permission, a folder, an odd name
    │   ├── NotSafetensors       not-safetensors    empty, HTML, JSON, GGUF, a zip archive
    │   ├── PickleRefused        pickle             a pickle under any extension: it could run code
    │   ├── TruncatedAdapter     truncated          shorter than its header says
    │   ├── BadHeader            bad-header         invalid JSON, duplicate keys, overlapping tensors
    │   ├── MalformedAdapter     malformed          integer weights, half a pair, shapes that do not fit
    │   ├── NotFinite            not-finite         NaN or infinity among the weights
    │   ├── NoEffect             no-effect          every weight that could act is zero, or lost in rounding
    │   ├── UnknownAdapter       unknown-format     no known key format, or keys of two formats or families
    │   ├── WrongBase            wrong-base         made for another base model
    │   ├── PartialMatch         partial-match      only some of its keys belong to the base model
    │   └── ChangedAdapter       changed            not the file it was when it was first read
    ├── ConfigError
    ├── ProtocolError
    ├── PromptSetError
    ├── LibraryError
    ├── CalibrationError
    ├── QueryError
    ├── ModelError
    ├── MissingExtra
    ├── OutputError
    ├── ServerError
    ├── SiteError
    └── UsageError

An adapter error's ``code``, the middle column, is a short word that is stored with the refusal. A
message names the thing, the value that was found and what to do about it.

Texts and places that reach an error or the store pass :func:`printable` and :func:`place_of`: names of files are bytes,
and JSON may spell what no text can hold.
"""

import os
import re
from pathlib import Path
from typing import ClassVar, Final

__all__ = [
    "AdapterError", "BadHeader", "CalibrationError", "ChangedAdapter", "ConfigError", "LibraryError", "LorascopeError",
    "MalformedAdapter", "MissingExtra", "ModelError", "NoEffect", "NotFinite", "NotSafetensors", "OutputError",
    "PartialMatch", "PickleRefused", "PromptSetError", "ProtocolError", "QueryError", "ServerError", "SiteError",
    "TruncatedAdapter", "UnknownAdapter", "UnreadableAdapter", "UsageError", "WrongBase",
]  # fmt: skip


HALF: Final = re.compile("[\ud800-\udfff]")
"""What UTF-8 cannot hold: half of a character, as JSON may spell one, or what stands for a byte of an old encoding."""


def printable(text: str) -> str:
    """Escape what UTF-8 cannot hold: bytes of names that an old archive left behind, lone surrogates out of JSON."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def place_of(path: Path | str) -> str:
    """Where a file is, as it is stored and printed: absolute and without ``..``, so that it has one spelling."""
    return printable(os.path.abspath(path))  # noqa: PTH100 - Path.absolute keeps "..", and Path.resolve follows links


class LorascopeError(Exception):
    """The root: anything that lorascope raises on purpose.

    Examples:
        >>> from lorascope import Library
        >>> try:
        ...     Library("absent.db")
        ... except LorascopeError as error:
        ...     print(type(error).__name__)
        LibraryError
    """


def code_of(error: BaseException) -> str:
    """A word for programs: its ``code``, or else the name of its class, ``query-error`` for ``QueryError``."""
    kind = "".join(f"-{c.lower()}" if c.isupper() else c for c in type(error).__name__).lstrip("-")
    return getattr(error, "code", kind)


# --- adapters ---------------------------------------------------------------------------------------------


class AdapterError(LorascopeError):
    """One adapter file that cannot be measured. Abstract: one of its subclasses is raised.

    Args:
        path: The file, or a name for bytes that are in memory only.
        reason: What was found, with the value.
        remedy: What a person can do about it.
    """

    code: ClassVar[str] = "adapter"

    def __init__(self, path: Path | str, reason: str, remedy: str) -> None:
        # All arguments go to the base class: that is what lets the exception travel between processes.
        super().__init__(path, reason, remedy)
        self.path = Path(path)
        self.reason = reason
        self.remedy = remedy

    @property
    def place(self) -> str:
        """The absolute path as text that can be stored and printed, whatever bytes the name is made of."""
        return place_of(self.path)

    def __str__(self) -> str:
        """Return one line: the file, what is wrong with it, what to do."""
        return printable(f"{self.path}: {self.reason}. {self.remedy}")


class UnreadableAdapter(AdapterError):
    """The file cannot be opened: missing, no permission, a folder, a loop of links, a name that is no UTF-8."""

    code: ClassVar[str] = "unreadable"


class NotSafetensors(AdapterError):
    """The bytes are something else: nothing at all, a web page, JSON, GGUF, an archive."""

    code: ClassVar[str] = "not-safetensors"


class PickleRefused(AdapterError):
    """A pickle, whatever its extension. Opening one can run code, so it is never opened."""

    code: ClassVar[str] = "pickle"


class TruncatedAdapter(AdapterError):
    """The file ends before its header says that it should."""

    code: ClassVar[str] = "truncated"


class BadHeader(AdapterError):
    """The header contradicts itself or the format."""

    code: ClassVar[str] = "bad-header"


class MalformedAdapter(AdapterError):
    """A safetensors file whose tensors do not make an adapter."""

    code: ClassVar[str] = "malformed"


class NotFinite(AdapterError):
    """NaN or infinity among the weights: the images would be noise or black."""

    code: ClassVar[str] = "not-finite"


class NoEffect(AdapterError):
    """The adapter is zero, or lost in rounding when it is merged: it cannot change an image."""

    code: ClassVar[str] = "no-effect"


class UnknownAdapter(AdapterError):
    """No known key format, or keys of two formats or two base families in one file."""

    code: ClassVar[str] = "unknown-format"


class WrongBase(AdapterError):
    """The adapter was made for another base model than the one that is loaded.

    Args:
        path: The file.
        found: What the adapter is made for, in words.
        expected: What the loaded model is, in words.
        detail: The key or shape that shows it.
    """

    code: ClassVar[str] = "wrong-base"

    def __init__(self, path: Path | str, found: str, expected: str, detail: str = "") -> None:
        reason = f"made for {found}, but the base model is {expected}" + (f" ({detail})" if detail else "")
        super().__init__(path, reason, "Measure it with the base model it was trained on (--preset, --base)")
        self.args = (path, found, expected, detail)
        self.found = found
        self.expected = expected


class PartialMatch(AdapterError):
    """Only some of the adapter's modules exist in the base model.

    Args:
        path: The file.
        unmatched: The keys that belong to nothing in the base model.
        matched: How many modules do belong.
        total: How many modules the adapter has.
    """

    code: ClassVar[str] = "partial-match"

    def __init__(self, path: Path | str, unmatched: tuple[str, ...], matched: int, total: int) -> None:
        shown = ", ".join(unmatched[:5]) + (f" and {len(unmatched) - 5} more" if len(unmatched) > 5 else "")
        reason = f"{matched} of {total} modules match the base model; unmatched keys: {shown}"
        super().__init__(path, reason, "Use the base model it was made for, or allow a partial load (--partial)")
        self.args = (path, unmatched, matched, total)
        self.unmatched = unmatched
        self.matched = matched
        self.total = total


class ChangedAdapter(AdapterError):
    """The file is no longer the one that was first read under this name."""

    code: ClassVar[str] = "changed"


# --- the config file, protocols and prompt sets -----------------------------------------------------------


class ConfigError(LorascopeError):
    """The config file cannot be read, or says what cannot be meant."""


class ProtocolError(LorascopeError):
    """A Protocol that cannot be, or two that were about to be mixed."""


class PromptSetError(LorascopeError):
    """A prompt set that breaks a rule of prompt sets."""


# --- the library and search -------------------------------------------------------------------------------


class LibraryError(LorascopeError):
    """The store cannot be opened, read or written."""


class CalibrationError(LorascopeError):
    """A Calibration of the estimator cannot be fitted, read or used."""


class QueryError(LorascopeError):
    """A query that cannot be asked."""


# --- models and extras ------------------------------------------------------------------------------------


class ModelError(LorascopeError):
    """A base model or an encoder that cannot be loaded."""


class MissingExtra(LorascopeError):
    """An optional dependency that is not installed."""


class OutputError(LorascopeError):
    """A file that was asked for and cannot be written: a sheet, a report, an export."""


# --- the server -------------------------------------------------------------------------------------------


class ServerError(LorascopeError):
    """A server that cannot be started as it was asked for."""


# --- sites of others ----------------------------------------------------------------------------------------


class SiteError(LorascopeError):
    """A site that does not answer, refuses, or sends something else than it should."""


# --- the command line -------------------------------------------------------------------------------------


class UsageError(LorascopeError):
    """A command line that cannot be understood: an unknown option, a missing or an empty argument."""
