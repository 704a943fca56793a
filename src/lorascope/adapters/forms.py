"""What each kind of adapter does to a weight: the formulas.

W0 is the base weight seen as a matrix of out x (in * kernel), s the scale at which the adapter is used, a its
alpha and r its rank; a missing alpha means a = r. LoRA: Hu et al., arXiv 2106.09685. LoCon, LoHa, LoKr,
Tucker and full diff: LyCORIS, Yeh et al., arXiv 2309.14859. DoRA: Liu et al., arXiv 2402.09353. IA3: Liu et
al., arXiv 2205.05638. rsLoRA: Kalajdzievski, arXiv 2312.03732. GLoRA: Chavan et al., arXiv 2306.07967.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from lorascope.adapters.layouts import Rows

Matrix = Float[Tensor, "out columns"]
Tensors = Mapping[str, Tensor]
"""Part, as `keys.split_key` names it, to tensor."""


@runtime_checkable
class Form(Protocol):
    """One kind's way to change one parameter."""

    def apply(self, base: Float[Tensor, "..."], scale: float) -> Float[Tensor, "..."]:
        """Return the changed parameter. ``base`` is float32 and contiguous, and may be overwritten."""
        ...

    def acts(self) -> bool:
        """Tell whether it can change anything: False if it is exactly zero."""
        ...


@runtime_checkable
class Addition(Protocol):
    """A kind that adds a matrix, which does not depend on W0, times s."""

    def add_to(self, weight: Matrix, scale: float, rows: Rows | None) -> None:
        """Add the matrix, or the given rows of it, times ``scale`` to ``weight`` in place."""
        ...

    def acts(self) -> bool:
        """Tell whether the matrix can be other than zero."""
        ...


@dataclass(frozen=True, slots=True)
class LowRank:
    """LoRA and LoCon: ``W = W0 + s * (a / r) * up @ down``."""

    down: Float[Tensor, "rank ..."]
    up: Float[Tensor, "out rank *one"]
    factor: float

    def add_to(self, weight: Matrix, scale: float, rows: Rows | None) -> None:
        """Multiply the factors straight into the weight; of ``up`` only the rows that are asked for."""
        up = _take(self.up.flatten(1), rows).to(weight.device, torch.float32)
        weight.addmm_(up, self.down.flatten(1).to(weight.device, torch.float32), alpha=scale * self.factor)

    def acts(self) -> bool:
        """Tell whether neither factor is zero."""
        return self.factor != 0 and _nonzero(self.down, self.up)


@dataclass(frozen=True, slots=True)
class Tucker:
    """LoCon with a core: ``dW[o,i,k,l] = (a / r) * sum_pq up[o,p] * core[p,q,k,l] * down[q,i]``."""

    down: Float[Tensor, "rank inputs *one"]
    core: Float[Tensor, "rank_out rank *kernel"]
    up: Float[Tensor, "out rank_out *one"]
    factor: float

    def add_to(self, weight: Matrix, scale: float, rows: Rows | None) -> None:
        """Contract the core with both factors."""
        device = weight.device
        up = _take(self.up.flatten(1), rows).to(device)
        whole = _contract(self.core.to(device), up, self.down.flatten(1).to(device))
        weight.add_(whole.flatten(1), alpha=scale * self.factor)

    def acts(self) -> bool:
        """Tell whether no factor is zero."""
        return self.factor != 0 and _nonzero(self.down, self.core, self.up)


@dataclass(frozen=True, slots=True)
class Hadamard:
    """LoHa: ``dW = (a / r) * (w1_a @ w1_b) * (w2_a @ w2_b)``, element by element.

    With cores, each half is Tucker's, and w_a is stored the other way round: (rank, out).
    """

    parts: Tensors
    factor: float

    def add_to(self, weight: Matrix, scale: float, rows: Rows | None) -> None:
        """Multiply the two halves."""
        device = weight.device
        one, two = (_half(self.parts, f"hada_w{n}_a", f"hada_w{n}_b", f"hada_t{n}", device) for n in (1, 2))
        weight.add_(_take(one.mul_(two).flatten(1), rows), alpha=scale * self.factor)

    def acts(self) -> bool:
        """Tell whether no part is zero."""
        return self.factor != 0 and _nonzero(*self.parts.values())


