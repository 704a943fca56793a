"""From an adapter's tensors to what it does to each weight of a base model.

The file is read once, every tensor is checked, and every key must belong to a weight of the base model;
products are formed only when a weight is asked for, one at a time.
"""

import copy
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from lorascope.adapters.adapter import Survey, survey
from lorascope.adapters.attachments import Attachment
from lorascope.adapters.build import Build, Key, build
from lorascope.adapters.family import naming, numbering, recognise, shaped
from lorascope.adapters.forms import Form, Together
from lorascope.adapters.header import Header, TensorInfo, parse_header, read_file, read_header
from lorascope.adapters.inversions import Inversion, InversionKeys
from lorascope.adapters.items import component_kind, condition_of
from lorascope.adapters.kinds import Module
from lorascope.adapters.names import Names, Target
from lorascope.adapters.settings import Settings
from lorascope.adapters.sidecar import peft_config
from lorascope.adapters.zero import factors_of
from lorascope.errors import MalformedAdapter, NoEffect, NotFinite, PartialMatch, UnknownAdapter, WrongBase
from lorascope.families import title_of

_DTYPES: Final[Mapping[str, torch.dtype]] = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8,
    "BOOL": torch.bool,
}  # fmt: skip


class Parameter(NamedTuple):
    """A parameter of the base model, in diffusers' names."""

    component: str
    name: str


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much of an adapter belongs to the base model.

    Attributes:
        matched: Modules of the adapter that do.
        total: Modules that the adapter has.
        unmatched: Keys that do not.
    """

    matched: int
    total: int
    unmatched: tuple[str, ...]


class Delta:
    """What an adapter does to a base model.

    Made by `load_delta`. It holds the adapter's own tensors, in the type they were stored in, and no product
    of them.

    Attributes:
        coverage: How much of the adapter belongs to the base model.
        source: The file that it was read from, for base models that load files themselves.
        inversions: Its textual inversions: words that it brings along.
        attachments: What is put beside the base model's weights: a ControlNet, an IP-Adapter.
    """

    def __init__(
        self,
        forms: Mapping[Parameter, Form],
        coverage: Coverage,
        source: Path | None = None,
        inversions: Sequence[Inversion] = (),
        attachments: Sequence[Attachment] = (),
    ) -> None:
        self._forms = dict(sorted(forms.items()))
        self.coverage = coverage
        self.source = source
        self.inversions = tuple(inversions)
        self.attachments = tuple(attachments)

    @staticmethod
    def unmatched(data: bytes | bytearray, path: Path) -> "Delta":
        """A file for a base model that matches adapters itself: only that it is an adapter is checked.

        Raises:
            UnknownAdapter: It is a textual inversion, a ControlNet or an IP-Adapter, which are not loaded as adapters
                are.
        """
        header = parse_header(memoryview(data), path)
        kind = component_kind(header.tensors) if condition_of(path) else ""
        modules = {} if kind else survey(header, path).modules
        if not modules:
            reason = f"{kind or 'a textual inversion'}, which can only be measured with a base model in this process"
            raise UnknownAdapter(path, reason, "Measure it with --preset and --base, without --through")
        return Delta({}, Coverage(len(modules), len(modules), ()), path)

    @staticmethod
    def together(parts: Sequence[tuple["Delta", float]]) -> "Delta":
        """Join several adapters to one that, at scale 1, applies each at its own scale.

        Raises:
            UnknownAdapter: One has no weights of its own, as a ControlNet, an IP-Adapter or a textual inversion, or
                two bring words of the same name.
        """
        forms: dict[Parameter, list[tuple[Form, float]]] = {}
        words: dict[str, Inversion] = {}
        for delta, scale in parts:
            path = delta.source or "<memory>"
            if delta.attachments or any(one.alone for one in delta.inversions):
                reason = "only LoRAs can be used together, and this is a ControlNet, IP-Adapter or textual inversion"
                raise UnknownAdapter(path, reason, "Use it alone")
            if twice := [one.token for one in delta.inversions if one.token in words]:
                raise UnknownAdapter(path, f"it brings the word {twice[0]!r}, and so does another", "Use it alone")
            words |= {one.token: one for one in delta.inversions}
            for target in delta.targets:
                forms.setdefault(target, []).append((delta.form(*target), scale))
        matched, total = (sum(getattr(delta.coverage, name) for delta, _ in parts) for name in ("matched", "total"))
        unmatched = tuple(key for delta, _ in parts for key in delta.coverage.unmatched)
        joined = {target: Together(tuple(found)) for target, found in forms.items()}
        return Delta(joined, Coverage(matched, total, unmatched), inversions=tuple(words.values()))

    def called(self, tokens: Sequence[str]) -> "Delta":
        """Return the same with other words for its textual inversions, such as those of the file measured first."""
        other = copy.copy(self)
        if len(tokens) == len(self.inversions):
            other.inversions = tuple(one.called(token) for one, token in zip(self.inversions, tokens, strict=True))
        return other

    def spelt(self, words: str) -> str:
        """Return trigger words with as many short ones for each textual inversion as it has vectors."""
        for one in self.inversions:
            words = one.spelt(words, " ".join("a" * len(one)))
        return words

    @property
    def targets(self) -> tuple[Parameter, ...]:
        """Every parameter that it changes, sorted."""
        return tuple(self._forms)

    def form(self, component: str, parameter: str) -> Form:
        """Return how one parameter is changed; KeyError if it is not, see `targets`."""
        return self._forms[Parameter(component, parameter)]

    def apply(self, component: str, parameter: str, base: Float[Tensor, "..."], scale: float) -> Float[Tensor, "..."]:
        """Return a parameter as the adapter makes it.

        Args:
            component: Such as "unet".
            parameter: Its name in that component, such as "conv_in.weight".
            base: Its untouched value, in any floating type, on any device. It is not changed.
            scale: How strongly the adapter is applied. At 0 the result is ``base`` itself in float32.

        Returns:
            A new float32 tensor of the base's shape, on the base's device.

        Raises:
            KeyError: If the adapter does not change this parameter; see `targets`.
        """
        form = self.form(component, parameter)
        with torch.no_grad():
            own = base.detach().to(torch.float32, copy=True, memory_format=torch.contiguous_format)
            return form.apply(own, scale) if scale != 0 else own


def load_delta(
    data: bytes | bytearray | memoryview | Path,
    names: Names,
    *,
    partial: bool = False,
    config: Mapping[str, object] | None = None,
    name: Path | str = "<memory>",
) -> Delta:
    """Read an adapter and match it to a base model.

    Args:
        data: The file, or its bytes. Pass bytes if you keep their digest: nothing can change in between.
        names: The base model's modules.
        partial: Accept an adapter of which only a part belongs to the base model; see `Delta.coverage`.
        config: The content of peft's ``adapter_config.json``, which holds alpha and rsLoRA. For a path, the
            file beside it is used if this is None.
        name: What error messages call bytes.

    Raises:
        AdapterError: One of its subclasses, which says why the adapter cannot be measured on this base model.
    """
    if isinstance(data, Path):
        name, config = data, config if config is not None else peft_config(data)
        check_shapes(data, names)  # a large file of another base is refused before all of it is read
        data = read_file(data)
    path, view = Path(name), memoryview(data)
    header = parse_header(view, path)
    surveyed, matched, encoders, unmatched = _match(header, names, path)
    grouped, modules, inversions = surveyed
    maker = Build(names, Settings.read(header, config, path), path)
    tensors = read_tensors(view, header, path, unused=() if maker.settings.rooted else _unused_alphas(surveyed))
    forms: dict[Parameter, Form] = {}
    for alias, found in matched.items():
        parts = {part: tensors[key] for part, key in grouped.modules[alias].items()}
        made, unused = build(maker, alias, parts, modules[alias], found)
        unmatched += tuple(grouped.modules[alias][part] for part in unused if _acts(parts[part]))
        _merge(forms, made, alias, path)
    words = [
        Inversion(
            one.token, {part: torch.atleast_2d(tensors[key]) for part, key in one.keys.items()}, alone=not modules
        )
        for one in encoders
    ]
    idle = [alias for alias in modules.keys() - matched.keys() if _is_idle(surveyed, alias, tensors)]
    useless = {key for alias in idle for key in grouped.modules[alias].values()}
    unmatched = tuple(key for key in unmatched if key not in useless)
    coverage = Coverage(len(matched) + len(words), len(modules) - len(idle) + len(inversions), unmatched)
    if unmatched and not partial:
        raise PartialMatch(path, unmatched, coverage.matched, coverage.total)
    if not words and not any(form.acts() for form in forms.values()):
        raise NoEffect(path, "all its weights are zero, so it has no effect", "Train it, or export it, again")
    return Delta(forms, coverage, path, words)


def _is_idle(surveyed: Survey, alias: str, tensors: Mapping[str, Tensor]) -> bool:
    """Tell whether a module does nothing: what exports of a whole model hold of layers that were not trained."""
    parts = surveyed.grouped.modules[alias]
    return not all(_acts(tensors[parts[part]]) for part in factors_of(surveyed.modules[alias], parts))


def _acts(values: Tensor) -> bool:
    return bool(values.float().any())


def check_shapes(path: Path, names: Names) -> None:
    """Refuse a file whose header shows that it does not belong to a base model, before its body is read.

    Raises:
        AdapterError: One of its subclasses, as `load_delta` would raise it.
    """
    _match(read_header(path), names, path)


class _Match(NamedTuple):
    """An adapter's modules and those of the base model that they mean, from its header alone."""

    surveyed: Survey
    matched: Mapping[str, tuple[Target, ...]]
    inversions: tuple[InversionKeys, ...]
    unmatched: tuple[str, ...]


