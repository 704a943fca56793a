"""Whether two adapters change the base model in the same way, by their weights."""

from __future__ import annotations

from lorascope.adapters import Names, read_header
from lorascope.errors import AdapterError, ModelError
from lorascope.families import architecture
from lorascope.library import StoredAdapter
from lorascope.models import find_model
from lorascope.protocol import Preset

SAME = 0.99
"""The cosine of two changes from which one is a copy of the other: resized, re-saved, or merged and extracted."""


def base_names(preset: Preset) -> Names | None:
    """The modules of a base model, from the headers of its files; None where it is not a folder on this disk."""
    row = architecture(preset.family)
    try:
        folder = find_model(preset.base)
        shapes = {
            part: {
                name: info.shape
                for path in (folder / part).glob("*.safetensors")
                for name, info in read_header(path).tensors.items()
            }
            for part in (row.components if row else ())
        }
    except (ModelError, AdapterError):
        return None
    return Names({part: found for part, found in shapes.items() if found}) if any(shapes.values()) else None


def cosine_of_changes(one: StoredAdapter, two: StoredAdapter, names: Names | None) -> float | None:
    """How much two adapters change the same weights in the same direction: 1 if all their tensors are equal.

    Args:
        one: an adapter.
        two: another one.
        names: the modules of the base model; without them only equal tensors are recognised.

    Returns:
        -1 to 1; None where it cannot be known: files that are gone or were replaced, kinds of adapters that
        :func:`lorascope.adapters.similarity` does not compare, an installation without torch.
    """
    if same_tensors(one, two):
        return 1.0
    try:
        from lorascope.adapters import similarity
        from lorascope.measure.files import measured_delta

        if _tensors(one) == _tensors(two):
            return 1.0
        return similarity(measured_delta(one, names), measured_delta(two, names)) if names is not None else None
    except (AdapterError, ModuleNotFoundError):
        return None


def same_tensors(one: StoredAdapter, two: StoredAdapter) -> float | None:
    """1 if two adapters are known to have equal tensors, without reading their files; else None."""
    return 1.0 if one.facts.tensors and one.facts.tensors == two.facts.tensors else None


def _tensors(adapter: StoredAdapter) -> str:
    """The digest of an adapter's tensors, which libraries of 0.1.0 do not hold."""
    if adapter.facts.tensors:
        return adapter.facts.tensors
    from lorascope.measure.files import measured_tensors

    return measured_tensors(adapter)
