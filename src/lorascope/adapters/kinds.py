"""The kinds of adapter, recognised and checked by the names and shapes of a module's parts alone.

Nothing here needs a tensor's values, so inspecting a folder and loading for measurement share these checks.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]
"""Part to shape, for one module."""


class ShapeProblem(Exception):
    """A module's parts do not fit together; the text says how. The caller makes a MalformedAdapter of it."""


@dataclass(frozen=True, slots=True)
class Module:
    """What the shapes of one module's parts imply.

    Attributes:
        kind: "lora", "locon", "loha", "lokr", "glora", "oft", "boft", "full" or "ia3".
        traits: Any of "dora", "tucker", "bias".
        rank: The inner width, or None where there is none.
        rows: Height of the weight it changes, seen as a matrix; None if it changes the bias only, or is not implied.
        columns: Width of that matrix (input channels x kernel), or None if it is not implied.
        inputs: Input channels, or None.
    """

    kind: str
    traits: tuple[str, ...] = ()
    rank: int | None = None
    rows: int | None = None
    columns: int | None = None
    inputs: int | None = None


def describe(shapes: Shapes) -> Module:
    """Return what a module is.

    Args:
        shapes: Part (as `keys.split_key` names it) to shape.

    Raises:
        ShapeProblem: If a part is missing, shapes do not fit, or parts of two kinds meet.
    """
    for part in _SCALARS & shapes.keys():
        if math.prod(shapes[part]) != 1:
            raise ShapeProblem(f"{part} has the shape {list(shapes[part])}, which is no single number")
    for one, other in _EITHER:
        if one in shapes and other in shapes:
            raise ShapeProblem(f"has both {one} and {other}, of which only one can act")
    kinds = [kind for kind, marks in _MARKS.items() if not marks.isdisjoint(shapes)]
    if len(kinds) > 1:
        raise ShapeProblem(f"has parts of two kinds, {kinds[0]} and {kinds[1]}")
    if not kinds:
        if "diff_b" in shapes:
            return Module("full", ("bias",))
        raise ShapeProblem(f"has only {', '.join(sorted(shapes))}, which changes nothing")
    module = _READERS[kinds[0]](shapes)
    extra = tuple(trait for trait, marks in _TRAITS.items() if not marks.isdisjoint(shapes))
    return Module(module.kind, module.traits + extra, module.rank, module.rows, module.columns, module.inputs)


def _need(shapes: Shapes, *parts: str) -> list[Shape]:
    missing = [part for part in parts if part not in shapes]
    if missing:
        present = ", ".join(part for part in parts if part in shapes)
        raise ShapeProblem(f"has {present} but not {', '.join(missing)}")
    found = [shapes[part] for part in parts]
    for part, shape in zip(parts, found, strict=True):
        if len(shape) < 2 or 0 in shape:
            raise ShapeProblem(f"{part} has the shape {list(shape)}, which is no matrix")
    return found


def _flat(shapes: Shapes, *parts: str) -> None:
    """Refuse a factor with a kernel where only a matrix will do."""
    for part in parts:
        if math.prod(shapes[part][2:]) != 1:
            raise ShapeProblem(f"{part} has the shape {list(shapes[part])}; its kernel must be 1")


def _same(rank: int, other: int, what: str) -> None:
    if rank != other:
        raise ShapeProblem(f"{what}: the inner sizes {rank} and {other} differ")


def _lora(shapes: Shapes) -> Module:
    down, up = _need(shapes, "down", "up")
    rank = down[0]
    if "mid" in shapes:
        (mid,) = _need(shapes, "mid")
        _flat(shapes, "down", "up")
        _same(rank, mid[1], "down and mid")
        _same(mid[0], up[1], "mid and up")
        return Module("locon", ("tucker",), rank, up[0], down[1] * math.prod(mid[2:]), down[1])
    _same(rank, up[1], "down and up")
    _flat(shapes, "up")
    kind = "locon" if math.prod(down[2:]) > 1 else "lora"
    return Module(kind, (), rank, up[0], math.prod(down[1:]), down[1])


def _factor(shapes: Shapes, a: str, b: str, core: str) -> tuple[int, int, int, int]:
    """Return rank, rows, columns and inputs of ``a @ b``, or of the Tucker form with ``core``."""
    first, second = _need(shapes, a, b)
    _flat(shapes, a)
    if core in shapes:
        _flat(shapes, b)
        (middle,) = _need(shapes, core)
        _same(first[0], middle[0], f"{a} and {core}")
        _same(second[0], middle[1], f"{b} and {core}")
        return second[0], first[1], second[1] * math.prod(middle[2:]), second[1]
    _same(first[1], second[0], f"{a} and {b}")
    return second[0], first[0], math.prod(second[1:]), second[1]


def _loha(shapes: Shapes) -> Module:
    rank, *one = _factor(shapes, "hada_w1_a", "hada_w1_b", "hada_t1")
    _, *two = _factor(shapes, "hada_w2_a", "hada_w2_b", "hada_t2")
    if one != two:
        raise ShapeProblem(f"its two halves make {one[0]} x {one[1]} and {two[0]} x {two[1]}")
    return Module("loha", ("tucker",) if "hada_t1" in shapes else (), rank, *one)


