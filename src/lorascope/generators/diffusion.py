"""Stable Diffusion 1.5, 2 and XL through diffusers, with a denoising loop of our own.

The loop does what the pipelines do, step for step, but keeps images as tensors, takes each cell's own noise, and
mixes prompts within a batch.
"""

from __future__ import annotations

import inspect
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any, final

import torch
from jaxtyping import Float

from lorascope.adapters import Delta
from lorascope.adapters.attachments import ControlNet, ImagePrompt
from lorascope.errors import ModelError
from lorascope.generators import float8
from lorascope.generators.attachments import Control, shown, with_image_prompt
from lorascope.generators.execution import compiling, deterministic
from lorascope.generators.loading import components, denoiser, digest, load_pipeline
from lorascope.generators.noise import starting_noise
from lorascope.generators.placement import Placement
from lorascope.generators.prediction import predicted
from lorascope.generators.pristine import PristineWeights
from lorascope.generators.resident import ResidentPipeline
from lorascope.generators.texts import Text, Texts
from lorascope.protocol import Preset

_PREDICTIONS = {"epsilon": "the noise", "v_prediction": "v"}
_CHECKED_PIXELS = 256
"""Width and height at which it is checked what a denoiser predicts."""
_DECODED_PIXELS = 2**20
"""Decoded at once: one image of 1024 px fills a GPU, and the decoder needs gigabytes for each."""


