"""Every name by which an adapter file may call a weight of the base model.

The names are enumerated from the resident model: each module is listed under each of its dotted names, and
the flattened names of kohya's format are those with underscores for dots. Nothing has to guess where an
underscore was a dot once.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from lorascope.adapters.family import Shaped, recognise
from lorascope.adapters.fused import transformer_aliases
from lorascope.adapters.layouts import Rows, Slice, text_aliases, unet_aliases

Shape = tuple[int, ...]

_WRAPPERS: Final = ("base_model.model.",)
_IMAGE: Final = ("unet", "transformer")
_TEXT: Final = ("text_encoder", "text_encoder_2", "text_encoder_3")
_FIRST, _SECOND, _THIRD = ("text_encoder",), ("text_encoder_2",), ("text_encoder_3", "text_encoder_2")

_DOTTED: Final[Mapping[str, tuple[str, ...]]] = {
    "model.diffusion_model.": _IMAGE,
    "diffusion_model.": _IMAGE,
    "unet.": ("unet",),
    "transformer.": ("transformer",),
    "text_encoder.": _FIRST,
    "text_encoder_2.": _SECOND,
    "text_encoder_3.": ("text_encoder_3",),
    "clip_l.": _FIRST,
    "clip_g.": _SECOND,
    "text_encoders.clip_l.transformer.": _FIRST,
    "text_encoders.clip_g.transformer.": _SECOND,
    "text_encoders.t5xxl.transformer.": _THIRD,
}
_FLAT: Final[Mapping[str, tuple[str, ...]]] = {
    "lora_unet_": _IMAGE,
    "oft_unet_": _IMAGE,
    "lora_transformer_": ("transformer",),
    "lora_te_": _FIRST,
    "lora_te1_": _FIRST,
    "lora_te2_": _SECOND,
    "lora_te3_": _THIRD,
    "lycoris_unet_": _IMAGE,
    "lycoris_te_": _FIRST,
    "lycoris_te1_": _FIRST,
    "lycoris_te2_": _SECOND,
    "lycoris_": (*_IMAGE, *_TEXT),
}
"""What a prefix means: the components that the rest of the name is looked up in."""


@dataclass(frozen=True, slots=True)
class Target:
    """A module of the base model that an alias means.

    Attributes:
        component: Such as "unet" or "text_encoder_2".
        module: Dotted, as diffusers calls it.
        rows: The rows of the adapter's weight that belong to this module, or None for all of them.
    """

    component: str
    module: str
    rows: Rows | None = None


class Names:
    """The modules of a base model, by any of their names.

    Args:
        components: Component to its parameters, and each parameter's shape, in diffusers' names, as
            ``{name: tuple(p.shape) for name, p in unet.named_parameters()}`` gives them.
    """

    def __init__(self, components: Mapping[str, Mapping[str, Shape]]) -> None:
        self._shapes = {name: {key: tuple(shape) for key, shape in c.items()} for name, c in components.items()}
        self._dotted: dict[str, dict[str, tuple[Target, ...]]] = {}
        self._flat: dict[str, dict[str, tuple[Target, ...]]] = {}
        for component in self._shapes:
            self._dotted[component] = dict(self._local_names(component))
            self._flat[component] = _flatten(self._dotted[component])
        self.family = self._family()

    def find(self, alias: str) -> tuple[Target, ...]:
        """Return the modules that ``alias`` means: none if it is unknown, several if it is a fused weight."""
        for wrapper in _WRAPPERS:
            alias = alias.removeprefix(wrapper)
        for table, prefixes in ((self._dotted, _DOTTED), (self._flat, _FLAT)):
            for prefix, components in prefixes.items():
                if alias.startswith(prefix):
                    found = _first(table, components, alias[len(prefix) :])
                    if found:
                        return found
        return self._bare(alias)

    def shape(self, component: str, parameter: str) -> Shape | None:
        """Return the shape of a parameter, or None if the base model has no such parameter."""
        return self._shapes.get(component, {}).get(parameter)

    def aliases(self) -> Iterator[tuple[str, tuple[Target, ...]]]:
        """Yield every alias with what it means. Large: about ten for each module."""
        for table, prefixes in ((self._dotted, _DOTTED), (self._flat, _FLAT)):
            for prefix, components in prefixes.items():
                for component in components:
                    for local, targets in table.get(component, {}).items():
                        yield prefix + local, targets

    @property
    def words(self) -> dict[str, int]:
        """Text encoders to the length of the vectors of their words, if all are CLIP's beside a U-Net; else empty."""
        texts = sorted(name for name in self._shapes if name.startswith("text_encoder"))
        ending = "token_embedding.weight"
        widths = {name: shape[1] for name in texts for key, shape in self._shapes[name].items() if key.endswith(ending)}
        return widths if len(widths) == len(texts) and "unet" in self._shapes else {}

    def modules(self, component: str) -> tuple[str, ...]:
        """Return the dotted names of a component's modules that have a weight."""
        return tuple(self._weights(component))

    def _bare(self, alias: str) -> tuple[Target, ...]:
        """Look up a name without a prefix: the image model first, then a text encoder if only one has it."""
        if found := _first(self._dotted, _IMAGE, alias):
            return found
        hits = [hit for name in _TEXT if (hit := self._dotted.get(name, {}).get(alias))]
        return hits[0] if len(hits) == 1 else ()

    def _weights(self, component: str) -> dict[str, Shape]:
        ending = ".weight"
        return {
            key.removesuffix(ending): shape
            for key, shape in self._shapes.get(component, {}).items()
            if key.endswith(ending)
        }

    def _local_names(self, component: str) -> Iterator[tuple[str, tuple[Target, ...]]]:
        """Yield the component's names without any prefix; diffusers' own come last, so that they win."""
        weights = self._weights(component)
        others: Iterator[tuple[str, tuple[Slice, ...]]]
        if component == "unet":
            others = unet_aliases(weights)
        elif component == "transformer":
            others = transformer_aliases(weights)
        else:
            others = text_aliases(weights)
        for alias, slices in others:
            yield alias, tuple(Target(component, part.module, part.rows) for part in slices)
        for module in weights:
            yield module, (Target(component, module),)

    def _family(self) -> str:
        """Name the base's architecture, as that of an adapter of all its modules would be named."""
        image = next((name for name in _IMAGE if name in self._shapes), "")
        weights = self._weights(image) if image else {}
        modules = (Shaped(f"{image}.{name}", *_widths(shape)) for name, shape in weights.items())
        return recognise(modules, {}).family


def _widths(shape: Shape) -> tuple[int | None, int | None]:
    """Return the inputs and the rows of a weight."""
    return (shape[1] if len(shape) > 1 else None), (shape[0] if shape else None)


def _first(
    table: Mapping[str, Mapping[str, tuple[Target, ...]]], components: tuple[str, ...], local: str
) -> tuple[Target, ...]:
    for component in components:
        if found := table.get(component, {}).get(local):
            return found
    return ()


def _flatten(dotted: Mapping[str, tuple[Target, ...]]) -> dict[str, tuple[Target, ...]]:
    """Put underscores for dots. A flat name that two modules would share means neither."""
    flat: dict[str, tuple[Target, ...]] = {}
    clashes: set[str] = set()
    for alias, targets in dotted.items():
        name = alias.replace(".", "_")
        if flat.setdefault(name, targets) != targets:
            clashes.add(name)
    for name in clashes:
        del flat[name]
    return flat
