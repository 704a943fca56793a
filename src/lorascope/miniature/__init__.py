"""A small trained world: a base model in SDXL's form, a CLIP encoder, adapters, and what is true of them.

It stands in for the large models wherever a trained one is needed and none can be fetched: tests, the demo,
benchmarks. Nothing heavy is imported here. How it was made stands in `miniature/README.md` of the repository.
"""

import json
from pathlib import Path
from typing import Any

__all__ = ["adapters_path", "base_path", "encoder_path", "truth"]

_HERE = Path(__file__).parent


def base_path() -> Path:
    """Return the folder that ``StableDiffusionXLPipeline.from_pretrained(path, add_watermarker=False)`` loads."""
    return _HERE / "base"


def encoder_path() -> Path:
    """Return the folder of the CLIP model, with tokenizer.json and preprocessor_config.json."""
    return _HERE / "encoder"


def adapters_path() -> Path:
    """Return the folder of the adapter files and their sidecars."""
    return _HERE / "adapters"


def truth() -> dict[str, Any]:
    """Return what is known of the adapters by construction.

    Returns:
        ``adapters``: file stem to ``file``, ``effects``, ``kind`` (single, subject, mixture, undertrained,
        overpowering, twin), ``twin`` and ``trigger``. ``queries``: a list of ``text``, ``kind`` (word or
        paraphrase) and ``relevant`` (file stem to grade: 2 the effect itself, 1 a near one; others are 0).
        ``unanswered``: phrases for effects that no adapter has.
    """
    return json.loads(_HERE.joinpath("truth.json").read_text("utf-8"))