def _match(header: Header, names: Names, path: Path) -> _Match:
    """Look up all that a file holds in the base model; refuse it if it belongs to another one."""
    grouped, modules, inversions = surveyed = survey(header, path)
    matched = {alias: found for alias in modules if (found := names.find(alias))}
    lost = [key for alias, parts in grouped.modules.items() if alias not in matched for key in parts.values()]
    known = tuple(one for one in inversions if one.widths == names.words)
    lost += [key for one in inversions if one not in known for key in one.keys.values()]
    unmatched = (*grouped.strays, *lost)
    if modules:
        _check_base(matched, modules, unmatched, names, path)
    elif not known:
        widths = " and ".join(f"{width} in {encoder}" for encoder, width in inversions[0].widths.items())
        wanted = (
            " and ".join(f"{width} in {encoder}" for encoder, width in names.words.items()) or "no CLIP beside a U-Net"
        )
        detail = f"its vectors have {widths}, those of the base {wanted}"
        raise WrongBase(path, _title(inversions[0].family), _title(names.family), detail)
    return _Match(surveyed, matched, known, unmatched)


def _title(family: str) -> str:
    return title_of(family) if family != "unknown" else "an unknown base model"


def _unused_alphas(surveyed: Survey) -> frozenset[str]:
    """Return the alphas of LoKr of two whole factors: ai-toolkit writes 9999999999, which is infinite in float16."""
    whole = (alias for alias, module in surveyed.modules.items() if module.kind == "lokr" and module.rank is None)
    return frozenset(filter(None, (surveyed.grouped.modules[alias].get("alpha") for alias in whole)))


