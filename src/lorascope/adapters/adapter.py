"""The record of one adapter file, made from its header and its sidecars alone."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, NamedTuple

from lorascope.adapters.claims import Claim, Claims, header_claims, lineage_claim
from lorascope.adapters.family import Recognition, component, components, naming, numbering, recognise, shaped
from lorascope.adapters.header import Header, open_file, read_header, unreadable
from lorascope.adapters.inversions import InversionKeys, read_inversions
from lorascope.adapters.items import CONTROLNET, component_kind, condition_of, family_of, file_of, stamp_of
from lorascope.adapters.keys import Grouped, foreign, group_keys
from lorascope.adapters.kinds import Module, ShapeProblem, describe
from lorascope.adapters.settings import Settings
from lorascope.adapters.sidecar import peft_config, sidecar_claims
from lorascope.errors import MalformedAdapter, UnknownAdapter
from lorascope.families import architecture, named, title_of

_SCALARS: Final = frozenset({"alpha", "on_input", "scaled_oft"})
"""Parts that trainers do write as whole numbers."""
_CHECKPOINT: Final = (
    "model.", "model_ema.", "first_stage_model.", "cond_stage_model.", "conditioner.", "text_encoders.", "vae.",
    "alphas_cumprod", "betas", "v_pred", "ztsnr",
)  # fmt: skip
"""What all names in a checkpoint of its authors begin with."""
_OWN_PARTS: Final = frozenset({"weight", "bias", "base_layer.weight", "base_layer.bias"})
"""Parts of a layer itself, which peft saves beside its adapter if it is told to."""
_SHOWN: Final = 4
"""Kinds of modules or keys that are named in a note."""
INVERSION: Final = "textual inversion"
"""The kind and the format of a file that holds a textual inversion and nothing else."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """One adapter file.

    Attributes:
        path: Where it is.
        size: Bytes.
        mtime_ns: When it was last changed, nanoseconds since 1970.
        format: How its keys are written: "kohya", "kohya-sgm", "lycoris", "diffusers", "peft
            base_model.model.", "diffusion_model.", "bare".
        kinds: Kind to number of modules: "lora", "locon", "loha", "lokr", "glora", "oft", "boft", "full", "ia3" and
            "textual inversion"; and, counted beside these, the traits "dora", "tucker" and "bias".
        family: The name of its architecture (see `lorascope.families`) or "unknown". Advice only: see `recognise`.
        ranks: Distinct ranks, sorted. Alphas are values inside tensors, so a header does not tell them.
        components: Part of the pipeline to number of modules it changes.
        keys: Number of tensors.
        unmatched: Keys that follow no known pattern.
        claims: What is said about it.
        tokens: The words by which prompts call its textual inversions.
        notes: What a person should know of how it was read.

    Examples:
        >>> dict(read_adapter(Path("loras/redder.safetensors")).kinds)
        {'lora': 1}
    """

    path: Path
    size: int
    mtime_ns: int
    format: str
    kinds: Mapping[str, int]
    family: str
    ranks: tuple[int, ...]
    components: Mapping[str, int]
    keys: int
    unmatched: tuple[str, ...]
    claims: Claims
    tokens: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def read_adapter(path: Path) -> Adapter:
    """Read what a file's header and its sidecars say about it, without opening a tensor.

    Args:
        path: The file; of a ControlNet or an IP-Adapter, with its condition (see `lorascope.adapters.items`).

    Raises:
        AdapterError: One of its subclasses, if the file cannot be an adapter.

    Examples:
        >>> read_adapter(Path("loras/redder.safetensors")).ranks
        (1,)
    """
    header = read_header(file_of(path))
    try:
        size, mtime_ns = stamp_of(path)
    except OSError as error:
        raise unreadable(path, error) from error
    if condition_of(path):
        return _read_item(header, path, size, mtime_ns)
    grouped, modules, inversions = surveyed = survey(header, path)
    found = _recognise(header, surveyed, path)
    claims = _claims(header, path, found)
    counts = Counter(label for module in modules.values() for label in (module.kind, *module.traits))
    if inversions:
        counts[INVERSION] = len(inversions)
    return Adapter(
        path=path,
        size=size,
        mtime_ns=mtime_ns,
        format=_format(modules),
        kinds=dict(sorted(counts.items())),
        family=found.family,
        ranks=tuple(sorted({module.rank for module in modules.values() if module.rank})),
        components=_components(modules, inversions, found.family),
        keys=len(header.tensors),
        unmatched=grouped.strays,
        claims=claims,
        tokens=tuple(one.token for one in inversions),
        notes=(*found.notes, *_notes(header, surveyed, found, path), *_contradictions(claims, found)),
    )


def _read_item(header: Header, path: Path, size: int, mtime_ns: int) -> Adapter:
    kind, family = component_kind(header.tensors), family_of(header)
    if (kind == CONTROLNET) == condition_of(path).startswith("reference:") or not kind:
        reason = f"{kind or 'neither a ControlNet nor an IP-Adapter'}, which takes no such condition"
        raise UnknownAdapter(path, reason, "A ControlNet takes --condition, an IP-Adapter --reference")
    claims = _claims(header, file_of(path), Recognition(family))
    return Adapter(path, size, mtime_ns, kind, {kind: 1}, family, (), {}, len(header.tensors), (), claims)


def _claims(header: Header, path: Path, found: Recognition) -> Claims:
    """Collect all claims; of the lineage, what the file shows or says goes before sites, sidecars and folders."""
    try:
        own = header_claims(header.metadata)
    except ValueError as error:
        own = Claims(notes=(f"claims of the header ignored: {error}",))
    beside = sidecar_claims(path)
    folders = [folder.name for folder in path.absolute().parents[:2]]
    shown = Claim(found.lineage, "its shapes") if found.lineage else None
    sorted_into = (lineage_claim(Claim(folder, f"folder {folder}")) for folder in folders)
    offered = (shown, own.lineage, beside.lineage, *sorted_into)
    fitting = [claim for claim in offered if claim and _is_of(claim.value, found.family)]
    claims = replace(beside.otherwise(own), lineage=fitting[0] if fitting else None)
    # a folder holds what its owner puts there: it contradicts nobody
    others = [one for one in fitting if one.value != fitting[0].value and one in (own.lineage, beside.lineage)]
    notes = (
        f"{one.source} says {one.value}, {fitting[0].source} says {fitting[0].value}, which counts" for one in others
    )
    return replace(claims, notes=(*claims.notes, *notes))


def _is_of(lineage: str, family: str) -> bool:
    row = architecture(family)
    return row is not None and any(one.name == lineage for one in row.lineages)


def _contradictions(claims: Claims, found: Recognition) -> Iterator[str]:
    """Yield what is said about the base model and cannot be."""
    said = claims.base_model
    meant = named(said.value) if said else None
    if said and meant and found.family not in {meant[0].name, "unknown"} and not said.source.startswith("header"):
        yield f"{said.source} says {said.value!r:.80}, but its names and shapes are those of {title_of(found.family)}"


def _notes(header: Header, surveyed: "Survey", found: Recognition, path: Path) -> Iterator[str]:
    """Yield what a person should know of how the file is read."""
    grouped, modules, inversions = surveyed
    config = peft_config(path)
    settings = Settings.read(header, config, path)
    # LyCORIS writes an alpha even for a LoKr of whole factors, which has no rank; peft keeps it in its config
    scaled = [alias for alias, module in modules.items() if module.rank is not None or module.kind == "lokr"]
    silent = [alias for alias in scaled if "alpha" not in grouped.modules[alias]]
    assumed = components((alias for alias in silent if not _states_alpha(settings, alias, found.family)), found.family)
    if assumed:
        where = ", ".join(assumed)
        count = f"{sum(assumed.values())} of {len(scaled)} modules"
        yield f"no alpha is stated for {count} ({where}); alpha = rank is assumed (factor 1)"
    if config is None and path.with_name("adapter_config.json").is_file():
        yield "adapter_config.json beside it is not used: the folder holds several adapters"
    turned = any("oft_r" in parts for parts in grouped.modules.values())
    if turned and config is None and "lora_adapter_metadata" not in header.metadata:
        yield "no config says how its rotations are computed; five terms are assumed, as peft and OneTrainer write them"
    if start := settings.starts():
        yield f"its factors hold a part of the base weights ({start}), which is subtracted"
    if any("dora" in parts for parts in grouped.modules.values()):
        yield "DoRA: tools differ at scales other than 1; its change grows with the scale, as in ComfyUI and A1111"
    for one in inversions:
        count = "1 vector" if one.vectors == 1 else f"{one.vectors} vectors"
        yield f"textual inversion {one.token!r} of {count}: it acts where a prompt names it"
    if strays := grouped.strays:
        yield f"{len(strays)} keys follow no known pattern: {_some(strays)}"
    if found.family == "unknown" and modules:
        yield f"holds {_summary(modules)}"


def _components(modules: Iterable[str], inversions: Iterable[InversionKeys], family: str) -> dict[str, int]:
    counts = Counter(components(modules, family))
    counts.update(encoder for one in inversions for encoder in one.keys)
    return dict(sorted(counts.items()))


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def _states_alpha(settings: Settings, alias: str, family: str) -> bool:
    (part,) = components([alias], family)
    return settings.of(part).alpha_of(alias) is not None


def _summary(modules: Mapping[str, Module]) -> str:
    """Return the commonest kinds of modules with their shapes, numbers of blocks left out."""
    shapes: Counter[str] = Counter()
    for alias, module in modules.items():
        size = f" ({module.rows} x {module.columns})" if module.rows and module.columns else ""
        shapes[re.sub(r"(?<=[._])\d+(?=[._]|$)", "*", alias) + size] += 1
    return ", ".join(f"{count} of {shape}" for shape, count in shapes.most_common(_SHOWN))


class Survey(NamedTuple):
    """What a header shows.

    Attributes:
        grouped: Its keys, put in order.
        modules: Alias to what the shapes of a module imply.
        inversions: The textual inversions.
    """

    grouped: Grouped
    modules: Mapping[str, Module]
    inversions: tuple[InversionKeys, ...]


def survey(header: Header, path: Path) -> Survey:
    """Group a header's keys and describe each module, refusing what cannot be an adapter.

    Raises:
        MalformedAdapter: Integer weights, a missing half of a pair, or shapes that do not fit together.
        UnknownAdapter: No known key format, or keys of two formats or of two base families.
    """
    grouped = group_keys(header.tensors)
    if kind := component_kind(header.tensors):
        how = "--condition own:edges, or a folder of pictures" if kind == CONTROLNET else "--reference and a picture"
        raise UnknownAdapter(path, f"{kind}, which acts by a picture", f"Index it with {how}")
    if strange := foreign(header.tensors):
        raise UnknownAdapter(path, f"holds {strange[0]}", strange[1])
    inversions, strays = read_inversions(header, grouped, path)
    own = {key for one in inversions for key in one.keys.values()}
    grouped = replace(grouped, strays=(*(key for key in grouped.strays if key not in own), *strays))
    _check_parts(grouped, path)
    if all(naming(alias) == "unknown" for alias in grouped.modules) and not (inversions and not grouped.modules):
        raise _unknown(grouped, path)
    modules: dict[str, Module] = {}
    for alias, parts in grouped.modules.items():
        _check_dtypes(header, parts, path)
        try:
            modules[alias] = describe({part: header.tensors[key].shape for part, key in parts.items()})
        except ShapeProblem as problem:
            raise MalformedAdapter(path, f"module {alias!r} {problem}", "Export it again from its trainer") from problem
    _check_one_format(modules, path)
    found = Survey(grouped, modules, inversions)
    _recognise(header, found, path)
    return found


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file in lower-case hexadecimal, the name by which the library knows it.

    Raises:
        UnreadableAdapter: If it cannot be read.
    """
    with open_file(path) as file:
        try:
            return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise unreadable(path, error) from error


