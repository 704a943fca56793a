"""Starting noise that belongs to the cell: from a CPU generator, whatever the batch, the device or the order."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from lorascope.protocol import NoiseRule


def starting_noise(
    seeds: Sequence[int], shape: tuple[int, ...], rule: NoiseRule, first_seed: int
) -> tuple[torch.Tensor, list[torch.Generator]]:
    """Standard normal noise (n, *shape) in float32, and each cell's generator for samplers that draw more.

    ``cell`` draws from a generator seeded by the cell's seed. ``batch-4`` is the published CARLoS code: seeds
    come in fours, and the k-th of four is the k-th image of one draw for a batch of four.
    """
    noise: list[torch.Tensor] = []
    generators: list[torch.Generator] = []
    for seed in seeds:
        place = (seed - first_seed) % 4 if rule == "batch-4" else 0
        generator = torch.Generator("cpu").manual_seed(seed - place)
        drawn = torch.randn((4 if rule == "batch-4" else 1, *shape), generator=generator)
        noise.append(drawn[place])
        generators.append(generator)
    return torch.stack(noise), generators
