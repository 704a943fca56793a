"""How much two adapters change the same weights in the same direction, from their factors alone."""

import math

import torch
from torch import Tensor

from lorascope.adapters.delta import Delta
from lorascope.adapters.forms import Added, Difference, LowRank


def similarity(one: Delta, two: Delta) -> float | None:
    """Return the cosine of two changes over the weights that both change.

    With ``dW = f B A`` the inner product of two changes is ``f1 f2 sum((B1^T B2) * (A1 A2^T))``: matrices of the two
    ranks, never of the weight's size. Duplicates give 1, and so do files that were resized without loss;
    of one that was truncated it is the root of the share of its squared singular values that was kept.

    Args:
        one: An adapter, matched to a base model.
        two: Another one, matched to the same base model.

    Returns:
        -1 to 1, or None if they share no weight whose change is known without the base model: LoRA, LoCon and
        differences are compared, other kinds are not.
    """
    shared = sorted(set(one.targets) & set(two.targets))
    pairs = [(_change(one, target), _change(two, target)) for target in shared]
    known = [(a, b) for a, b in pairs if a is not None and b is not None]
    inner = sum(_inner(a, b) for a, b in known)
    lengths = [math.sqrt(sum(_inner(pair[side], pair[side]) for pair in known)) for side in (0, 1)]
    if not known or 0.0 in lengths:
        return None
    return max(-1.0, min(1.0, inner / (lengths[0] * lengths[1])))


Change = tuple[Tensor, Tensor | None, float]
"""Two matrices and a number whose product is the change; of a difference, its one matrix."""


def _change(delta: Delta, target: tuple[str, str]) -> Change | None:
    form = delta.form(*target)
    if not isinstance(form, Added):
        return None
    match form.addition:
        case LowRank(down, up, factor):
            whole = up.flatten(1).double()
            rows = whole if form.rows is None else torch.cat([whole[start:stop] for start, stop in form.rows])
            return rows, down.flatten(1).double(), factor
        case Difference(diff, factor) if form.rows is None:
            return diff.reshape(diff.shape[0], -1).float(), None, factor
        case _:
            return None


def _inner(one: Change, two: Change) -> float:
    """Return the sum of the products of all entries, with matrices no larger than those that are stored."""
    (left, right, factor), (other, other_right, other_factor) = one, two
    if right is not None and other_right is not None:
        product = ((left.T @ other) * (right @ other_right.T)).sum()
    elif right is not None:
        product = ((left.float().T @ other) * right).sum()
    elif other_right is not None:
        return _inner(two, one)
    else:
        product = torch.dot(left.flatten(), other.flatten())
    return factor * other_factor * float(product)
