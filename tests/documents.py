"""Write docs/cli.md and docs/families.md from the program itself: ``python -m tests.documents``."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import typer.main

from lorascope.cli.app import app
from lorascope.families import ARCHITECTURES, Architecture

ROOT = Path(__file__).resolve().parents[1]
CLI_PAGE = ROOT / "docs" / "cli.md"
FAMILIES_PAGE = ROOT / "docs" / "families.md"

_HEAD = """\
# The command line

Written by `make docs` from the program itself; a test checks that it is up to date.

Every verb takes `--help`. Results go to standard output, progress and errors to standard error. Every verb but `serve`,
`mcp` and `study` takes `--json`: the result is one JSON document then, and so is an error, `{"error": {"code": ...,
"message": ...}}`. `lorascope` alone says what to do next, `lorascope --version` prints the version, and
`lorascope --install-completion` lets your shell complete verbs, presets, precisions and names of adapters.
`python -m lorascope` is the same program.

| exit status | meaning |
|---|---|
| 0 | done. Files that were left out before, for the same reason, do not count |
| 1 | done, but not with everything: files are left out that were not before, another process is measuring some, \
`inspect` cannot read some, `annotate` cannot write some, `pull` found a contradiction, or `doctor` or `verify` \
a problem |
| 2 | not done: something in the command is wrong or missing; the message says what to do \
(see [troubleshooting](troubleshooting.md)) |
| 130 | stopped by Ctrl-C or SIGTERM; what was measured is kept, and the same command resumes |

What a command names is checked first: an empty argument (such as an unset shell variable), or a path, model or preset
that does not exist, ends it before models are loaded and before a library is made.

| environment variable | meaning |
|---|---|
| `LORASCOPE_DATA` | folder of the default library, instead of the user's data folder |
| `LORASCOPE_CONFIG` | the config file that `setup` writes, instead of the one in the user's config folder |
| `LORASCOPE_CACHE` | folder of derived files (prefix caches, digests), instead of the user's cache folder |
| `LORASCOPE_TOKEN` | the token that callers of `serve` must present, if no `--token-file` is given |
| `CIVITAI_TOKEN`, `CIVARCHIVE_TOKEN` | your tokens for these sites, which `lookup` and `get` send to them only |
| `HF_HOME`, `HF_HUB_OFFLINE` | folder of the Hugging Face cache; use no network, even with `--download` |

A query is one or more phrases. `-` or `+` after a space begins another phrase, to be subtracted or added, and a phrase
may end in a weight: `watercolor -people:0.5 +snow:2`. For words to begin with `-`, the value of a short option has to
come after a space (`-p NAME`).
"""


_SHARED = 2
"""Options that so many verbs have, in the same words, are described once."""


def cli_page() -> str:
    """The whole page."""
    verbs = commands()
    rows = Counter(_row(one) for verb in verbs.values() for one in _options(verb))
    shared = {row for row, count in rows.items() if count >= _SHARED}
    table = "\n".join(row for row in rows if row in shared)
    parts = [_HEAD, f"## Shared options\n\nEvery verb below names those that it has.\n\n| | |\n|---|---|\n{table}\n"]
    panel = ""
    for name, verb in verbs.items():
        if verb.rich_help_panel != panel:
            panel = verb.rich_help_panel
            parts.append(f"## {panel}\n")
        parts.append(_verb(name, verb, shared))
    return "\n".join(parts)


_FAMILIES = """\
# Architectures

Written by `make docs` from the table in `lorascope.families`; a test checks that it is up to date.

An adapter's architecture is recognised by the names of the modules that it changes and by their shapes. What its
header, a site or a folder says decides only where several architectures fit alike, and is noted where it contradicts
the shapes. Where nothing decides, `lorascope inspect` says "unknown", which architectures fit, and what is in the file.

LoRA, LoCon, LoHa, LoKr, DoRA, GLoRA, OFT, BOFT, IA3 and full differences are read, wherever their modules' names are:

* **diffusers' names**, dotted or with underscores as kohya and LyCORIS write them, of every architecture that diffusers
  has;
