"""The card of a pack: what the Hugging Face hub shows of it."""

from __future__ import annotations

from lorascope.packs.manifest import Manifest

_CARD = """\
---
pretty_name: {title}
tags: [lorascope, lora, image-generation]
configs:
{configs}
---

# {title}

What {adapters} LoRAs do to an image model, measured with [lorascope](https://arxiv.org/abs/2512.08826): for each file,
by its SHA-256, the Direction of its effect in the space of {encoder}, its Strength and its Consistency, with intervals.
{signed}
To search your own copies of these files by what they do, without measuring anything:

```sh
pip install 'lorascope[parquet]'
lorascope pull ADDRESS-OF-THIS-PACK
lorascope search "pencil drawing"
```

`--all` also takes over the files that you do not have. Nothing of yours is sent: what the host learns is explained in
lorascope's documentation.

| | |
|---|---|
| Protocol | `{protocol}` |
| base model | {base} (digest `{base_digest}`) |
| encoder | {encoder} (digest `{encoder_digest}`) |
| sampling | {scheduler}, {steps} steps, guidance {guidance:g}, {width} x {height} |
| adapter scale | {scale:g} |
| measured on | {executions} |
| made | {made}, {made_by} |

| file | bytes | SHA-256 |
|---|---|---|
{files}
"""


def card(manifest: Manifest, *, signed: bool) -> str:
    """The text of README.md, with the header that the hub reads."""
    protocol = manifest.protocol
    named = {"signatures.parquet": "signatures", "previews.parquet": "previews"}
    configs = [
        f"  - config_name: {named[one.name]}\n    data_files: {one.name}" for one in manifest.files if one.name in named
    ]
    devices = sorted({f"{one.device}, {one.dtype}" for one in manifest.executions})
    return _CARD.format(
        title=manifest.title.replace("\n", " "),
        configs="\n".join(configs),
        adapters=manifest.adapters,
        signed="\nIt is signed: `manifest.json.minisig` is a signature of minisign.\n" if signed else "",
        protocol=protocol,
        base=protocol.base,
        base_digest=protocol.base_digest[:10],
        encoder=protocol.encoder,
        encoder_digest=protocol.encoder_digest[:10],
        scheduler=protocol.scheduler or "the base model's scheduler",
        steps=protocol.steps,
        guidance=protocol.guidance,
        width=protocol.width,
        height=protocol.height,
        scale=protocol.scale,
        executions="; ".join(devices) or "not recorded",
        made=manifest.made,
        made_by=manifest.made_by,
        files="\n".join(f"| {one.name} | {one.size} | `{one.sha256}` |" for one in manifest.files),
    )
