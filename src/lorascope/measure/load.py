"""From a preset to a worker: the base model and the encoders are found and loaded."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from lorascope.errors import ModelError
from lorascope.families import ARCHITECTURES, architecture, title_of
from lorascope.measure.worker import Worker
from lorascope.protocol import Preset

if TYPE_CHECKING:
    from lorascope.encoders.base import Encoder

FAKE = "fake"
"""The family of the generator and the encoder that cost nothing, for tests and for trying out a set-up."""


def load_worker(
    preset: Preset, *, device: str = "", batch: int = 0, compiled: bool = False, download: bool = False
) -> Worker:
    """Load what a preset names, in this process.

    Args:
        preset: names the base model and the encoders.
        device: a torch device; "" takes the GPU if there is one.
        batch: images rendered at once; 0 takes the preset's.
        compiled: compile the denoiser when it is first used: minutes, then every image is faster.
        download: fetch models that are not on this disk from the Hugging Face hub.

    Raises:
        PromptSetError: a prompt set cannot be read, be it one that only a search needs: hours later is too late.
        ModelError: the base model or an encoder cannot be loaded.

    Examples:
        >>> worker = load_worker(Preset.load("sdxl-paper"), download=True)  # doctest: +SKIP
    """
    from lorascope.measure.local import LocalWorker

    preset.check_prompts()
    if preset.family == FAKE:
        from lorascope.generators.fake import FakeGenerator

        return LocalWorker(preset, FakeGenerator(preset), load_encoders(preset))
    import torch

    if preset.threads:
        torch.set_num_threads(preset.threads)
    generator = _generator_class(preset)(
        preset, device=_usable(device or best_device()), batch=batch, compiled=compiled, download=download
    )  # fmt: skip
    return LocalWorker(preset, generator, load_encoders(preset, device=device, download=download))


def load_encoders(preset: Preset, *, device: str = "", download: bool = False) -> list[Encoder]:
    """Load the encoders of a preset.

    Raises:
        ModelError: one cannot be loaded.
    """
    if FAKE in (preset.family, *preset.encoders):
        from lorascope.encoders.fake import FakeEncoder

        return [FakeEncoder()]
    from lorascope.encoders.dual import DualEncoder

    place = _usable(device or best_device())
    return [DualEncoder(name, device=place, download=download) for name in preset.encoders]


def _generator_class(preset: Preset) -> Any:
    """What renders with a preset's family, by the table of architectures."""
    row = architecture(preset.family)
    if row is None or not row.generator:
        known = ", ".join(row.name for row in ARCHITECTURES if row.generator)
        title = title_of(preset.family)
        raise ModelError(f"preset {preset.name!r}: {title} cannot be measured yet: families measured are {known}")
    module, name = row.generator.split(":")
    return getattr(import_module(module), name)


def best_device() -> str:
    """``cuda`` (NVIDIA, and AMD through ROCm), ``mps`` (Apple), or ``cpu``."""
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _usable(device: str) -> str:
    import torch

    try:
        torch.empty(1, device=device)
    except (AssertionError, RuntimeError) as error:  # torch raises either, by device
        raise ModelError(
            f"device {device!r} cannot be used here ({str(error).splitlines()[0]:.60}): give cuda, mps or cpu;"
            " `lorascope doctor` says what is here"
        ) from error
    return device