@dataclass(frozen=True, slots=True)
class Kronecker:
    """LoKr: ``dW = (a / r) * kron(w1, w2)``, where w1 and w2 are whole, a product of two, or Tucker's (w2).

    With both whole there is no rank, and LyCORIS takes the factor 1 whatever alpha says.
    """

    parts: Tensors
    factor: float

    def add_to(self, weight: Matrix, scale: float, rows: Rows | None) -> None:
        """Take the Kronecker product over output and input channels; the kernel belongs to w2 alone."""
        one = self._factor(1, weight.device).flatten(1)
        two = self._factor(2, weight.device)
        product = torch.kron(one.reshape(*one.shape, *[1] * (two.dim() - 2)), two.contiguous())
        weight.add_(_take(product.flatten(1), rows), alpha=scale * self.factor)

    def _factor(self, n: int, device: torch.device) -> Float[Tensor, "..."]:
        if (whole := self.parts.get(f"lokr_w{n}")) is not None:
            return whole.to(device, torch.float32)
        return _half(self.parts, f"lokr_w{n}_a", f"lokr_w{n}_b", f"lokr_t{n}", device)

    def acts(self) -> bool:
        """Tell whether no part is zero."""
        return self.factor != 0 and _nonzero(*self.parts.values())


@dataclass(frozen=True, slots=True)
class Difference:
    """A full difference, of a weight, a norm or a bias: ``W = W0 + s * diff``."""

    diff: Float[Tensor, "..."]
    factor: float = 1.0

    def add_to(self, weight: Matrix, scale: float, rows: Rows | None) -> None:
        """Add the difference itself; a vector is a column."""
        diff = _take(self.diff.reshape(self.diff.shape[0], -1), rows)
        weight.add_(diff.to(weight.device, torch.float32), alpha=scale * self.factor)

    def acts(self) -> bool:
        """Tell whether it is not zero."""
        return self.factor != 0 and _nonzero(self.diff)


@dataclass(frozen=True, slots=True)
class Generalised:
    """GLoRA as LyCORIS trains it: ``dW = (a / r) * (W0 @ a1 @ a2 + b1 @ b2)``, over the input channels."""

    a1: Float[Tensor, "inputs rank"]
    a2: Float[Tensor, "rank inputs"]
    b1: Float[Tensor, "out rank"]
    b2: Float[Tensor, "rank ..."]
    factor: float

    def add_to(self, weight: Matrix, scale: float, rows: Rows | None) -> None:
        """Multiply what is in ``weight`` before anything is added to it."""
        a1, a2 = (part.flatten(1).to(weight.device, torch.float32) for part in (self.a1, self.a2))
        untouched = weight.reshape(weight.shape[0], a1.shape[0], -1)
        seen = torch.einsum("oik,ir,rj->ojk", untouched, a1, a2).reshape(weight.shape)
        weight.add_(seen, alpha=scale * self.factor)
        LowRank(self.b2, self.b1, self.factor).add_to(weight, scale, rows)

    def acts(self) -> bool:
        """Tell whether one of the two products is other than zero."""
        return self.factor != 0 and (_nonzero(self.a1, self.a2) or _nonzero(self.b1, self.b2))


@dataclass(frozen=True, slots=True)
class LessStart:
    """PiSSA and OLoRA: ``dW = (a / r) * up @ down - P``, P the part of W0 that the factors held before training.

    P is the best approximation of W0 of the adapter's rank (PiSSA: Meng et al., arXiv 2404.02948), or the product of
    the first columns and rows of its QR decomposition, times a / r (OLoRA: Büyükakyüz, arXiv 2406.01775).
    """

    addition: LowRank
    start: str

    def add_to(self, weight: Matrix, scale: float, rows: Rows | None) -> None:
        """Compute P from what is in ``weight``, which must be all of W0."""
        start = _START[self.start](weight, self.addition)
        self.addition.add_to(weight, scale, rows)
        weight.sub_(start, alpha=scale)

    def acts(self) -> bool:
        """Return True: only with W0 could it be known that nothing was trained."""
        return True


@dataclass(frozen=True, slots=True)
class Added:
    """Any addition at work: ``W = W0 + s * dW``."""

    addition: Addition
    rows: Rows | None = None

    def apply(self, base: Float[Tensor, "..."], scale: float) -> Float[Tensor, "..."]:
        """Add, in the shape of the base weight."""
        self.addition.add_to(base.view(base.shape[0], -1), scale, self.rows)
        return base

    def acts(self) -> bool:
        """Tell whether the addition can be other than zero."""
        return self.addition.acts()


