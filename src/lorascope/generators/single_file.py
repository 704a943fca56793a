"""Checkpoints in one file, as image tools keep them, put together with what they lack."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from lorascope.adapters import read_adapter
from lorascope.errors import AdapterError, ModelError
from lorascope.families import ARCHITECTURES, architecture, title_of
from lorascope.generators.parts import Parts, denoiser_of, plain
from lorascope.installations import Checkpoint, PartsFinder, read_checkpoint
from lorascope.models import find_configuration
from lorascope.protocol import Preset

_SINGLE_FILES = {row.name: row.repository for row in ARCHITECTURES if row.repository}
"""Where the configuration of a family's checkpoints is that hold all parts."""
_V_PREDICTION = "prediction_type=v_prediction"
_ZERO_SNR = "rescale_betas_zero_snr=true"
_BAKED = {
    "text_encoder": ("cond_stage_model.", "conditioner.embedders.0."), "text_encoder_2": ("conditioner.embedders.1.",),
    "vae": ("first_stage_model.",),
}  # fmt: skip
"""What the names of parts within checkpoints of SD 1.5, SD 2 and SDXL begin with."""


def load_single_file(
    preset: Preset, file: Path, options: dict[str, Any], autoencoder: Callable[[Path], Any] | None = None
) -> Any:
    """Load a checkpoint by the pipeline of the preset's family.

    What it lacks is looked for in the tools of this machine, beginning with the one that holds it. diffusers would
    fetch configurations although it was asked not to: so it is given a folder.

    Args:
        preset: Names the family, and the scheduler that the checkpoint's marks are held against.
        file: The checkpoint.
        options: ``dtype`` and ``local_files_only`` as diffusers takes them.
        autoencoder: Loads the VAE that the preset names, by the model's configuration.

    Raises:
        ModelError: it is no base model or one of another family, or lacks parts that are not on this disk.
    """
    import diffusers
    from diffusers.loaders.single_file_utils import fetch_diffusers_config
    from huggingface_hub import constants

    row = architecture(preset.family)
    if row is None or not row.generator:
        raise ModelError(f"{file} is a single file, and no model of {preset.family} can be loaded: check the preset")
    marks = _marks(file)
    checkpoint = load_file(file)
    repository = fetch_diffusers_config(checkpoint)["pretrained_model_name_or_path"]
    if repository == _SINGLE_FILES["sd15"]:  # diffusers' guess where it finds no text encoder
        repository = _SINGLE_FILES.get(marks.architecture, repository)
    if row.repository:
        _check_architecture(preset, file, repository, marks)
    finder = PartsFinder(file, Path(constants.HF_HUB_CACHE))
    local: bool = options["local_files_only"]
    folder = _configuration(repository, finder, download=not local)
    parts = Parts(checkpoint, row, repository, folder, finder, options["dtype"], download=not local)
    if autoencoder:
        options = options | {"vae": autoencoder(folder)}
    if not row.repository:
        return _denoiser_file(parts, options)
    if file.suffix != ".safetensors":
        raise ModelError(
            f"{file}: diffusers knows checkpoints of {row.title} by the ending .safetensors: rename the file"
        )
    if len(plain(checkpoint)) != len(checkpoint):  # diffusers reads the file itself, and passes over scales
        raise ModelError(
            f"{file} holds float8 weights with scales, which is read for the newer families only: get it in float16,"
            " bfloat16 or plain float8"
        )
    lacking = [name for name in parts.names if not any(key.startswith(_BAKED[name]) for key in checkpoint)]
    options = parts.load(name for name in lacking if name not in options) | options
    more = {"add_watermarker": False} if row.pipeline == "StableDiffusionXLPipeline" else {}
    return getattr(diffusers, row.pipeline).from_single_file(str(file), config=str(folder), **more, **options)


def _configuration(repository: str, finder: PartsFinder, *, download: bool) -> Path:
    """The folder with a model's configuration and tokenizers: in the hub's cache, or a copy that a tool keeps.

    Raises:
        ModelError: there is none, and it cannot be fetched.
    """
    try:
        return find_configuration(repository)
    except ModelError:
        if copy := finder.configuration(repository):
            return copy
    try:
        return find_configuration(repository, download=download)
    except ModelError as error:
        raise ModelError(
            f"the configuration and tokenizers of {finder.checkpoint} are looked for in {repository}: {error}"
        ) from error


def _denoiser_file(parts: Parts, options: dict[str, Any]) -> Any:
    """Put a model together whose denoiser is in a file, as ComfyUI keeps those of newer families.

    Raises:
        ModelError: it is a denoiser of another family, or weights are missing.
    """
    import diffusers

    row, file = parts.row, parts.finder.checkpoint
    if parts.index["_class_name"] not in row.pipelines:
        raise ModelError(
            f"{file} is a checkpoint for {parts.index['_class_name']}, but the preset is for {row.title}: give a preset"
            " of its family, or another --base"
        )
    kind = getattr(diffusers, parts.index[row.denoiser][1])
    lacking = ModelError(f"{file} lacks weights that a {kind.__name__} has: get the whole file")
    own = plain(denoiser_of(parts.checkpoint))
    try:
        denoiser = kind.from_single_file(
            own, config=str(parts.folder), subfolder=row.denoiser, dtype=options["dtype"], local_files_only=True
        )
    except LookupError as error:  # diffusers counts blocks that are not there
        raise lacking from error
    if any(weight.is_meta for weight in denoiser.parameters()):
        raise lacking
    others = parts.load(name for name in parts.names if name not in options)
    pipeline = getattr(diffusers, parts.index["_class_name"])
    return pipeline.from_pretrained(str(parts.folder), **{**options, **others, row.denoiser: denoiser})


def _marks(file: Path) -> Checkpoint:
    """What a file's header tells.

    Raises:
        ModelError: it cannot be read, or is no base model.
    """
    try:
        marks = read_checkpoint(file)
        adapter = None if marks else read_adapter(file)
    except AdapterError as error:
        raise ModelError(f"{file} is no base model: {error.reason}: give a checkpoint with --base") from error
    if marks is None:
        title = title_of(adapter.family) if adapter else ""
        raise ModelError(
            f"{file} is an adapter ({title}), not a base model: give it as a path, and a checkpoint with --base"
        )
    return marks


def _check_architecture(preset: Preset, file: Path, repository: str, marks: Checkpoint) -> None:
    """Refuse a checkpoint of another family than the preset's, or one that predicts v where the preset does not.

    Raises:
        ModelError: diffusers recognises another family, or the checkpoint is marked as predicting v.
    """
    family = next((family for family, place in _SINGLE_FILES.items() if place == repository), repository)
    if family != preset.family:
        raise ModelError(
            f"{file} is a checkpoint of {family}, but the preset {preset.name!r} is for {preset.family}: give a"
            " preset of its family, or another --base"
        )
    if marks.prediction == "v" and _V_PREDICTION not in preset.scheduler:
        raise ModelError(
            f"{file} predicts v, but the scheduler of the preset {preset.name!r} does not: give a preset such as"
            f" noobai-vpred, or the option {_V_PREDICTION} in its scheduler"
        )
    if marks.zero_snr and _ZERO_SNR not in preset.scheduler:
        raise ModelError(
            f"{file} was trained with zero terminal SNR, but the scheduler of the preset {preset.name!r} is not set to"
            f" it: give a preset such as noobai-vpred, or the option {_ZERO_SNR} in its scheduler"
        )