@final
class DiffusionGenerator(ResidentPipeline):
    """A resident diffusion pipeline; adapters are merged into its weights and taken out again."""

    def __init__(
        self, preset: Preset, *, device: str = "cpu", batch: int = 0, compiled: bool = False, download: bool = False
    ) -> None:
        """Load the preset's base model.

        Args:
            preset: names the base, the scheduler, steps, guidance, size and dtype.
            device: a torch device.
            batch: images rendered at once; 0 takes the preset's.
            compiled: compile the denoiser when it is first used: minutes, then every image is faster.
            download: fetch a Hugging Face model that is not on this disk.

        Raises:
            ModelError: the base is not here, incomplete, of a family this generator cannot run, or predicts something
                else than its scheduler takes it for.
        """
        deterministic()
        if preset.sequence_length:
            raise ModelError(f"preset {preset.name!r}: sequence_length is for T5 and later text encoders: leave it out")
        if preset.dtype == float8.NAME:
            raise ModelError(f"preset {preset.name!r}: dtype float8 is for transformers: use float16 or bfloat16")
        self._preset = preset
        self.family = preset.family
        self._device = torch.device(device)
        self._compiled = compiled
        pipe = load_pipeline(preset, self._device, download=download)
        self._pipe = pipe
        self._scheduler = pipe.scheduler
        self.digest = digest(pipe)
        self._denoiser = denoiser(pipe)
        self._batch = batch or preset.batch
        self._control: Control | None = None
        self._reference: ImagePrompt | None = None
        self._placement = Placement(pipe, self._device, preset, self._batch)
        self._prompts = Texts(pipe, self._device, self._placement.encoding)
        self._weights = PristineWeights(components(pipe), device=self._device, copies=self._placement.copies)
        self._check_prediction()
        if compiled:
            self._denoiser.compile(dynamic=False)  # a size of its own for each batch, whatever came before it

    def cut(self, prompts: Sequence[str]) -> int:
        """How many of these prompts exceed the tokenizer's limit (77 tokens in SDXL), so that their ends go unseen."""
        tokenizer = self._pipe.tokenizer
        texts = [self._preset.text(prompt) for prompt in prompts]
        return sum(len(ids) > tokenizer.model_max_length for ids in tokenizer(texts, verbose=False).input_ids)

    @contextmanager
    def with_component(self, delta: Delta, scale: float) -> Generator[None]:
        """Apply an adapter, or put a ControlNet or an IP-Adapter beside the U-Net, which does nothing at scale 0."""
        with super().with_component(delta, scale), ExitStack() as stack:
            for part in delta.attachments if scale else ():
                stack.enter_context(self._beside(part, scale))
            yield

    @contextmanager
    def _beside(self, part: ControlNet | ImagePrompt, scale: float) -> Generator[None]:
        try:
            if isinstance(part, ControlNet):
                self._control = Control(self._denoiser, part, scale)
                yield
            else:
                with with_image_prompt(self._denoiser, part, scale):
                    self._reference = part
                    yield
        finally:
            self._control = self._reference = None

    @torch.inference_mode()
    def render(self, prompts: Sequence[str], seeds: Sequence[int]) -> Float[torch.Tensor, "n 3 h w"]:
        """Render one batch of cells, float32 in 0..1 (see :class:`lorascope.generators.base.Generator`)."""
        if self._control is None:
            return self._draw(prompts, seeds, None)
        return self._draw(
            prompts, seeds, self._control.pictures(prompts, seeds, lambda: self._draw(prompts, seeds, None))
        )

    def _draw(self, prompts: Sequence[str], seeds: Sequence[int], conditions: torch.Tensor | None) -> torch.Tensor:
        """Render one batch; a ControlNet acts where there is a condition for each cell."""
        preset = self._preset
        factor = self._pipe.vae_scale_factor
        shape = (self._denoiser.config.in_channels, preset.height // factor, preset.width // factor)
        noise, generators = starting_noise(seeds, shape, preset.noise, preset.seeds[0])
        guided = [preset.negative_prompt] * len(prompts) if preset.guidance > 1 else []
        texts = self._prompts.encode([*guided, *map(preset.text, prompts)])
        with compiling() if self._compiled else nullcontext():
            latents = self._denoise(noise, texts, generators, conditions)
        return self._decode(latents)

    def _denoise(
        self, noise: torch.Tensor, texts: list[Text], generators: list[torch.Generator], conditions: torch.Tensor | None
    ) -> torch.Tensor:
        """The latents of one batch; where there are twice as many texts as cells, the first half guides."""
        preset, scheduler, unet = self._preset, self._scheduler, self._denoiser
        guided = len(texts) > len(noise)
        tokens = torch.cat([text.tokens for text in texts])
        added = self._added(texts, len(texts) - len(noise))
        if conditions is not None and guided:
            conditions = torch.cat([conditions, conditions])
        scheduler.set_timesteps(preset.steps, device=self._device)
        latents = (noise * scheduler.init_noise_sigma).to(self._device, unet.dtype)
        draws = {"generator": generators} if "generator" in inspect.signature(scheduler.step).parameters else {}
        for moment in scheduler.timesteps:
            doubled = torch.cat([latents, latents]) if guided else latents
            doubled = scheduler.scale_model_input(doubled, moment)
            beside: dict[str, Any] = {}
            if self._control is not None and conditions is not None:
                beside = self._control.additions(doubled, moment, tokens, added, conditions)
            predicted = unet(doubled, moment, encoder_hidden_states=tokens, added_cond_kwargs=added, **beside).sample
            if guided:
                without, with_text = predicted.chunk(2)
                predicted = without + preset.guidance * (with_text - without)
                if preset.guidance_rescale:
                    predicted = rescaled(predicted, with_text, preset.guidance_rescale)
            latents = scheduler.step(predicted, moment, latents, **draws).prev_sample
        return latents

    @torch.inference_mode()
    def _check_prediction(self) -> None:
        """Refuse a denoiser that predicts v under a scheduler for one that predicts noise, or the other way round."""
        expected = self._scheduler.config.get("prediction_type")
        if expected not in _PREDICTIONS or not hasattr(self._scheduler, "alphas_cumprod"):
            return
        preset, factor = self._preset, self._pipe.vae_scale_factor
        height, width = (min(_CHECKED_PIXELS, size) // factor for size in (preset.height, preset.width))
        noise, _ = starting_noise([0], (self._denoiser.config.in_channels, height, width), "cell", 0)
        texts = self._prompts.encode([""])

        def denoise(latents: torch.Tensor, step: int) -> torch.Tensor:
            there = latents.to(self._device, self._denoiser.dtype)
            moment = torch.tensor(step, device=self._device)
            added = self._added(texts)
            found = self._denoiser(there, moment, encoder_hidden_states=texts[0].tokens, added_cond_kwargs=added).sample
            return found.cpu().float()

        found = predicted(denoise, noise, self._scheduler)
        if found and found != expected:
            raise ModelError(
                f"the base model {preset.base} predicts {_PREDICTIONS[found]}, but the scheduler of the preset"
                f" {preset.name!r} takes it for {_PREDICTIONS[expected]}, so its pictures would be wrong: use a preset"
                f" for such models, or the option prediction_type={found} in its scheduler"
            )

    def _added(self, texts: list[Text], guided: int = 0) -> dict[str, Any] | None:
        """SDXL's micro-conditioning, the pooled text and the sizes; and what a reference shows, but to guiding rows."""
        part = self._reference
        seen = {} if part is None else {"image_embeds": shown(part, len(texts) - guided, guided, texts[0].tokens)}
        if texts[0].pooled is None:
            return seen or None
        size = (self._preset.height, self._preset.width)
        ids = torch.tensor([[*size, 0, 0, *size]], dtype=self._denoiser.dtype, device=self._device)
        pooled = torch.cat([text.pooled for text in texts if text.pooled is not None])
        return {"text_embeds": pooled, "time_ids": ids.expand(len(texts), -1)} | seen

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
        at_once = max(1, _DECODED_PIXELS // (self._preset.width * self._preset.height))
        images = torch.cat([vae.decode(part, return_dict=False)[0] for part in latents.split(at_once)])
        return (images.float() / 2 + 0.5).clamp(0, 1)


def rescaled(guided: torch.Tensor, with_text: torch.Tensor, share: float) -> torch.Tensor:
    """Guided predictions with less of the contrast that guidance adds.

    Lin et al. 2024, "Common diffusion noise schedules and sample steps are flawed", section 3.4: each prediction is
    scaled to the standard deviation of the one with the text, and mixed with itself.

    Args:
        guided: predictions after classifier-free guidance, (n, channels, h, w).
        with_text: predictions with the text alone, of the same shape.
        share: of the scaled prediction in the mixture, 0 to 1; phi in the paper.
    """
    axes = tuple(range(1, guided.ndim))
    scaled = guided * (with_text.std(axes, keepdim=True) / guided.std(axes, keepdim=True))
    return share * scaled + (1 - share) * guided
