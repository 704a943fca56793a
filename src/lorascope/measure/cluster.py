"""Where the workers of a cluster run."""

from __future__ import annotations

import socket
from dataclasses import dataclass

from lorascope.errors import ModelError, UsageError

_TIMEOUT = 5.0
"""Seconds in which the head of a cluster has to answer."""


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


def check_address(address: str) -> None:
    """Refuse an address at which nothing listens: Ray itself would continue trying for more than a minute.

    Raises:
        UsageError: it is no address.
        ModelError: nothing answers there.
    """
    if address in ("local", "auto"):
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise UsageError(f"--ray {address:.80}: give local, auto, or HOST:PORT of a cluster's head, such as head:6379")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _TIMEOUT).close()
    except OSError as error:
        raise ModelError(
            f"--ray {address}: nothing answers there ({error}): start Ray on the head with `ray start --head`, check"
            " host and port, or give local"
        ) from error
