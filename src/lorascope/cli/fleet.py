"""index on several devices: a cluster of Ray, or one process for each GPU of this machine."""

from __future__ import annotations

import subprocess
import sys

from lorascope.cli.output import err
from lorascope.errors import ModelError, UsageError
from lorascope.extras import require
from lorascope.measure.cluster import ClusterPlan, check_address


def fleet_of(address: str, workers: int, gpus: float | None) -> ClusterPlan | None:
    """The cluster that the options name; None for this process.

    Raises:
        UsageError: there are workers without a cluster.
        MissingExtra: Ray is not installed.
        ModelError: there is no cluster at the address.
    """
    if not address:
        if workers or gpus is not None:
            option = f"--workers {workers}" if workers else f"--gpus-per-worker {gpus:g}"
            raise UsageError(f"{option} belongs to a cluster: add --ray local, auto or its address")
        return None
    require("ray")
    check_address(address)
    return ClusterPlan(address=address, workers=workers, gpus=gpus)


def check_fleet(fleet: ClusterPlan | None, devices: str, device: str, *, dry_run: bool) -> None:
    """Refuse options that contradict each other.

    Raises:
        UsageError: they do.
    """
    if devices not in ("", "all"):
        raise UsageError(f"--devices {devices}: the only choice is all; --device names a single one")
    if devices and (fleet or device):
        raise UsageError(f"--devices all and {'--ray' if fleet else '--device'} exclude each other: leave one out")
    if dry_run and (fleet or devices):
        raise UsageError("--dry-run measures on one device: leave out --ray and --devices, and divide its time")


def measure_on_devices(shard: str) -> int:
    """Run this very command once for each GPU, each with a part of the files; returns the worst exit status.

    All of them write the same library. Ctrl-C reaches all.

    Raises:
        ModelError: there is no GPU.
    """
    import torch

    count = torch.cuda.device_count()
    if not count:
        raise ModelError(
            "--devices all: there is no GPU here: `lorascope doctor` tells why; leave it out to use the CPU"
        )
    command = [sys.executable, "-m", "lorascope", *_without_devices(sys.argv[1:])]
    children = [subprocess.Popen([*command, *_part(shard, number, count)]) for number in range(count)]
    err.print(f"measuring on {count} GPUs")
    try:
        return max((abs(child.wait()) for child in children), default=0)
    except KeyboardInterrupt:
        for child in children:  # each stops between two blocks
            child.wait()
        raise


def _part(shard: str, number: int, count: int) -> list[str]:
    inner = f"{number + 1}/{count}"
    return ["--device", f"cuda:{number}", "--shard", f"{shard}:{inner}" if shard else inner]


def _without_devices(arguments: list[str]) -> list[str]:
    """The command line without --devices and --shard, which every child has its own of."""
    kept: list[str] = []
    skip = False
    for argument in arguments:
        name, joined, _ = argument.partition("=")
        if not skip and name not in ("--devices", "--shard"):
            kept.append(argument)
        skip = not skip and name in ("--devices", "--shard") and not joined
    return kept
