"""Adapter files: found, read, described, and turned into what they do to a base model's weights.

Everything but `Delta` and `load_delta` works without torch, which is imported only when one of those is asked
for.
"""

from typing import TYPE_CHECKING

from lorascope.adapters.adapter import Adapter, autov3_of, read_adapter, sha256, sha256_of
from lorascope.adapters.claims import Claim, Claims, alternatives
from lorascope.adapters.digest import tensors_digest
from lorascope.adapters.folder import scan
from lorascope.adapters.header import Header, parse_header, read_file, read_header
from lorascope.adapters.inversions import Inversion
from lorascope.adapters.names import Names, Target
from lorascope.adapters.sidecar import peft_config, sidecar_claims
from lorascope.adapters.zero import all_zero

if TYPE_CHECKING:
    from lorascope.adapters.cosine import similarity
    from lorascope.adapters.delta import Coverage, Delta, Parameter, check_shapes, load_delta

__all__ = [
    "Adapter", "Claim", "Claims", "Coverage", "Delta", "Header", "Inversion", "Names", "Parameter", "Target",
    "all_zero", "alternatives", "autov3_of", "check_shapes", "load_delta", "parse_header", "peft_config",
    "read_adapter", "read_file", "read_header", "scan", "sha256", "sha256_of", "sidecar_claims", "similarity",
    "tensors_digest",
]  # fmt: skip

_NEED_TORCH = frozenset({"Coverage", "Delta", "Parameter", "check_shapes", "load_delta"})


def __getattr__(name: str) -> object:
    """Import the part that needs torch when it is first asked for."""
    if name in _NEED_TORCH:
        from lorascope.adapters import delta

        return getattr(delta, name)
    if name == "similarity":
        from lorascope.adapters.cosine import similarity

        return similarity
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
