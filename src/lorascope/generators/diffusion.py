"""Stable Diffusion 1.5, 2 and XL through diffusers, with a denoising loop of our own.

The loop does what the pipelines do, step for step, but keeps images as tensors, takes each cell's own noise, and
mixes prompts within a batch.
"""

from __future__ import annotations

import copy
import hashlib
import inspect
from collections import OrderedDict
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import torch
from jaxtyping import Float

from lorascope.adapters import Delta
from lorascope.canonical import canonical_bytes
from lorascope.errors import ModelError
from lorascope.generators.noise import starting_noise
from lorascope.generators.pristine import PristineWeights
from lorascope.models import SHIPPED, find_model
from lorascope.protocol import Execution, Preset

_COMPONENTS = ("unet", "text_encoder", "text_encoder_2")
_FAMILIES = {"StableDiffusionXLPipeline": {"sdxl", "miniature"}, "StableDiffusionPipeline": {"sd15", "sd2"}}
_CACHED_TEXTS = 1024


@dataclass(frozen=True)
class _Text:
    """One prompt as the UNet sees it: token embeddings (1, tokens, width) and, in SDXL, a pooled one (1, width)."""

    tokens: torch.Tensor
    pooled: torch.Tensor | None


@final
class DiffusionGenerator:
    """A resident diffusion pipeline; adapters are merged into its weights and taken out again."""

    def __init__(self, preset: Preset, *, device: str = "cpu", batch: int = 0, download: bool = False) -> None:
        """Load the preset's base model.

        Args:
            preset: names the base, the scheduler, steps, guidance, size and dtype.
            device: a torch device.
            batch: images rendered at once; 0 takes the preset's.
            download: fetch a Hugging Face model that is not on this disk.

        Raises:
            ModelError: the base is not here, incomplete, or of a family this generator cannot run.
        """
        self._preset = preset
        self.family = preset.family
        self._device = torch.device(device)
        torch.backends.cudnn.deterministic = True  # the same Execution has to give the same bits
        torch.backends.cudnn.benchmark = False
        self._dtype = _dtype(preset.dtype, self._device)
        pipe = _load(preset, self._dtype, download=download)
        self._pipe = pipe
        self._scheduler = _scheduler(pipe, preset.scheduler)
        self.digest = _digest(pipe)
        if self._dtype == torch.float16 and getattr(pipe.vae.config, "force_upcast", False):
            pipe.vae.to(torch.float32)  # SDXL's own VAE overflows in float16
        for module in (pipe.vae, *self._components().values()):
            module.eval().requires_grad_(requires_grad=False).to(self._device)
        self._weights = PristineWeights(self._components())
        self._batch = batch or preset.batch
        self._texts: OrderedDict[str, _Text] = OrderedDict()

    def _components(self) -> dict[str, Any]:
        return {name: part for name in _COMPONENTS if (part := getattr(self._pipe, name, None)) is not None}

    @property
    def shapes(self) -> dict[str, dict[str, tuple[int, ...]]]:
        """Every weight of the UNet and the text encoders by component and name."""
        return self._weights.shapes

    @property
    def execution(self) -> Execution:
        """Device, dtype, batch layout, threads and library versions."""
        import diffusers
        import transformers

        name = torch.cuda.get_device_name(self._device) if self._device.type == "cuda" else self._device.type
        return Execution(
            device=name,
            dtype=str(self._dtype).removeprefix("torch."),
            batch=self._batch,
            block_size=self._preset.block_size,
            threads=torch.get_num_threads() if self._device.type == "cpu" else 0,
            compiled=False,
            versions=f"torch {torch.__version__}, diffusers {diffusers.__version__}, "
            f"transformers {transformers.__version__}",
        )

    def untouched(self, target: tuple[str, str]) -> torch.Tensor:
        """The base model's own value of a weight of the UNet or a text encoder."""
        return self._weights.untouched(target)

    def cut(self, prompts: Sequence[str]) -> int:
        """How many of these prompts exceed the tokenizer's limit (77 tokens in SDXL), so that their ends go unseen."""
        tokenizer = self._pipe.tokenizer
        return sum(len(ids) > tokenizer.model_max_length for ids in tokenizer(list(prompts), verbose=False).input_ids)

    def with_batch(self, batch: int) -> DiffusionGenerator:
        """The same resident model, rendering in batches of another size."""
        other = copy.copy(self)
        other._batch = batch
        return other

    @contextmanager
    def wearing(self, delta: Delta, scale: float) -> Generator[None]:
        """Put an adapter on. Prompts are encoded anew only where it touches a text encoder."""
        bare = self._texts
        if any(component != "unet" for component, _ in delta.targets):
            self._texts = OrderedDict()
        try:
            with self._weights.wearing(delta, scale):
                yield
        finally:
            self._texts = bare

    @torch.inference_mode()
    def render(self, prompts: Sequence[str], seeds: Sequence[int]) -> Float[torch.Tensor, "n 3 h w"]:
        """Render one batch of cells, float32 in 0..1 (see :class:`lorascope.generators.base.Generator`)."""
        preset, unet = self._preset, self._pipe.unet
        factor = self._pipe.vae_scale_factor
        shape = (unet.config.in_channels, preset.height // factor, preset.width // factor)
        noise, generators = starting_noise(seeds, shape, preset.noise, preset.seeds[0])
        latents = self._denoise(noise, [self._text(prompt) for prompt in prompts], generators)
        return self._decode(latents)

    def _denoise(self, noise: torch.Tensor, texts: list[_Text], generators: list[torch.Generator]) -> torch.Tensor:
        preset, scheduler, unet = self._preset, self._scheduler, self._pipe.unet
        guided = preset.guidance > 1
        if guided:
            texts = [self._text(preset.negative_prompt)] * len(texts) + texts
        tokens = torch.cat([text.tokens for text in texts])
        added = self._added(texts)
        scheduler.set_timesteps(preset.steps, device=self._device)
        latents = (noise * scheduler.init_noise_sigma).to(self._device, self._dtype)
        draws = {"generator": generators} if "generator" in inspect.signature(scheduler.step).parameters else {}
        for moment in scheduler.timesteps:
            doubled = torch.cat([latents, latents]) if guided else latents
            doubled = scheduler.scale_model_input(doubled, moment)
            predicted = unet(doubled, moment, encoder_hidden_states=tokens, added_cond_kwargs=added).sample
            if guided:
                without, with_text = predicted.chunk(2)
                predicted = without + preset.guidance * (with_text - without)
            latents = scheduler.step(predicted, moment, latents, **draws).prev_sample
        return latents

    def _added(self, texts: list[_Text]) -> dict[str, torch.Tensor] | None:
        """SDXL's micro-conditioning: the pooled text and the sizes."""
        if texts[0].pooled is None:
            return None
        size = (self._preset.height, self._preset.width)
        ids = torch.tensor([[*size, 0, 0, *size]], dtype=self._dtype, device=self._device)
        pooled = torch.cat([text.pooled for text in texts if text.pooled is not None])
        return {"text_embeds": pooled, "time_ids": ids.expand(len(texts), -1)}

    def _text(self, prompt: str) -> _Text:
        """Encode one prompt by itself, so that the result does not depend on what else is in the batch."""
        found = self._texts.get(prompt)
        if found is None:
            found = self._encode(prompt)
            self._texts[prompt] = found
            if len(self._texts) > _CACHED_TEXTS:
                self._texts.popitem(last=False)
        return found

    def _encode(self, prompt: str) -> _Text:
        options: dict[str, Any] = {"num_images_per_prompt": 1, "do_classifier_free_guidance": False}
        # A negative prompt of "" is embedded as such or zeroed, as the model's own configuration says.
        if not prompt and getattr(self._pipe.config, "force_zeros_for_empty_prompt", False):
            like = self._text(" ")
            pooled = None if like.pooled is None else torch.zeros_like(like.pooled)
            return _Text(torch.zeros_like(like.tokens), pooled)
        found = self._pipe.encode_prompt(prompt, device=self._device, **options)
        return _Text(found[0], found[2] if len(found) > 2 else None)

    def _decode(self, latents: torch.Tensor) -> torch.Tensor:
        vae = self._pipe.vae
        latents = latents.to(vae.dtype)
        mean, std = (getattr(vae.config, f"latents_{name}", None) for name in ("mean", "std"))
        factor = vae.config.scaling_factor
        if mean is not None and std is not None:
            mean, std = (
                torch.tensor(v, dtype=latents.dtype, device=latents.device)[:, None, None] for v in (mean, std)
            )
            latents = latents * std / factor + mean
        else:
            latents = latents / factor
        images = vae.decode(latents, return_dict=False)[0]
        return (images.float() / 2 + 0.5).clamp(0, 1)


def _dtype(name: str, device: torch.device) -> torch.dtype:
    dtype = getattr(torch, name, None)
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise ModelError(f"dtype is {name!r}: use float16, bfloat16 or float32")
    if device.type == "cpu" and dtype == torch.float16:
        return torch.float32  # CPUs emulate float16 slowly
    return dtype


def _load(preset: Preset, dtype: torch.dtype, *, download: bool) -> Any:
    import transformers
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.utils import logging

    transformers.utils.logging.set_verbosity_error()
    logging.disable_progress_bar()
    logging.set_verbosity_error()  # its warnings are about how a folder was saved, not about what is wrong with it
    transformers.utils.logging.disable_progress_bar()
    options: dict[str, Any] = {"dtype": dtype, "local_files_only": not download}
    try:
        if preset.vae:
            options["vae"] = AutoencoderKL.from_pretrained(
                preset.vae, dtype=dtype, use_safetensors=True, local_files_only=not download
            )
        pipe = _load_pipeline(preset.base, options)
    except (OSError, ValueError) as error:
        models = preset.base + (f" with the VAE {preset.vae}" if preset.vae else "")
        elsewhere = "" if preset.vae else ", or give --base FOLDER"
        remedy = "check the name and the connection" if download else f"run once with --download{elsewhere}"
        raise ModelError(f"the base model {models} cannot be loaded: {error}. To mend it: {remedy}") from error
    kind = type(pipe).__name__
    if preset.family not in _FAMILIES.get(kind, set()):
        known = ", ".join(sorted(set().union(*_FAMILIES.values())))
        raise ModelError(f"{preset.base} is a {kind}, preset family {preset.family!r}: families measured are {known}")
    return pipe


def _load_pipeline(base: str, options: dict[str, Any]) -> Any:
    from diffusers.pipelines.pipeline_utils import DiffusionPipeline
    from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl import StableDiffusionXLPipeline

    if base.endswith(".safetensors"):
        return StableDiffusionXLPipeline.from_single_file(base, add_watermarker=False, **options)
    if base.startswith(SHIPPED) or Path(base).is_dir():
        folder = find_model(base)
        return DiffusionPipeline.from_pretrained(folder, use_safetensors=True, **options)
    try:
        return DiffusionPipeline.from_pretrained(base, variant="fp16", use_safetensors=True, **options)
    except (OSError, ValueError):  # not every repository has a half-precision variant
        return DiffusionPipeline.from_pretrained(base, use_safetensors=True, **options)


def _scheduler(pipe: Any, name: str) -> Any:
    import diffusers

    if not name:
        return pipe.scheduler
    kind = getattr(diffusers, name, None)
    if kind is None or not hasattr(kind, "from_config"):
        raise ModelError(f"no scheduler {name!r} in diffusers: use a class name such as EulerDiscreteScheduler")
    return kind.from_config(pipe.scheduler.config)


def _digest(pipe: Any) -> str:
    """First 16 hex digits over the float16 form of every tensor of the UNet, the VAE and the text encoders."""
    total = hashlib.sha256()
    for component in (*_COMPONENTS, "vae"):
        module = getattr(pipe, component, None)
        if module is not None:
            for name, tensor in sorted(module.state_dict().items()):
                total.update(canonical_bytes(f"{component}.{name}", tensor))
    return total.hexdigest()[:16]
