"""Kinds of adapter that rotate a weight instead of adding to it: OFT (Qiu et al., arXiv 2306.07280) and BOFT.

At a scale s every rotation R is replaced by ``s R + 1 - s``.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

Blocks = Float[Tensor, "*stages number size size"]


@dataclass(frozen=True, slots=True)
class Rotated:
    """OFT as kohya and LyCORIS train it: blocks of output channels are rotated.

    Each block is turned by ``R = (1 + Q) (1 - Q)^-1`` with ``Q = b - b^T``: ``W = R^T W0``. If the file has a
    constraint (its alpha), |Q| is at most the constraint times the number of output channels.
    """

    blocks: Float[Tensor, "number size size"]
    constraint: float
    rescale: Float[Tensor, " out"] | None = None

    def apply(self, base: Float[Tensor, "..."], scale: float) -> Float[Tensor, "..."]:
        """Rotate, then rescale each output channel if the adapter does."""
        turn = _turned(self.blocks, self.constraint, scale, base.device)
        number, size, _ = self.blocks.shape
        turned = torch.einsum("knm,kn...->km...", turn, base.view(number, size, *base.shape[1:])).reshape(base.shape)
        return _rescaled(turned, self.rescale)

    def acts(self) -> bool:
        """Tell whether any block turns, or any channel is rescaled."""
        return _turns(self.blocks) or self.rescale is not None


@dataclass(frozen=True, slots=True)
class Butterfly:
    """BOFT (Liu et al., arXiv 2311.06243) as LyCORIS trains it: several rotations, one after another.

    Each stage rotates blocks as OFT does, by R itself. Its blocks hold every ``2^stage size / 2``-th output channel, so
    that after the last stage any channel may have reached any other.
    """

    blocks: Float[Tensor, "stages number size size"]
    constraint: float
    rescale: Float[Tensor, " out"] | None = None

    def apply(self, base: Float[Tensor, "..."], scale: float) -> Float[Tensor, "..."]:
        """Rotate stage by stage, then rescale each output channel if the adapter does."""
        size = self.blocks.shape[-1]
        weight = base.reshape(base.shape[0], -1)
        for stage, turn in enumerate(_turned(self.blocks, self.constraint, scale, base.device)):
            width = 2**stage * size // 2
            apart = weight.unflatten(0, (-1, 2, width)).transpose(1, 2).reshape(-1, size, weight.shape[1])
            turned = torch.bmm(turn, apart).reshape(-1, width, 2, weight.shape[1])
            weight = turned.transpose(1, 2).reshape(weight.shape)
        return _rescaled(weight.reshape(base.shape), self.rescale)

    def acts(self) -> bool:
        """Tell whether any block turns, or any channel is rescaled."""
        return _turns(self.blocks) or self.rescale is not None


@dataclass(frozen=True, slots=True)
class InputsRotated:
    """OFT as peft and OneTrainer train it: blocks of inputs are rotated, ``W = W0 R^T``.

    Q is skew-symmetric, with the stored values above its diagonal. R is ``(1 - Q) (1 + Q)^-1``, or, which is nearly its
    inverse, ``1 + 2 Q + 2 Q^2 + ... + Q^n``: that is how peft computes them. A single block is shared by all inputs.
    """

    values: Float[Tensor, "number above"]
    size: int
    terms: int
    """How many terms of the series are taken; 0 for the quotient."""
    factor: float = 1.0
    """Of the stored values; OneTrainer's scaled OFT divides them by the root of their number."""
    bound: float = math.inf
    """Of |Q| in each block (constrained OFT)."""

    def apply(self, base: Float[Tensor, "out inputs"], scale: float) -> Float[Tensor, "out inputs"]:
        """Rotate the inputs of each output."""
        one = torch.eye(self.size, device=base.device)
        turn = scale * self._rotation(base.device) + (1 - scale) * one
        blocks = base.reshape(base.shape[0], -1, self.size)
        return torch.einsum("okn,kmn->okm", blocks, turn.expand(blocks.shape[1], -1, -1)).reshape(base.shape)

    def _rotation(self, device: torch.device) -> Float[Tensor, "number size size"]:
        rows, columns = torch.triu_indices(self.size, self.size, 1, device=device)
        skew = torch.zeros(len(self.values), self.size, self.size, device=device)
        skew[:, rows, columns] = self.values.to(device, torch.float32) * self.factor
        skew = skew - skew.transpose(1, 2)
        skew = skew * (self.bound / torch.linalg.vector_norm(skew, dim=(1, 2), keepdim=True)).clamp_max(1.0)
        one = torch.eye(self.size, device=device)
        if not self.terms:
            return torch.linalg.solve(one + skew, one - skew, left=False)
        total, power = one.expand_as(skew).clone(), skew
        last = max(self.terms - 1, 3) if self.terms > 2 else self.terms - 1  # peft goes to Q^3 for 3 terms, too
        for term in range(1, last + 1):
            total += power if term == last > 1 else 2 * power
            power = power @ skew
        return total

    def acts(self) -> bool:
        """Tell whether any block turns."""
        return self.factor != 0 and bool(self.values.float().any())


def _turned(blocks: Blocks, constraint: float, scale: float, device: torch.device) -> Blocks:
    """Return the rotation of each block, as far as the scale takes it."""
    number, size = blocks.shape[-3], blocks.shape[-1]
    skew = blocks.to(device, torch.float32)
    skew = skew - skew.transpose(-1, -2)
    limit, norm = constraint * number * size, float(torch.linalg.vector_norm(skew)) + 1e-8
    if 0 < limit < norm:
        skew = skew * (limit / norm)
    one = torch.eye(size, device=device)
    return scale * ((one + skew) @ torch.linalg.inv(one - skew)) + (1 - scale) * one


def _rescaled(weight: Float[Tensor, "out ..."], rescale: Float[Tensor, " out"] | None) -> Float[Tensor, "out ..."]:
    if rescale is None:
        return weight
    return weight * rescale.to(weight.device, torch.float32).reshape(-1, *[1] * (weight.dim() - 1))


def _turns(blocks: Blocks) -> bool:
    wide = blocks.float()
    return bool((wide - wide.transpose(-1, -2)).any())