def sha256_of(data: bytes | bytearray | memoryview) -> str:
    """Return the SHA-256 of a file's bytes that are in memory, as `sha256` does for a file."""
    return hashlib.sha256(data).hexdigest()


def autov3_of(data: bytes | bytearray | memoryview) -> str:
    """Return the 12 hexadecimal digits by which sites know a safetensors file: those of all that follows its header."""
    start = 8 + int.from_bytes(data[:8], "little")
    return hashlib.sha256(memoryview(data)[start:]).hexdigest()[:12]


def _unknown(grouped: Grouped, path: Path) -> UnknownAdapter:
    keys = (*grouped.modules, *grouped.strays)
    first = ", ".join(repr(key) for key in keys[:3]) or "there are none"
    whole = all(key.endswith((".weight", ".bias")) for key in keys) or all(key.startswith(_CHECKPOINT) for key in keys)
    other = "A base model goes to --base; a VAE, a text encoder or an upscaler is not measured"
    remedy = other if whole else "Convert it to the names of kohya, diffusers or peft"
    return UnknownAdapter(path, f"no key follows a known adapter format: {first}", remedy)


def _check_parts(grouped: Grouped, path: Path) -> None:
    """Refuse a module that has a tensor of which nobody knows what it does: what the others do may depend on it."""
    for key in grouped.strays:
        pieces = key.split(".")
        for end in range(len(pieces) - 1, 0, -1):
            alias, part = ".".join(pieces[:end]), ".".join(pieces[end:])
            if alias in grouped.modules and part not in _OWN_PARTS:
                reason = f"module {alias!r} has {part!r} beside {', '.join(sorted(grouped.modules[alias]))}"
                raise MalformedAdapter(path, f"{reason}, and what that does is not known", "Export it as plain LoRA")