def _lokr(shapes: Shapes) -> Module:
    ranks: list[int] = []
    sizes: list[tuple[int, int, int]] = []
    for whole, a, b, core in (
        ("lokr_w1", "lokr_w1_a", "lokr_w1_b", ""),
        ("lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2"),
    ):
        if whole in shapes:
            (shape,) = _need(shapes, whole)
            if not core:
                _flat(shapes, whole)
            sizes.append((shape[0], math.prod(shape[1:]), shape[1]))
        else:
            rank, *size = _factor(shapes, a, b, core)
            ranks.append(rank)
            sizes.append((size[0], size[1], size[2]))
    (rows, columns, inputs), (more_rows, more_columns, more_inputs) = sizes
    traits = ("tucker",) if "lokr_t2" in shapes else ()
    # LyCORIS divides by the rank of whichever factor is split; both have the same one
    rank = ranks[0] if ranks else None
    return Module("lokr", traits, rank, rows * more_rows, columns * more_columns, inputs * more_inputs)


def _full(shapes: Shapes) -> Module:
    shape = shapes["diff"]
    if 0 in shape or not shape:
        raise ShapeProblem(f"diff has the shape {list(shape)}, which is empty")
    return Module("full", (), None, shape[0], math.prod(shape[1:]), shape[1] if len(shape) > 1 else None)


def _ia3(shapes: Shapes) -> Module:
    if "ia3_l" not in shapes and "weight" not in shapes:
        raise ShapeProblem("has on_input but not weight")
    return Module("ia3")


def _glora(shapes: Shapes) -> Module:
    a1, a2, b1, b2 = _need(shapes, "a1", "a2", "b1", "b2")
    if "bm" in shapes:
        raise ShapeProblem("has a core (bm), which no trainer writes for GLoRA")
    _flat(shapes, "a1", "a2")
    if glora_is_turned(a1, a2):
        a1, a2, b1, b2 = a2, a1, b2, b1
    _same(a1[1], a2[0], "a1 and a2")
    _same(b1[1], b2[0], "b1 and b2")
    _flat(shapes, "b1")
    inputs = a2[1]
    return Module("glora", (), a2[0], b1[0], math.prod(b2[1:]), inputs)


def glora_is_turned(a1: Shape, a2: Shape) -> bool:
    """Tell LyCORIS' two layouts apart: until 2.0, a1 and b1 were the factors on the right, (rank, in)."""
    return a1[0] < a1[1] and a2[0] > a2[1]


def _oft(shapes: Shapes) -> Module:
    if "oft_r" in shapes:
        number, above = _need(shapes, "oft_r")[0][:2]
        size = oft_size(above)
        if len(shapes["oft_r"]) != 2 or size * (size - 1) // 2 != above:
            raise ShapeProblem(f"has oft_R of shape {list(shapes['oft_r'])}, which are no halves of square blocks")
        inputs = number * size if number > 1 else None  # a single block may be shared
        return Module("oft", (), None, None, inputs, inputs)
    (blocks,) = _need(shapes, "oft_blocks")
    if len(blocks) not in {3, 4} or blocks[-1] != blocks[-2]:
        raise ShapeProblem(f"has oft_blocks of shape {list(blocks)}; (blocks, size, size) is read")
    stages = blocks[0] if len(blocks) == 4 else 0
    if stages and (blocks[-1] % 2 or stages > 32 or blocks[1] * 2 % 2**stages):
        raise ShapeProblem(f"has oft_blocks of shape {list(blocks)}, too few for {stages} stages of BOFT")
    return Module("boft" if stages else "oft", (), None, blocks[-3] * blocks[-1])


def oft_size(above: int) -> int:
    """Return the size of a square block with so many values above its diagonal."""
    return (1 + math.isqrt(1 + 8 * above)) // 2


_MARKS: Final[Mapping[str, frozenset[str]]] = {
    "lora": frozenset({"down", "up", "mid"}),
    "loha": frozenset(f"hada_{name}" for name in ("w1_a", "w1_b", "w2_a", "w2_b", "t1", "t2")),
    "lokr": frozenset(f"lokr_{name}" for name in ("w1", "w1_a", "w1_b", "w2", "w2_a", "w2_b", "t2")),
    "glora": frozenset({"a1", "a2", "b1", "b2", "bm"}),
    "oft": frozenset({"oft_blocks", "rescale", "oft_r", "scaled_oft"}),
    "full": frozenset({"diff"}),
    "ia3": frozenset({"ia3_l", "on_input", "weight"}),
}
_SCALARS: Final = frozenset({"alpha", "on_input", "scaled_oft"})
_EITHER: Final = (
    ("dora", "magnitude"),
    ("diff_b", "up_bias"),
    ("ia3_l", "weight"),
    ("oft_blocks", "oft_r"),
    *((f"lokr_w{n}", f"lokr_w{n}_{half}") for n in (1, 2) for half in "ab"),
    ("lokr_w2", "lokr_t2"),
)
"""Parts that say the same in two ways; whichever were taken, the other would be lost without a word."""
_TRAITS: Final[Mapping[str, frozenset[str]]] = {
    "dora": frozenset({"dora", "magnitude"}),
    "bias": frozenset({"diff_b", "up_bias"}),
}
_READERS: Final[Mapping[str, Callable[[Shapes], Module]]] = {
    "lora": _lora,
    "loha": _loha,
    "lokr": _lokr,
    "glora": _glora,
    "oft": _oft,
    "full": _full,
    "ia3": _ia3,
}