def read_tensors(view: memoryview, header: Header, path: Path, unused: Collection[str] = ()) -> dict[str, Tensor]:
    """Copy every tensor out of a file's bytes; values of ``unused`` keys may be infinite.

    Raises:
        NotFinite: A value is none.
        MalformedAdapter: A tensor is empty, or of a type that is not supported.
    """
    tensors: dict[str, Tensor] = {}
    for key, info in header.tensors.items():
        tensors[key] = _tensor(view, header.data_start, info, key, path)
        values = tensors[key]
        # torch has no isfinite for 8-bit floats, and a 64-bit one may be beyond the float32 that it is used in
        wide = values if values.dtype.itemsize in (2, 4) else values.float()
        if key not in unused and not bool(torch.isfinite(wide).all()):
            kind = "NaN" if bool(torch.isnan(wide).any()) else "infinity"
            reason = f"tensor {key!r} holds {kind}"
            raise NotFinite(path, reason, "Its training diverged or its export overflowed; get another version")
    return tensors


def _tensor(view: memoryview, start: int, info: TensorInfo, key: str, path: Path) -> Tensor:
    if info.dtype not in _DTYPES:
        reason = f"tensor {key!r} has the type {info.dtype}, which is not supported"
        raise MalformedAdapter(path, reason, "Export it as F16, BF16 or F32")
    dtype = _DTYPES[info.dtype]
    if info.start == info.stop:
        raise MalformedAdapter(path, f"tensor {key!r} of shape {list(info.shape)} is empty", "Export it again")
    # a copy of its own: aligned, writable, and the file's bytes can go
    raw = bytearray(view[start + info.start : start + info.stop])
    return torch.frombuffer(raw, dtype=dtype).reshape(info.shape)