def _check_dtypes(header: Header, parts: Mapping[str, str], path: Path) -> None:
    for part, key in parts.items():
        info = header.tensors[key]
        if part not in _SCALARS and "F" not in info.dtype:
            reason = f"tensor {key!r} has the integer type {info.dtype}"
            raise MalformedAdapter(path, reason, "Weights must be floating point; export it without quantisation")


def _format(modules: Mapping[str, Module]) -> str:
    """Name the key format by the image model's modules: text encoders are spelt alike in several."""
    if not modules:
        return INVERSION
    image = [alias for alias in modules if not component(alias).startswith("text")]
    original = any(numbering(alias) == "sgm" for alias in image)
    spelling = naming(image[0] if image else next(iter(modules)))
    return f"{spelling}-sgm" if original and spelling in {"kohya", "lycoris"} else spelling


def _check_one_format(modules: Mapping[str, Module], path: Path) -> None:
    """Refuse two spellings of the image model's names: such a file was glued together from two adapters."""
    image = [alias for alias in modules if not component(alias).startswith("text")]
    spellings = {naming(alias) for alias in image} - {"unknown"}  # a dotless name such as img_in is no format
    numberings = {order for alias in image if (order := numbering(alias))}
    if max(len(spellings), len(numberings)) > 1:
        names = ", ".join(sorted(spellings | (numberings if len(numberings) > 1 else set())))
        raise UnknownAdapter(path, f"its keys follow more than one format: {names}", "Split it into its adapters")


def _recognise(header: Header, surveyed: Survey, path: Path) -> Recognition:
    if not surveyed.modules:
        return Recognition(surveyed.inversions[0].family)
    found = recognise(shaped(surveyed.modules), header.metadata)
    if found.conflict:
        names = " and ".join(found.conflict)
        raise UnknownAdapter(path, f"its keys belong to more than one base family: {names}", "Split it")
    return found
