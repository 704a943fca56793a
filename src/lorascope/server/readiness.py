"""Whether a run can begin: which preset it would measure with, and which of its models are not on this disk."""

from __future__ import annotations

import dataclasses

from lorascope.installations import UserConfig
from lorascope.library import Library
from lorascope.models import config_file, is_here
from lorascope.protocol import Preset

_USUAL = "sdxl-paper"
_FAKE = "fake"
"""The family that needs no models."""
_SIZES = {
    "stabilityai/stable-diffusion-xl-base-1.0": "about 14 GB",
    "madebyollin/sdxl-vae-fp16-fix": "0.34 GB",
    "openai/clip-vit-base-patch32": "0.6 GB",
}
"""What is fetched, as docs/install.md says."""


@dataclasses.dataclass(frozen=True)
class MissingModel:
    """A model that is not on this disk, and how much there is to fetch; "" where that is not known."""

    location: str
    size: str


def chosen_preset(library: Library, name: str) -> Preset:
    """How to measure.

    That is the named preset; by default the one of the active Protocol; for a new library what `lorascope setup` has
    proposed first, or the usual one.

    Raises:
        ProtocolError: there is no such preset.
        ConfigError: the config file cannot be read.
    """
    if name:
        return library.protocols.continued(Preset.load(name))
    if library.protocols.all():
        return library.protocols.find().preset
    config = UserConfig.load(config_file())
    if config is None or not config.assignments:
        return Preset.load(_USUAL)
    first = config.assignments[0]
    preset = Preset.load(first.preset)
    return dataclasses.replace(preset, base=first.base or preset.base)


def missing_models(preset: Preset) -> list[MissingModel]:
    """The models of a preset that would have to be fetched first."""
    if preset.family == _FAKE:
        return []
    return [MissingModel(location, _SIZES.get(location, "")) for location in preset.models if not is_here(location)]