* **its authors' names**, too, where the table says so: LDM's and SGM's numbering, joined q, k and v.

| architecture | lineages that are named | read | measured | with real weights |
|---|---|---|---|---|
"""
_FAMILIES_END = """
* **read**: `load_delta` computes what an adapter does to each weight, given the names and shapes of a base model.
* **measured**: `lorascope index` runs the base model. Every step is tested with tiny models of the same classes, with
  random weights.
* **with real weights**: adapters were measured by this project on the weights that people use. So far that holds for
  the model that ships, and for no other: there was no machine to do it on.

## What was run

Each preset names the page that its settings come from, and the model's licence. Tested for every family in
`tests/test_generators.py` (SD 1.5, SDXL) and `tests/test_pipelines.py` (the others), on a CPU: a cell's image depends
on its prompt and seed alone; removing an adapter restores the base to the bit; scale 0 is the bare model. A stopped
run of FLUX resumes to the same bits. "Names compared" are those in which the same file was loaded by diffusers, too,
with latents of the same cells at a cosine above 0.9999. FLUX.1's joined `linear1` is left out there, as diffusers
splits it at full-size widths only. Batches of other sizes changed no pixel by more than 1e-6.

| preset | class | guidance | names compared |
|---|---|---|---|
| `flux-dev`, `flux-schnell` | FluxPipeline | embedded; none | diffusers, kohya |
| `flux2-klein` | Flux2KleinPipeline | true (fixed in klein) | diffusers, kohya, BFL |
| `sd35-medium`, `sd35-large` | StableDiffusion3Pipeline | true | diffusers |
| `z-image-turbo` | ZImagePipeline | none | diffusers, kohya, ai-toolkit, kohya with joined qkv |
| `qwen-image` | QwenImagePipeline | true (`true_cfg_scale`) | diffusers, kohya, ai-toolkit |
| `chroma` | ChromaPipeline | true | diffusers, kohya |

## Checkpoints in one file

`--base` may name a folder of diffusers, a Hugging Face id, or one file, as image tools keep it: SD 1.5 and SDXL with
all their parts or without some, the newer families as a denoiser, with the rest or alone. What a file lacks is looked
for in this order, and nothing is fetched without `--download`:

* **configuration and tokenizers**: the Hugging Face cache, also a mirror under the same name; Forge's
  `backend/huggingface`; folders of diffusers in the tools;
* **text encoders**: the file; the model's folder; `text_encoders` and `clip` of the tools, of which the largest file is
  taken whose tensors all fit;
* **VAE**: `--vae`; the file; the model's folder; `vae` of the tools, where a file has to fit and to be called as such
  VAEs are (`ae`, `sdxl_vae`, `sd3_vae`), because VAEs of several architectures have the same tensors.

Qwen-Image's text encoder and VAE and the VAE of FLUX.2 are taken from the model's folder only.

The tool that holds the checkpoint is searched first, then those that `lorascope setup` finds. What is nowhere is named,
with the command that fetches it. Weights in float16, bfloat16 and float8 are cast to the preset's dtype, also with
ComfyUI's scales beside them; other quantisations are refused by name. Marks of v-prediction (`v_pred`) and zero
terminal SNR (`ztsnr`) are compared with the preset's scheduler.

`tests/test_single_file.py` loads tiny models from such files and compares their images with those of the pipeline that
they were made from: SD 1.5, SDXL, SD 3.5 and Z-Image in their authors' names. FLUX.1 is tried in diffusers' names only,
as diffusers converts its authors' at full-size widths alone; Chroma was not tried.

## Memory

`offload` in a preset chooses a plan; without it, the first that fits is taken. `none`: all parts stay on the device.
`parts`: text encoders and denoiser take turns. `blocks`: one block at a time, slowest. `lorascope index --dry-run`
prints the plan and its estimated peak. These estimates, in GB, are by `python -m benchmarks.memory`, from the
published sizes of the models in bfloat16; they were not measured on a GPU:

| preset | denoiser | text encoders | none | parts | blocks | 8 GB | 12 GB | 16 GB | 24 GB | 48 GB |
|---|---|---|---|---|---|---|---|---|---|---|
| flux-dev | 23.8 | 9.8 | 35.9 | 26.1 | 3.9 | blocks | blocks | blocks | blocks | none |
| flux-dev, float8 | 15.1 | 9.8 | 27.2 | 17.5 | 3.4 | blocks | blocks | blocks | parts | none |
| flux-schnell | 23.8 | 9.8 | 36.1 | 26.4 | 4.2 | blocks | blocks | blocks | blocks | none |
| flux-schnell, float8 | 15.1 | 9.8 | 27.5 | 17.7 | 3.6 | blocks | blocks | blocks | parts | none |
| flux2-klein | 7.8 | 8.0 | 18.4 | 10.5 | 4.4 | blocks | parts | parts | none | none |
| flux2-klein, float8 | 3.9 | 8.0 | 14.5 | 10.5 | 3.5 | blocks | parts | none | none | none |
| sd35-medium | 4.5 | 11.2 | 18.0 | 13.3 | 2.8 | blocks | blocks | parts | none | none |
| sd35-medium, float8 | 3.0 | 11.2 | 16.5 | 13.3 | 2.6 | blocks | blocks | parts | none | none |
| sd35-large | 16.1 | 11.2 | 29.6 | 18.4 | 3.3 | blocks | blocks | blocks | parts | none |
| sd35-large, float8 | 10.7 | 11.2 | 24.2 | 13.3 | 3.0 | blocks | blocks | parts | parts | none |
| z-image-turbo | 12.3 | 8.0 | 22.9 | 14.9 | 3.4 | blocks | blocks | parts | none | none |
| z-image-turbo, float8 | 6.2 | 8.0 | 16.8 | 10.5 | 3.0 | blocks | parts | parts | none | none |
| qwen-image | 40.9 | 16.6 | 60.9 | 44.4 | 5.0 | blocks | blocks | blocks | blocks | parts |
| qwen-image, float8 | 20.4 | 16.6 | 40.5 | 23.9 | 4.3 | blocks | blocks | blocks | parts | none |
| chroma | 17.8 | 9.5 | 29.6 | 20.1 | 4.4 | blocks | blocks | blocks | parts | none |
| chroma, float8 | 8.9 | 9.5 | 20.7 | 11.7 | 3.4 | blocks | parts | parts | none | none |

`dtype = "float8"` in a preset holds the denoiser's layers in float8 (e4m3), except for those that diffusers keeps (in
FLUX.1 and SD 3.5, the large ones beside normalisations), and casts each to bfloat16 while it runs. The unrounded
weights stay in CPU memory: adapters are merged into them, and the result is rounded. So a change smaller than a step
of float8 moves some values by a whole step and most by none. The noise floor includes how far the bare images move if
these weights are rounded otherwise: effects below it count as none. It cannot be combined with `--compile`, and Apple
GPUs lack float8. It was run on CPUs only. What it does to adapters of the second small world ([Other base
models](backbones.md)), by `python -m benchmarks.float8`; ten adapters, 32 cells each, the noise floor is 0.601:

| scale | values changed | Strength, float32 | float8 | cosine of Directions | cells below the floor |
|---|---|---|---|---|---|
| 1.0 | 0.827 | 6.015 | 6.027 | 0.999 | 0.000 |
| 0.3 | 0.593 | 2.948 | 2.957 | 0.996 | 0.022 |
| 0.1 | 0.337 | 1.077 | 1.089 | 0.983 | 0.334 |
| 0.03 | 0.152 | 0.311 | 0.329 | 0.946 | 0.872 |

So Directions are kept, but a weak adapter can no longer be told from none: use bfloat16 for those.

## How to add a family

Chroma is the smallest example.

