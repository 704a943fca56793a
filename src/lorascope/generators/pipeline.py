"""Any text-to-image pipeline of diffusers, driven through its own call.

FLUX, SD 3.5, Qwen-Image, Z-Image, Chroma and their kin differ in how they pack latents, mask prompts and guide, and
their pipelines know all that. Lorascope changes three things: prompts are encoded once (`PromptCache`), each cell's
noise comes from a generator of its own, and images stay tensors.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, final

import torch
from jaxtyping import Float

from lorascope.errors import ModelError
from lorascope.generators import float8
from lorascope.generators.embeddings import PromptCache
from lorascope.generators.execution import compiling, deterministic
from lorascope.generators.loading import components, denoiser, digest, load_pipeline
from lorascope.generators.placement import Placement
from lorascope.generators.pristine import PristineWeights
from lorascope.generators.resident import ResidentPipeline
from lorascope.protocol import Preset


@final
class PipelineGenerator(ResidentPipeline):
    """A resident pipeline of diffusers; adapters are merged into its weights and taken out again."""

    def __init__(
        self, preset: Preset, *, device: str = "cpu", batch: int = 0, compiled: bool = False, download: bool = False
    ) -> None:
        """Load the preset's base model (arguments and errors as in `DiffusionGenerator`)."""
        deterministic()
        if preset.noise != "cell":
            raise ModelError(f"preset {preset.name!r}: noise is {preset.noise!r}: {preset.family} needs 'cell'")
        self._preset = preset
        self.family = preset.family
        self._device = torch.device(device)
        self._compiled = compiled
        self._batch = batch or preset.batch
        pipe = load_pipeline(preset, self._device, download=download)
        self._pipe = pipe
        self.digest = digest(pipe)
        self._denoiser = denoiser(pipe)
        unrounded = self._rounded(pipe) if preset.dtype == float8.NAME else {}
        self._placement = Placement(pipe, self._device, preset, self._batch)
        self._weights = PristineWeights(
            components(pipe), device=self._device, copies=self._placement.copies, unrounded=unrounded
        )
        self._prompts = PromptCache(pipe, self._device, self._placement.encoding)
        self._own_noise()
        pipe.set_progress_bar_config(disable=True)
        if hasattr(pipe.vae, "enable_slicing"):
            pipe.vae.enable_slicing()  # one image at a time: the decoder needs gigabytes for each
        if compiled:
            self._denoiser.compile(dynamic=False)
        self._options = self._call_options()

    def _rounded(self, pipe: Any) -> dict[tuple[str, str], torch.Tensor]:
        """Round the denoiser to float8, and return what it was."""
        if self._compiled:
            raise ModelError(
                "weights in float8 are cast while each layer runs, which cannot be compiled: leave out --compile"
            )
        (component,) = (name for name, part in components(pipe).items() if part is self._denoiser)
        return {(component, name): weight for name, weight in float8.store(self._denoiser).items()}

    def cut(self, prompts: Sequence[str]) -> int:
        """How many of these prompts are longer than the tokenizer that reads most takes."""
        tokenizers = [part for name, part in self._pipe.components.items() if name.startswith("tokenizer") and part]
        limits = [min(part.model_max_length, self._options.get("max_sequence_length", 2**31)) for part in tokenizers]
        limit = max(limits)
        tokenizer = tokenizers[limits.index(limit)]
        texts = [self._preset.text(prompt) for prompt in prompts]
        return sum(len(ids) > limit for ids in tokenizer(texts, verbose=False).input_ids)

    def with_preset(self, preset: Preset) -> PipelineGenerator:
        """The same resident model, rendering in the size and with the negative prompt of another preset.

        Raises:
            ModelError: the base model draws no pictures of this size, or reads no negative prompt.
        """
        other = super().with_preset(preset)
        other._options = other._call_options()
        if preset.negative_prompt and "negative_prompt" not in other._options:
            name = type(self._pipe).__name__
            raise ModelError(f"negative_prompt is {preset.negative_prompt!r}, and {name} reads none: leave it out")
        return other

    @torch.inference_mode()
    def render(self, prompts: Sequence[str], seeds: Sequence[int]) -> Float[torch.Tensor, "n 3 h w"]:
        """Render one batch of cells, float32 in 0..1 (see :class:`lorascope.generators.base.Generator`)."""
        return self._call(prompts, seeds, "pt").to(self._device, torch.float32).clamp(0, 1)

    @torch.inference_mode()
    def latents(self, prompts: Sequence[str], seeds: Sequence[int]) -> torch.Tensor:
        """The latents of one batch, as the pipeline returns them."""
        return self._call(prompts, seeds, "latent")

    def _call(self, prompts: Sequence[str], seeds: Sequence[int], output: str) -> torch.Tensor:
        generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
        texts = list(map(self._preset.text, prompts))
        with compiling() if self._compiled else nullcontext():
            return self._pipe(prompt=texts, generator=generators, output_type=output, **self._options).images

    def _call_options(self) -> dict[str, Any]:
        """What the pipeline's call is given beside prompts and noise: as far as it takes it."""
        preset, known = self._preset, inspect.signature(self._pipe.__call__).parameters
        options: dict[str, Any] = {
            "height": preset.height, "width": preset.width, "num_inference_steps": preset.steps
        }  # fmt: skip
        embedded = bool(getattr(self._denoiser.config, "guidance_embeds", False))
        true = "true_cfg_scale" in known and not embedded
        options["true_cfg_scale" if true else "guidance_scale"] = preset.guidance
        if embedded and preset.negative_prompt:
            raise ModelError(
                f"preset {preset.name!r}: negative_prompt does nothing with guidance that is embedded: leave it out"
            )
        if not embedded and preset.guidance > 1 and "negative_prompt" in known:
            options["negative_prompt"] = preset.negative_prompt
        wanted = {"max_sequence_length": preset.sequence_length, "guidance_rescale": preset.guidance_rescale}
        options |= {name: value for name, value in wanted.items() if value}
        if unknown := sorted(options.keys() - known):
            raise ModelError(f"preset {preset.name!r}: {type(self._pipe).__name__} takes no {unknown[0]}: leave it out")
        return options

    def _own_noise(self) -> None:
        """Have noise drawn in float32 whatever the working dtype, so that it belongs to the seed alone."""
        drawn = self._pipe.prepare_latents
        signature = inspect.signature(drawn)

        def prepare(*args: Any, **options: Any) -> Any:
            given = signature.bind(*args, **options)
            dtype = given.arguments["dtype"]
            given.arguments["dtype"] = torch.float32
            found = drawn(*given.args, **given.kwargs)
            parts = found if isinstance(found, tuple) else (found,)
            parts = tuple(part.to(dtype) if part.is_floating_point() else part for part in parts)
            return parts if isinstance(found, tuple) else parts[0]

        self._pipe.prepare_latents = prepare
