"""Which preset measures which adapters with which checkpoint."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from lorascope.adapters import Adapter
from lorascope.families import architecture, title_of
from lorascope.installations.config import Assignment
from lorascope.installations.models import Checkpoint
from lorascope.models import is_single_file

_PRESETS: Final[Mapping[tuple[str, str], str]] = {
    ("sd15", ""): "sd15",
    ("sdxl/sdxl-1.0", ""): "sdxl-paper",
    ("sdxl/illustrious", ""): "illustrious",
    ("sdxl/illustrious", "v"): "noobai-vpred",
    ("sdxl/noobai", ""): "noobai",
    ("sdxl/noobai", "v"): "noobai-vpred",
    ("sdxl/pony", ""): "pony",
    ("flux/dev", ""): "flux-dev",
    ("flux/schnell", ""): "flux-schnell",
    ("flux2/klein-4b", ""): "flux2-klein",
    ("sd3/sd3.5-medium", ""): "sd35-medium",
    ("sd3/sd3.5-large", ""): "sd35-large",
    ("z-image/turbo", ""): "z-image-turbo",
    ("qwen-image", ""): "qwen-image",
    ("chroma", ""): "chroma",
}
"""The preset for a kind of checkpoint, and what it predicts."""


def kind_of(adapter: Adapter) -> str:
    """Return ``architecture/lineage``, or the architecture alone where no lineage is claimed."""
    claim = adapter.claims.lineage
    return f"{adapter.family}/{claim.value}" if claim else adapter.family


def propose(adapters: Iterable[Adapter], checkpoints: Sequence[Checkpoint]) -> list[Assignment]:
    """Choose a checkpoint for each lineage that has adapters.

    Of several checkpoints one with all parts goes before a file of a newer family, which mostly holds the denoiser
    alone. Then the one nearest to the lineage's root counts: one whose name begins with the lineage's before one that
    mentions it, then the shorter name. Adapters that claim no lineage go with the lineage that most others of their
    architecture claim.
    """
    counts = Counter(map(kind_of, adapters))
    chosen: dict[str, Assignment] = {}
    for checkpoint in sorted(checkpoints, key=_distance):
        kind = "/".join(filter(None, (checkpoint.architecture, checkpoint.lineage)))
        preset = _PRESETS.get((kind, checkpoint.prediction))
        if preset and kind not in chosen:
            chosen[kind] = Assignment(preset, checkpoint.location, (kind,))
    for name in {kind.partition("/")[0] for kind in chosen} - chosen.keys():
        lineages = [kind for kind in chosen if kind.startswith(f"{name}/")]
        most = max(lineages, key=lambda kind: (counts[kind], kind == "sdxl/sdxl-1.0"))
        chosen[most] = Assignment(chosen[most].preset, chosen[most].base, (most, name))
    return [one for one in chosen.values() if any(counts[kind] for kind in one.adapters)]


def reason_against(kind: str) -> str:
    """Return why adapters of a kind that has no assignment are not measured."""
    name, _, lineage = kind.partition("/")
    row = architecture(name)
    if name == "unknown":
        return "their architecture is unknown"
    if row is None or not row.generator:
        return f"{title_of(name)} cannot be measured yet"
    wanted = f"{name}/{lineage}".rstrip("/")
    presets = {preset for (other, _), preset in _PRESETS.items() if other == wanted or other.startswith(f"{wanted}/")}
    if not presets:
        return f"no preset ships for {lineage or title_of(name)}: give --preset and --base"
    return f"no checkpoint of {lineage or title_of(name)} was found: give --preset {min(presets)} and --base"


def _is_alone(checkpoint: Checkpoint) -> bool:
    """Whether it may lack parts: files of the newer families mostly hold the denoiser alone."""
    row = architecture(checkpoint.architecture)
    return is_single_file(checkpoint.location) and not (row is not None and row.repository)


def _distance(checkpoint: Checkpoint) -> tuple[bool, bool, bool, int, str]:
    name = checkpoint.name.lower()
    begins = name.replace("-", "").replace("_", "").replace(" ", "").startswith(checkpoint.lineage.replace("-", ""))
    return _is_alone(checkpoint), bool(checkpoint.prediction), not begins, len(name), checkpoint.location
