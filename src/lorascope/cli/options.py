"""Options that several verbs share, and what the shell offers for them after Tab."""

import os
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from lorascope.errors import OutputError, printable


def preset_names(incomplete: str) -> list[str]:
    """Presets that ship; the shell itself completes files."""
    from lorascope.protocol import presets

    return _starting(incomplete, presets())


def precision_names(incomplete: str) -> list[str]:
    """Precisions, coarsest first."""
    from lorascope.precision import PRECISIONS

    return _starting(incomplete, list(PRECISIONS))


def flag_names(incomplete: str) -> list[str]:
    """Kinds of findings."""
    from lorascope.analysis import FLAGS

    return _starting(incomplete, list(FLAGS))


def adapter_names(ctx: Any, incomplete: str) -> list[str]:
    """Names of the adapters in the library of the command."""
    from lorascope.errors import LorascopeError
    from lorascope.library import Library

    try:
        with Library(ctx.params.get("library")) as library:
            return _starting(incomplete, sorted({adapter.name for adapter in library.adapters.all().values()}))
    except LorascopeError:
        return []


def _starting(incomplete: str, names: list[str]) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]


def output_file(text: str) -> Path:
    """Read the path of a file to write; one that cannot be written is refused before any work is done."""
    path = Path(text)
    folder = path.absolute().parent
    if path.is_dir():
        raise OutputError(f"{printable(text)} cannot be written (it is a folder): name a file in it")
    if not folder.is_dir():
        raise OutputError(
            f"{printable(text)} cannot be written (there is no folder {folder}): make it, or name another"
        )
    if not path.exists() and not os.access(folder, os.W_OK):
        raise OutputError(f"{printable(text)} cannot be written (nor can its folder): choose another place")
    return path


LibraryPath = Annotated[
    Path | None,
    typer.Option("--library", "-l", help="The library file. Default: the one in your data folder."),
]
AdapterName = Annotated[
    str,
    typer.Argument(autocompletion=adapter_names, help="Name, path or start of the key of an adapter in the library."),
]
AdapterNames = Annotated[
    list[str] | None,
    typer.Argument(autocompletion=adapter_names, help="Names, paths or starts of keys of adapters in the library."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
ProtocolName = Annotated[
    str,
    typer.Option("--protocol", "-p", help="Which Protocol to look in, by name or digest. Default: the last used."),
]
FlagName = Annotated[
    str,
    typer.Option(
        "--flag",
        autocompletion=flag_names,
        help="Only adapters that health, duplicates or audit report under this flag.",
    ),
]
Top = Annotated[int, typer.Option("--top", "-n", min=1, max=1000, help="How many hits.")]
MaxStrength = Annotated[
    float | None, typer.Option(help="Hide adapters stronger than this. Default: the Protocol's threshold.")
]
MinConsistency = Annotated[
    float | None,
    typer.Option(help="Hide adapters less consistent than this. Default: the Protocol's threshold."),
]
ScreenStrength = Annotated[
    float | None,
    typer.Option(
        "--max-strength", help="Stop early if Strength is certainly above this. Default: the preset's threshold."
    ),
]
ScreenConsistency = Annotated[
    float | None,
    typer.Option(
        "--min-consistency",
        help="Stop early if Consistency is certainly below this. Default: the preset's threshold.",
    ),
]
Everything = Annotated[bool, typer.Option("--everything", help="Apply no thresholds.")]
Family = Annotated[str, typer.Option(help="Only adapters of this base family, such as sdxl.")]
Folder = Annotated[str, typer.Option(help="Only adapters in this folder.")]
ShowHidden = Annotated[bool, typer.Option("--hidden", help="Show what the thresholds hide, and why.")]
Sheet = Annotated[
    Path | None,
    typer.Option(
        parser=output_file, metavar="SHEET",
        help="Write the hits' pictures, without and with each adapter, to this HTML file.",
    ),
]  # fmt: skip
Download = Annotated[bool, typer.Option("--download", help="Download models that are not on this disk.")]
Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[WORDS]", show_default=False,
        help="What the adapter should do: pencil drawing, watercolor -people:0.5, -people.",
    ),
]  # fmt: skip
Pictures = Annotated[list[Path] | None, typer.Option("--image", help="A picture to be like. Repeat it for several.")]
Like = Annotated[
    list[str] | None,
    typer.Option(
        metavar="ADAPTER", autocompletion=adapter_names,
        help="An adapter to be like, by name or key, as in NAME or NAME:0.5. Repeat it for several.",
    ),
]  # fmt: skip
Unlike = Annotated[list[str] | None, typer.Option(metavar="ADAPTER", help="An adapter to be unlike, in the same way.")]
EncodingName = Annotated[
    str, typer.Option(help="How words become a vector: suffix, prefix, both, query, query-minus-empty.")
]
EncoderLocation = Annotated[
    str,
    typer.Option(
        "--encoder",
        help="Folder of the Protocol's encoder, where it is not where it was when the library was measured.",
    ),
]
EveryProtocol = Annotated[bool, typer.Option("--all", help="Answer for every Protocol, in one lane each.")]
PrecisionName = Annotated[
    str,
    typer.Option(
        autocompletion=precision_names,
        help="glance, quick, standard or full. Each continues where a coarser one ended.",
    ),
]
PresetName = Annotated[
    str,
    typer.Option(
        autocompletion=preset_names,
        help="A preset that ships, such as sdxl-paper, or a .toml file. Default: as `setup` chose, else sdxl-paper.",
    ),
]
Base = Annotated[
    str,
    typer.Option(help="Another base model: a folder of diffusers, a .safetensors checkpoint, or a Hugging Face id."),
]
Vae = Annotated[str, typer.Option(help="Another VAE: a folder, a .safetensors file or a Hugging Face id.")]
Encoders = Annotated[
    list[str] | None, typer.Option(help="Another encoder: a folder or a Hugging Face id. Repeat it for several.")
]
Prompts = Annotated[str, typer.Option(help="Another prompt set: a shipped name, a .toml or a .txt file.")]
Triggers = Annotated[str, typer.Option(help="Trigger words: on the adapter's side, both or none.")]
Scale = Annotated[float | None, typer.Option(help="Adapter scale; 1.0 unless the preset says otherwise.")]
Device = Annotated[str, typer.Option(help="cuda, mps or cpu. Default: the GPU if there is one.")]
Batch = Annotated[int, typer.Option(min=0, help="Images rendered at once. 0: the preset's.")]
EvidenceAddress = Annotated[
    str,
    typer.Option(
        "--evidence", metavar="ADDRESS",
        help="Keep the embeddings of cells in a bucket: s3://, gs://, az:// or file:/// and a path.",
    ),
]  # fmt: skip
Devices = Annotated[
    str, typer.Option(metavar="all", help="Measure on every GPU of this machine, in one process for each.")
]
ShardName = Annotated[
    str,
    typer.Option("--shard", metavar="K/N", help="Measure the K-th of N parts of the files, to be merged afterwards."),
]
Ray = Annotated[
    str,
    typer.Option(
        "--ray",
        metavar="ADDRESS",
        help="Measure on a cluster of Ray: local starts one here, auto finds this machine's, or its address.",
    ),
]
Workers = Annotated[int, typer.Option(min=0, help="With --ray: how many workers. 0: one for each GPU, or CPU core.")]
WorkerGpus = Annotated[
    float | None,
    typer.Option("--gpus-per-worker", min=0.0, help="With --ray: GPUs of each worker. Default: one, if there are any."),
]
Compile = Annotated[
    bool, typer.Option("--compile", help="Compile the base model first: takes minutes, then each image takes less.")
]


