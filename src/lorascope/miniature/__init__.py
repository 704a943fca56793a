"""A small trained world: a base model in SDXL's form, a CLIP encoder, a judge, adapters, and what is true of them.

It stands in for the large models wherever a trained one is needed and none can be fetched: tests, the demo,
benchmarks. Nothing heavy is imported here. How it was made is described in `miniature/README.md` of the repository.
"""

import json
from pathlib import Path
from typing import Any

__all__ = ["adapters_path", "base_path", "encoder_path", "pack_path", "truth"]

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


def pack_path() -> Path:
    """Return the pack with the signatures of all adapters, which `python -m miniature index` makes."""
    return _HERE / "pack"


def truth() -> dict[str, Any]:
    """Return what is known about the adapters by construction.

    Returns:
        ``adapters``: file stem to ``file``, ``effects``, ``kind`` (single, subtle, bound, subject, mixture,
        undertrained, overtrained, overpowering, slider, none), ``degree``, ``where``, ``only``, ``twin``, ``trigger``,
        ``description`` (of which sort its author's words are), ``kept`` (0 to 2, how far scenes stay what was asked
        for) and ``kept_share``. ``queries``: a list of ``text``, ``kind``, ``group``, ``split`` (dev, test or both) and
        ``relevant`` (file stem to grade 1 or 2; others are 0). docs/truth.md of the repository has the rules.
        ``unanswered``: phrases for effects that no adapter has.
    """
    return json.loads(_HERE.joinpath("truth.json").read_text("utf-8"))
