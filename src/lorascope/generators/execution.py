"""How a generator works right now, and what all generators of diffusers share in that."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import torch

from lorascope.errors import ModelError
from lorascope.protocol import Execution, Preset


def deterministic() -> None:
    """Choose kernels that give the same bits in every run of one Execution."""
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False


def execution(preset: Preset, device: torch.device, dtype: torch.dtype, batch: int, *, compiled: bool) -> Execution:
    """Describe how a generator works: device, dtype, batch layout, threads and library versions."""
    import diffusers
    import transformers

    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return Execution(
        device=name,
        dtype=str(dtype).removeprefix("torch."),
        batch=batch,
        block_size=preset.block_size,
        threads=torch.get_num_threads() if device.type == "cpu" else 0,
        compiled=compiled,
        versions=f"torch {torch.__version__}, diffusers {diffusers.__version__}, "
        f"transformers {transformers.__version__}",
    )


@contextmanager
def compiling() -> Generator[None]:
    """Turn a failed compilation into a sentence: compilers are missing on many machines, and fail on first use."""
    from torch._dynamo.exc import TorchDynamoException

    try:
        yield
    except TorchDynamoException as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(f"the denoiser cannot be compiled here ({reason:.200}): leave out --compile") from error
