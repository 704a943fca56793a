"""Where the workers of a cluster run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ClusterPlan:
    """Where workers run, and what each of them has.

    Attributes:
        address: "local" starts Ray on this machine; "auto" finds the cluster that this machine belongs to; else the
            address of one, such as "ray://head:10001".
        workers: how many; 0 for one on each GPU, or on each CPU core where there is no GPU.
        gpus: GPUs of each worker; 0 for workers on CPU; None for one where the cluster has any, else none.
        deadline: seconds after which a worker counts as hung; 0 for twenty times the longest block so far, and a
            quarter of an hour at least.
    """

    address: str = "local"
    workers: int = 0
    gpus: float | None = None
    deadline: float = 0.0
