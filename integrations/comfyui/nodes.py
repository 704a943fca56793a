"""The nodes: Find LoRA, Describe LoRA, LoRA weight, Apply found LoRAs; and the output of `index --through`."""

from __future__ import annotations

import base64
import io as bytes_io
from typing import Any

import folder_paths
import numpy as np
import torch
from comfy_api.v0_0_2 import ComfyExtension, io
from PIL import Image as Picture

from .client import CLIENT, LorascopeProblem
from .loras import family_of, file_name, weight_of

LoraStack = io.Custom("LORA_STACK")
"""A list of (name, strength of the model, strength of CLIP), as other packs have it."""
_LEAST = {"clear": ("clear",), "likely": ("clear", "likely"), "any": ("clear", "likely", "weak", None)}
_ROOM = 5
"""How many times as many hits are asked for, because some may have no file here or match too weakly."""
_CATEGORY = "lorascope"


def _loras() -> list[str]:
    return folder_paths.get_filename_list("loras")


def _name(row: dict[str, Any]) -> str | None:
    return file_name(row["adapter"]["paths"], _loras(), folder_paths.get_folder_paths("loras"))


def _search(words: str, count: int, least: str, family: str) -> list[tuple[str, dict[str, Any]]]:
    """ComfyUI's names of the LoRAs that do what was asked, with their hits, best first."""
    page = CLIENT.get("/search", q=words, family=family, limit=min(count * _ROOM, 200), details="true")
    fitting = [row for row in page["hits"] if row["clarity"] in _LEAST[least]]
    named = [(name, row) for row in fitting if (name := _name(row)) is not None]
    if named:
        return named[:count]
    kind = f"LoRAs for {family}" if family else "LoRAs"
    if not page["considered"]:
        raise LorascopeProblem(f"no {kind} are measured yet: run `lorascope index` on their folder")
    if fitting:
        raise LorascopeProblem(
            f"what does {words!r} is not in ComfyUI's folders of LoRAs: {fitting[0]['adapter']['name']}"
        )
    raise LorascopeProblem(
        f"no LoRA clearly does {words!r} among {page['considered']} {kind}: use other words, or set `least` to `any`"
    )


def _picture(row: dict[str, Any]) -> Picture.Image | None:
    """The first stored scene, without the LoRA on the left and with it on the right."""
    pictures = row["details"]["pictures"]
    if not pictures:
        return None
    sides = [url for url in (pictures[0]["bare_url"], pictures[0]["url"]) if url]
    images = [Picture.open(bytes_io.BytesIO(CLIENT.fetch(url)[0])).convert("RGB") for url in sides]
    both = Picture.new("RGB", (sum(image.width for image in images), images[0].height))
    for number, image in enumerate(images):
        both.paste(image, (sum(before.width for before in images[:number]), 0))
    return both


def _batch(pictures: list[Picture.Image | None]) -> torch.Tensor:
    """Pictures as ComfyUI's images: (batch, height, width, 3), 0 to 1; black where there are none."""
    found = [picture for picture in pictures if picture is not None]
    size = found[0].size if found else (64, 64)
    shown = [picture if picture.size == size else picture.resize(size) for picture in found] or [
        Picture.new("RGB", size)
    ]
    return torch.from_numpy(np.stack([np.asarray(picture, np.float32) / 255 for picture in shown]))


def _card(name: str) -> dict[str, Any]:
    """What lorascope knows of a LoRA by ComfyUI's name."""
    path = folder_paths.get_full_path("loras", name)
    references = [f"path:{path}", f"name:{name}"] if path else [f"name:{name}"]
    for row in CLIENT.post("/lookup", {"references": references})["found"]:
        if row["cards"]:
            return row["cards"][0]
    raise LorascopeProblem(f"{name} was not measured: run `lorascope index` on its folder")


