"""Encoders by name: CLIP for queries without torch, everything else through transformers."""

from __future__ import annotations

from pathlib import Path

from lorascope.encoders.base import Encoder, PictureEncoder, TextEncoder
from lorascope.encoders.fake import FakeEncoder
from lorascope.encoders.text import ClipText
from lorascope.encoders.vision import ClipVision
from lorascope.encoders.weights import read_config
from lorascope.models import find_model


def _load_both(location: str, *, download: bool) -> Encoder:
    """Both halves of an encoder, on the processor.

    Raises:
        ModelError: it is not on this disk, incomplete, or has no image and text features.
    """
    if location == FakeEncoder.name:
        return FakeEncoder()
    from lorascope.encoders.dual import DualEncoder

    return DualEncoder(location, device="cpu", download=download)


def load_text_encoder(location: str, *, download: bool = False) -> TextEncoder:
    """The text half of an encoder.

    Raises:
        ModelError: it is not on this disk, or incomplete.
    """
    folder = _clip_folder(location, download=download)
    return ClipText(folder, location) if folder else _load_both(location, download=download)


def load_picture_encoder(location: str, *, download: bool = False) -> PictureEncoder:
    """The image half of an encoder.

    Raises:
        ModelError: it is not on this disk, or incomplete.
    """
    folder = _clip_folder(location, download=download)
    return ClipVision(folder, location) if folder else _load_both(location, download=download)


def _clip_folder(location: str, *, download: bool) -> Path | None:
    """The folder of a CLIP model; None for every other encoder."""
    if location == FakeEncoder.name:
        return None
    folder = find_model(location, download=download)
    return folder if read_config(folder).get("model_type") == "clip" else None