def _check_base(
    matched: Mapping[str, tuple[Target, ...]],
    modules: Mapping[str, Module],
    unmatched: tuple[str, ...],
    names: Names,
    path: Path,
) -> None:
    """Refuse an adapter of another base model: none of its names match, or its shapes do not fit."""
    family = recognise(shaped(modules), {}).family
    found = _title(family)
    expected = title_of(names.family) if names.family != "unknown" else "of an unnamed family"
    if not matched and all(naming(alias) == "bare" and not numbering(alias) for alias in modules):
        reason = f"no module of a base model has a name like {next(iter(modules))!r}"
        raise UnknownAdapter(path, reason, "Rename its keys to a known format, such as kohya's or peft's")
    if not matched:
        raise WrongBase(path, found, expected, f"none of its {len(modules)} modules is part of it")
    for alias, targets in matched.items():
        if problem := _misfit(modules[alias], targets, names):
            raise WrongBase(path, found, expected, f"{alias}: {problem}")
    if unmatched and "unknown" not in (family, names.family) and family != names.family != "miniature":
        raise WrongBase(path, found, expected, f"it has no {unmatched[0]}")


def _misfit(module: Module, targets: tuple[Target, ...], names: Names) -> str | None:
    """Say how a module's shape differs from that of the weights it would change, or return None."""
    if module.rows is module.columns is None:
        return None
    shapes = [names.shape(target.component, f"{target.module}.weight") or (0,) for target in targets]
    heights = [_height(target, shape) for target, shape in zip(targets, shapes, strict=True)]
    columns = 1
    for size in shapes[0][1:]:
        columns *= size
    if module.rows in {None, sum(heights)} and module.columns in {None, columns}:
        return None
    own = f"{module.rows or 'any'} x {module.columns or 'any'}"
    return f"changes {own}, but the base weight is {sum(heights)} x {columns}"


def _height(target: Target, shape: tuple[int, ...]) -> int:
    return sum(stop - start for start, stop in target.rows) if target.rows else shape[0]


def _merge(forms: dict[Parameter, Form], made: Mapping[Key, Form], alias: str, path: Path) -> None:
    for key, form in made.items():
        parameter = Parameter(*key)
        if parameter in forms:
            reason = f"two of its modules change {parameter.component}.{parameter.name}, the second is {alias!r}"
            raise UnknownAdapter(path, reason, "Split it into its adapters")
        forms[parameter] = form