class FindLora(io.ComfyNode):
    """Finds LoRAs by what they do."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LorascopeFindLora",
            display_name="Find LoRA",
            category=_CATEGORY,
            description="Finds the LoRAs that do what you type, by measured effect, with weights to begin with.",
            inputs=[
                io.String.Input(
                    "words", multiline=True, default="pencil drawing",
                    tooltip="What they should do. -words subtract, :0.5 weighs: watercolor -people:0.5",
                ),
                io.Int.Input("count", default=3, min=1, max=10, tooltip="How many LoRAs at most."),
                io.Combo.Input(
                    "least", options=list(_LEAST), default="likely", tooltip="The weakest match that is taken."
                ),
                io.Combo.Input(
                    "weights", options=["advised", "fixed"], default="advised",
                    tooltip="advised: as measured, or else as its author says; fixed: the same for all.",
                ),
                io.Float.Input("weight", default=0.8, min=-4.0, max=4.0, step=0.05, tooltip="The fixed weight."),
                io.Model.Input("model", optional=True, tooltip="Only LoRAs of this model's architecture are found."),
                io.String.Input("family", optional=True, default="", tooltip="Or of this family, such as sdxl."),
                LoraStack.Input("lora_stack", optional=True, tooltip="What is found is added to these."),
            ],
            outputs=[
                LoraStack.Output("stack", display_name="LORA_STACK"),
                io.String.Output("names", display_name="names"),
                io.Image.Output("pictures", display_name="pictures"),
            ],
        )  # fmt: skip

    @classmethod
    def fingerprint_inputs(cls, **inputs: Any) -> str:
        """Find again when the library has changed."""
        try:
            health = CLIENT.get("/health")
        except LorascopeProblem:
            return ""
        return str(health["revision"])

    @classmethod
    def execute(
        cls, words: str, count: int, least: str, weights: str, weight: float, model: Any = None, family: str = "",
        lora_stack: list[Any] | None = None,
    ) -> io.NodeOutput:  # fmt: skip
        found = _search(words, count, least, family or family_of(model))
        chosen = [weight if weights == "fixed" else weight_of(row) for _, row in found]
        stack = [(name, one, one) for (name, _), one in zip(found, chosen, strict=True)]
        lines = [f"{name}  {one:g}  {row['words']}" for (name, row), one in zip(found, chosen, strict=True)]
        return io.NodeOutput(
            [*(lora_stack or ()), *stack], "\n".join(lines), _batch([_picture(row) for _, row in found])
        )  # fmt: skip


class DescribeLora(io.ComfyNode):
    """Says what a LoRA does."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LorascopeDescribeLora",
            display_name="Describe LoRA",
            category=_CATEGORY,
            description="Says what a LoRA does, as measured, and shows a scene without and with it.",
            inputs=[io.Combo.Input("lora_name", options=_loras(), tooltip="The LoRA.")],
            outputs=[
                io.String.Output("text", display_name="text"),
                io.String.Output("triggers", display_name="trigger words"),
                io.Image.Output("pictures", display_name="picture"),
            ],
        )

    @classmethod
    def execute(cls, lora_name: str) -> io.NodeOutput:
        card = _card(lora_name)
        details, adapter = card["details"], card["adapter"]
        lines = [adapter["title"] or adapter["name"], card["words"] or "not measured under the present Protocol"]
        if details["does"]:
            lines.append("does: " + "; ".join(details["does"]))
        if details["flags"]:
            lines.append("flags: " + ", ".join(details["flags"]))
        if details["advice"]:
            lines.append("weight: " + details["advice"]["reason"])
        return io.NodeOutput("\n".join(lines), ", ".join(adapter["triggers"]), _batch([_picture(card)]))


class LoraWeight(io.ComfyNode):
    """Says at which weight to use a LoRA."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LorascopeLoraWeight",
            display_name="LoRA weight",
            category=_CATEGORY,
            description="The weight to start with: as measured, or else as its author says, or else 1.",
            inputs=[io.Combo.Input("lora_name", options=_loras(), tooltip="The LoRA.")],
            outputs=[
                io.Float.Output("weight", display_name="weight"),
                io.String.Output("reason", display_name="reason"),
            ],
        )

    @classmethod
    def execute(cls, lora_name: str) -> io.NodeOutput:
        card = _card(lora_name)
        advice = card["details"]["advice"]
        claimed = card["adapter"]["weight"]
        reason = (
            advice["reason"] if advice else "not measured; " + ("as its author says" if claimed else "the usual one")
        )
        return io.NodeOutput(float(weight_of(card)), reason)


class ApplyFoundLoras(io.ComfyNode):
    """Loads a stack of LoRAs."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LorascopeApplyFoundLoras",
            display_name="Apply found LoRAs",
            category=_CATEGORY,
            description="Loads every LoRA of a stack at its weight.",
            inputs=[
                io.Model.Input("model", tooltip="The model that they are applied to."),
                LoraStack.Input("lora_stack", tooltip="What Find LoRA has found, or any LORA_STACK."),
                io.Clip.Input("clip", optional=True, tooltip="The text encoder that they are applied to."),
            ],
            outputs=[
                io.Model.Output("loaded_model", display_name="MODEL"),
                io.Clip.Output("loaded_clip", display_name="CLIP"),
            ],
        )

    @classmethod
    def execute(cls, model: Any, lora_stack: list[Any], clip: Any = None) -> io.NodeOutput:
        import comfy.sd
        import comfy.utils

        for name, model_weight, clip_weight in lora_stack:
            if not model_weight and not (clip_weight and clip is not None):
                continue
            lora = comfy.utils.load_torch_file(folder_paths.get_full_path_or_raise("loras", name), safe_load=True)
            model, clip = comfy.sd.load_lora_for_models(model, clip, lora, model_weight, clip_weight)
        return io.NodeOutput(model, clip)


class SendPicture(io.ComfyNode):
    """Gives pictures to whoever asks for the job's entry in the history, so that measuring writes no files."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LorascopeSendPicture",
            display_name="Send picture to lorascope",
            category=_CATEGORY,
            description="Used by `lorascope index --through`, which puts it in the place of a workflow's output.",
            inputs=[io.Image.Input("images", tooltip="The pictures.")],
            outputs=[],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, images: torch.Tensor) -> io.NodeOutput:
        return io.NodeOutput(ui={"lorascope": [_png(image) for image in images]})


def _png(image: torch.Tensor) -> str:
    """A picture as base64 text, of the same bytes that PreviewImage would write."""
    pixels = np.clip(255.0 * image.cpu().numpy(), 0, 255).astype(np.uint8)
    file = bytes_io.BytesIO()
    Picture.fromarray(pixels).save(file, "PNG", compress_level=1)
    return base64.b64encode(file.getvalue()).decode()


class Lorascope(ComfyExtension):
    """The nodes of this package."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [FindLora, DescribeLora, LoraWeight, ApplyFoundLoras, SendPicture]


async def comfy_entrypoint() -> Lorascope:
    """What ComfyUI calls when it loads this package."""
    return Lorascope()