1. **A row** in `src/lorascope/families/table.py`: its name, how headers and sites spell it, the modules by which a
   file of it is known, the class of diffusers that runs it, and what renders with it.

       Architecture(
           "chroma", "Chroma", ("chroma",),
           (*m.flux_like(19, 38), *marks((), r"distilled_guidance_layer_.*")),
           pipeline="ChromaPipeline", original=True, generator=_PIPELINE, like=("flux",),
       )

   `PipelineGenerator` drives every pipeline that has `encode_prompt` and `prepare_latents`, and whose call takes
   `generator` and `output_type="pt"`. `like` says that most files fit FLUX.1, too.
2. **Names**, only if its authors' differ from diffusers': a table in `src/lorascope/adapters/fused.py`.
3. **A preset** in `src/lorascope/presets/`: base, steps, guidance, size and dtype as the model's page gives them, with
   licence and source in the comment. Without thresholds, until `lorascope calibrate` was run on real adapters.
4. **A tiny pipeline** of the real class in `tests/tiny_pipelines.py`, and its names in `SPELLINGS` of
   `tests/test_pipelines.py`. That runs the whole contract for it.
5. A line in `_PRESETS` of `src/lorascope/installations/proposal.py`, so that `lorascope setup` finds it; `make docs`.
"""


def families_page() -> str:
    """The whole page."""
    return _FAMILIES + "\n".join(map(_family, ARCHITECTURES)) + "\n" + _FAMILIES_END


def _family(row: Architecture) -> str:
    names = "diffusers' names" if row.pipeline else "no"
    read = "diffusers' and its authors' names" if row.original else names
    lineages = ", ".join(one.name for one in row.lineages)
    return f"| {row.title} | {lineages} | {read} | {_yes(bool(row.generator))} | {_yes(row.proven)} |"


def _yes(answer: bool) -> str:
    return "yes" if answer else "no"


def commands() -> dict[str, Any]:
    """Every verb by name, in the order of ``--help``."""
    group: Any = typer.main.get_command(app)
    return dict(group.commands)


def _verb(name: str, verb: Any, shared: set[str]) -> str:
    arguments = [one for one in verb.params if one.param_type_name == "argument"]
    needed = [f"{one.opts[0]} {one.name.upper()}" for one in _options(verb) if one.required]
    usage = " ".join(["lorascope", name, *map(_shape, arguments), *needed, "[OPTIONS]"])
    lines = [f"### {name}", "", verb.help, "", "```", usage, "```"]
    own = [f"| `{_shape(one)}` | {_cell(one.help)}{_default(one)} |" for one in arguments]
    own += [_row(one) for one in _options(verb) if _row(one) not in shared]
    if own:
        lines += ["", "| | |", "|---|---|", *own]
    if others := [f"`{one.opts[0]}`" for one in _options(verb) if _row(one) in shared]:
        lines += ["", f"[Shared options](#shared-options): {', '.join(others)}."]
    return "\n".join(lines) + "\n"


def _options(verb: Any) -> list[Any]:
    return [one for one in verb.params if one.param_type_name == "option"]


def _row(option: Any) -> str:
    return f"| {_spelling(option)} | {_cell(option.help)}{_default(option)} |"


def _shape(argument: Any) -> str:
    name = argument.name.upper() + ("..." if argument.nargs == -1 else "")
    return name if argument.required else f"[{name}]"


def _spelling(option: Any) -> str:
    value = "" if _is_flag(option) else f" {option.name.upper()}"
    return ", ".join(f"`{spelling}{value}`" for spelling in (*option.opts, *option.secondary_opts))


def _default(parameter: Any) -> str:
    if _is_flag(parameter):
        return f" Default: `{parameter.opts[0]}`." if parameter.secondary_opts and parameter.default else ""
    if parameter.default in (None, "", 0):
        return ""
    return f" Default: `{parameter.default}`."


def _is_flag(parameter: Any) -> bool:
    return bool(getattr(parameter, "is_flag", False))


def _cell(text: str | None) -> str:
    return (text or "").replace("|", "\\|").replace("\n", " ")


def main() -> None:
    """Write both pages."""
    CLI_PAGE.write_text(cli_page(), "utf-8")
    FAMILIES_PAGE.write_text(families_page(), "utf-8")


if __name__ == "__main__":
    main()