@dataclass(frozen=True, slots=True)
class Decomposed:
    """DoRA: ``W = m * V / |V|`` with ``V = W0 + s * dW``.

    The norm is taken along the input for each output channel (the paper, peft), or for each input channel
    (LyCORIS' ``dora_scale`` of shape (1, in)). At s = 1 all tools agree. At other scales, ComfyUI, Forge and A1111 move
    a part of the way from W0 to W at s = 1, which is done here for the files that they read; peft has the scale
    before the norm, which is done for its own. A scale of 0 switches the adapter off.
    """

    addition: Addition
    magnitude: Float[Tensor, " channels"]
    by_input: bool
    rows: Rows | None = None
    linear: bool = False
    """Whether the change grows with the scale."""

    def apply(self, base: Float[Tensor, "..."], scale: float) -> Float[Tensor, "..."]:
        """Add, then give each channel the magnitude that was learnt for it."""
        return base.lerp_(self._moved(base.clone(), 1.0), scale) if self.linear else self._moved(base, scale)

    def _moved(self, base: Float[Tensor, "..."], scale: float) -> Float[Tensor, "..."]:
        moved = Added(self.addition, self.rows).apply(base, scale)
        axis = 1 if self.by_input else 0
        others = [index for index in range(base.dim()) if index != axis]
        norm = torch.linalg.vector_norm(moved, dim=others, keepdim=True).clamp_min(_TINY)
        chosen = self.magnitude if self.by_input else _take(self.magnitude, self.rows)
        shape = [-1 if index == axis else 1 for index in range(base.dim())]
        return moved.mul_(chosen.to(base.device, torch.float32).reshape(shape) / norm)

    def acts(self) -> bool:
        """Return True: even with a zero addition, the magnitudes may differ from the base weight's."""
        return True


@dataclass(frozen=True, slots=True)
class Rescaled:
    """IA3: ``W = W0 * (1 + s * w)``, w per input or per output channel.

    LyCORIS stores w (0 does nothing); peft stores l = 1 + w (1 does nothing), which the caller converts.
    """

    change: Float[Tensor, " channels"]
    by_input: bool
    rows: Rows | None = None

    def apply(self, base: Float[Tensor, "..."], scale: float) -> Float[Tensor, "..."]:
        """Multiply every channel."""
        axis = 1 if self.by_input else 0
        shape = [-1 if index == axis else 1 for index in range(base.dim())]
        change = _take(self.change, self.rows).to(base.device, torch.float32)
        return base.mul_(1 + scale * change.reshape(shape))

    def acts(self) -> bool:
        """Tell whether any channel is multiplied by other than 1."""
        return _nonzero(self.change)


@dataclass(frozen=True, slots=True)
class Together:
    """Several adapters on one weight, each at a scale s_i of its own: ``W = W0 + sum_i (W_i(s * s_i) - W0)``."""

    parts: tuple[tuple[Form, float], ...]

    def apply(self, base: Float[Tensor, "..."], scale: float) -> Float[Tensor, "..."]:
        """Add what each changes of the base weight."""
        changed = base.clone()
        for form, own in self.parts:
            if own:
                changed += form.apply(base.clone(), scale * own) - base
        return changed

    def acts(self) -> bool:
        """Tell whether one of them does."""
        return any(own != 0 and form.acts() for form, own in self.parts)


def _principal(weight: Matrix, addition: LowRank) -> Matrix:
    rank = addition.down.shape[0]
    left, values, right = torch.linalg.svd(weight, full_matrices=False)
    return (left[:, :rank] * values[:rank]) @ right[:rank]


def _first_of_qr(weight: Matrix, addition: LowRank) -> Matrix:
    rank = addition.down.shape[0]
    q, r = torch.linalg.qr(weight)
    return addition.factor * q[:, :rank] @ r[:rank]


_START: Final[Mapping[str, Callable[[Matrix, LowRank], Matrix]]] = {"pissa": _principal, "olora": _first_of_qr}
_TINY: Final = torch.finfo(torch.float32).tiny


def scaling(alpha: float | None, rank: int | None, rank_stabilised: bool) -> float:
    """Return the factor of a factored addition: ``alpha / rank``, or with rsLoRA ``alpha / sqrt(rank)``.

    A missing alpha means alpha = rank, in which case the factor is 1 (with rsLoRA sqrt(rank)).
    """
    if rank is None:
        return 1.0
    divisor = math.sqrt(rank) if rank_stabilised else rank
    return (rank if alpha is None else alpha) / divisor


def _take(tensor: Float[Tensor, "out ..."], rows: Rows | None) -> Float[Tensor, "taken ..."]:
    if rows is None:
        return tensor
    pieces = [tensor[start:stop].float() for start, stop in rows]  # torch cannot join 8-bit floats
    return pieces[0] if len(pieces) == 1 else torch.cat(pieces)


def _contract(
    core: Float[Tensor, "p q *kernel"], up: Float[Tensor, "out p"], down: Float[Tensor, "q inputs"]
) -> Float[Tensor, "out inputs *kernel"]:
    return torch.einsum("pq...,op,qi->oi...", core.float(), up.float(), down.float())


def _half(parts: Tensors, a: str, b: str, core: str, device: torch.device) -> Float[Tensor, "..."]:
    """Return ``a @ b`` as a matrix, or the contraction of ``core`` with both, which has a kernel."""
    first, second = (parts[part].to(device, torch.float32).flatten(1) for part in (a, b))
    if (middle := parts.get(core)) is not None:
        return _contract(middle.to(device), first.T, second)
    return first @ second


def _nonzero(*tensors: Tensor) -> bool:
    return all(bool(tensor.float().any()) for tensor in tensors)
