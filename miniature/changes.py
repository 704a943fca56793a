"""The trainable changes of a layer's weight: LoRA and LoCon, LoHa, LoKr, DoRA; and the tensors that a file holds."""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import nn

Layer = nn.Linear | nn.Conv2d


class Algorithm(Protocol):
    """How the trained parameters make a change."""

    def weight(self, base: torch.Tensor) -> torch.Tensor:
        """What is added to the base weight, seen as a matrix of (out, in x kernel)."""
        ...

    def factors(self, push: float, kernel: torch.Size) -> dict[str, torch.Tensor]:
        """The tensors to write, the change multiplied by `push`. `kernel` is the shape of a weight behind its rows."""
        ...


def _down(rank: int, into: int) -> nn.Parameter:
    return nn.Parameter(torch.randn(rank, into) / math.sqrt(into))


class LowRank(nn.Module):
    """LoRA, and on convolutions LoCon: up @ down."""

    def __init__(self, base: torch.Tensor, rank: int) -> None:
        super().__init__()
        self.down = _down(rank, base.shape[1])
        self.up = nn.Parameter(torch.zeros(base.shape[0], rank))

    def weight(self, base: torch.Tensor) -> torch.Tensor:
        """See `Algorithm`."""
        return self.up @ self.down

    def factors(self, push: float, kernel: torch.Size) -> dict[str, torch.Tensor]:
        """See `Algorithm`."""
        ones = (1,) * (len(kernel) - 1)
        return {"down": self.down.view(-1, *kernel), "up": (self.up * push).view(*self.up.shape, *ones)}


class Hadamard(nn.Module):
    """LoHa: two low-rank matrices multiplied element by element."""

    def __init__(self, base: torch.Tensor, rank: int) -> None:
        super().__init__()
        self.down = nn.ParameterList(_down(rank, base.shape[1]) for _ in range(2))
        self.up = nn.ParameterList(
            (nn.Parameter(torch.randn(base.shape[0], rank)), nn.Parameter(torch.zeros(base.shape[0], rank)))
        )

    def weight(self, base: torch.Tensor) -> torch.Tensor:
        """See `Algorithm`."""
        return (self.up[0] @ self.down[0]) * (self.up[1] @ self.down[1])

    def factors(self, push: float, kernel: torch.Size) -> dict[str, torch.Tensor]:
        """See `Algorithm`."""
        return {"w1_a": self.up[0], "w1_b": self.down[0], "w2_a": self.up[1] * push, "w2_b": self.down[1]}


class Kronecker(nn.Module):
    """LoKr: a small whole matrix times a low-rank one, in Kronecker's sense."""

    SIZE = 4

    def __init__(self, base: torch.Tensor, rank: int) -> None:
        super().__init__()
        rows, columns = (n // self.SIZE for n in base.shape)
        self.whole = nn.Parameter(torch.randn(self.SIZE, self.SIZE) / self.SIZE)
        self.a = nn.Parameter(torch.zeros(rows, rank))
        self.b = _down(rank, columns)

    def weight(self, base: torch.Tensor) -> torch.Tensor:
        """See `Algorithm`."""
        return torch.kron(self.whole, self.a @ self.b)

    def factors(self, push: float, kernel: torch.Size) -> dict[str, torch.Tensor]:
        """See `Algorithm`."""
        return {"w1": self.whole * push, "w2_a": self.a, "w2_b": self.b}


class Decomposed(nn.Module):
    """DoRA: a low-rank change of direction, and a magnitude for each output channel."""

    def __init__(self, base: torch.Tensor, rank: int) -> None:
        super().__init__()
        self.inner = LowRank(base, rank)
        self.magnitude = nn.Parameter(base.norm(dim=1, keepdim=True))

    def weight(self, base: torch.Tensor) -> torch.Tensor:
        """See `Algorithm`."""
        moved = base + self.inner.weight(base)
        return self.magnitude * moved / moved.norm(dim=1, keepdim=True) - base

    def factors(self, push: float, kernel: torch.Size) -> dict[str, torch.Tensor]:
        """See `Algorithm`."""
        scale = self.magnitude.view(-1, 1, *(1,) * (len(kernel) - 1))
        return {**self.inner.factors(push, kernel), "dora_scale": scale}


ALGORITHMS: dict[str, type[LowRank] | type[Hadamard] | type[Kronecker] | type[Decomposed]] = {
    "lora": LowRank,
    "locon": LowRank,
    "loha": Hadamard,
    "lokr": Kronecker,
    "dora": Decomposed,
}


class Change(nn.Module):
    """A change of one layer, added to its output by a forward hook."""

    def __init__(self, layer: Layer, algo: str, rank: int) -> None:
        super().__init__()
        self.layer = [layer]  # in a list, so that it is no submodule
        self.base = layer.weight.detach().flatten(1)
        self.algorithm = ALGORITHMS[algo](self.base, rank)
        self.handle = layer.register_forward_hook(self._add)

    def _add(self, layer: Layer, args: tuple[torch.Tensor], out: torch.Tensor) -> torch.Tensor:
        weight = self.algorithm.weight(self.base)
        if isinstance(layer, nn.Conv2d):
            weight = weight.view_as(layer.weight)
            return out + nn.functional.conv2d(args[0], weight, None, layer.stride, layer.padding)
        return out + nn.functional.linear(args[0], weight)

    def factors(self, push: float) -> dict[str, torch.Tensor]:
        """The tensors to write, the change multiplied by `push`."""
        return self.algorithm.factors(push, self.layer[0].weight.shape[1:])