def next_time(text: str) -> datetime:
    """The next time that a clock shows a time of day such as 07:00."""
    try:
        time = datetime.strptime(text, "%H:%M").time()
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is not a time of day: give hours and minutes, such as 07:00") from error
    now = datetime.now()
    today = datetime.combine(now, time)
    return today if today > now else today + timedelta(days=1)


Until = Annotated[
    datetime | None,
    typer.Option(parser=next_time, metavar="HH:MM", help="Stop before this time of day. The next run resumes there."),
]
Through = Annotated[
    str,
    typer.Option(
        metavar="ADDRESS", help="Render with the ComfyUI that runs at an address, such as http://127.0.0.1:8188."
    ),
]
WorkflowFile = Annotated[
    Path | None, typer.Option(help="With --through: the workflow, a file that ComfyUI saves with Export (API).")
]
Nodes = Annotated[
    list[str] | None,
    typer.Option(
        metavar="ROLE=ID",
        help="With --through: which node is prompt, seed, lora, output or size, where types do not tell. Repeat it.",
    ),
]
WorkflowModels = Annotated[
    Path | None,
    typer.Option(
        "--models", help="With --through: ComfyUI's folder of models. Default: the folder models that the LoRAs are in."
    ),
]
WorkflowFamily = Annotated[
    str, typer.Option("--family", help="With --through: the workflow's family, such as flux. Default: the preset's.")
]
Condition = Annotated[
    list[str] | None,
    typer.Option(
        metavar="WAY",
        help="What ControlNets act on: own:edges, own:blur or own:grey of each cell's bare picture, or a folder of"
        " pictures. Repeat it for several.",
    ),
]
Reference = Annotated[
    Path | None, typer.Option(help="A picture that IP-Adapters act by, or a folder of them: each is measured.")
]
Partial = Annotated[
    bool, typer.Option("--partial", help="Also measure adapters of which only some modules match the base model.")
]
FollowLinks = Annotated[
    bool, typer.Option("--follow-links", help="Follow links that lead out of the folders that are named, too.")
]
CalibrationPath = Annotated[
    str,
    typer.Option(
        "--calibration",
        metavar="FILE",
        help="Begin with the calibration of another library of the same Protocol (a .db), or one from a file (.npz).",
    ),
]
Recalibrate = Annotated[
    bool,
    typer.Option(
        "--recalibrate",
        help="Fit anew how effects depend on bare images, and estimate every Direction by it. Only bare images that are"
        " missing are rendered.",
    ),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Render a few images and show what a run would take. Nothing is stored.")
]
