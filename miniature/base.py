"""The base model in SDXL's form: a small UNet and two text encoders, trained together on plain scenes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderTiny, EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from miniature.captions import plain
from miniature.loop import Log, fit, quiet
from miniature.pools import Pool
from miniature.scenes import Scene

TIMES = (999, 749, 499, 249)
"""The times that four steps with trailing spacing visit."""

TIME_IDS = torch.tensor([64.0, 64, 0, 0, 64, 64])


def build_unet() -> UNet2DConditionModel:
    """SDXL's layout of blocks, so that its module names hold, at a small width."""
    return UNet2DConditionModel(
        sample_size=16,
        in_channels=8,
        out_channels=8,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(32, 64, 96),
        layers_per_block=2,
        attention_head_dim=4,
        cross_attention_dim=128,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=16,
        projection_class_embeddings_input_dim=6 * 16 + 64,
        norm_num_groups=8,
    )


def build_texts(tokenizer: CLIPTokenizer) -> tuple[CLIPTextModel, CLIPTextModelWithProjection]:
    """Two text encoders of width 64; as in SDXL the UNet sees their last hidden layer but one."""
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=256,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=tokenizer.model_max_length,
        projection_dim=64,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        attn_implementation="eager",
    )
    return CLIPTextModel(config), CLIPTextModelWithProjection(config)


def scheduler() -> EulerDiscreteScheduler:
    """Deterministic; v-prediction with a last time of no signal, so four trailing steps suffice."""
    return EulerDiscreteScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
    )


def assemble(folder: Path, tokenizer: CLIPTokenizer) -> StableDiffusionXLPipeline:
    """An untrained pipeline about the autoencoder in `folder`."""
    first, second = build_texts(tokenizer)
    return StableDiffusionXLPipeline(
        vae=AutoencoderTiny.from_pretrained(folder),
        text_encoder=first,
        text_encoder_2=second,
        tokenizer=tokenizer,
        tokenizer_2=tokenizer,
        unet=build_unet(),
        scheduler=scheduler(),
        force_zeros_for_empty_prompt=False,
        add_watermarker=False,
    )


def _none(*_: Any) -> dict[str, Any]:
    return {}


class Diffusion:
    """The training objective of a pipeline: v at a time, given captions."""

    def __init__(self, pipe: StableDiffusionXLPipeline) -> None:
        self.pipe = pipe
        pipe.unet.set_attn_processor(AttnProcessor())
        kept = pipe.scheduler.alphas_cumprod.clone()
        kept[-1] = 0.0
        self.signal, self.noise = kept.sqrt(), (1 - kept).sqrt()

    def context(self, texts: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """Token states (n, length, 128) and pooled text (n, 64), as the pipeline makes them."""
        tokenizer = self.pipe.tokenizer
        ids = tokenizer(texts, padding="max_length", truncation=True, return_tensors="pt").input_ids
        first = self.pipe.text_encoder(ids, output_hidden_states=True)
        second = self.pipe.text_encoder_2(ids, output_hidden_states=True)
        return torch.cat([first.hidden_states[-2], second.hidden_states[-2]], dim=-1), second.text_embeds

    def loss(
        self, latents: torch.Tensor, texts: list[str], share: float = 0.9, beside: Callable[..., dict[str, Any]] = _none
    ) -> torch.Tensor:
        """Mean squared error of v; `share` of the times are the four that are used.

        What a component adds to the UNet's call, `beside` gives for noisy latents, times, token states and the rest.
        """
        n = len(latents)
        used = torch.tensor(TIMES)[torch.randint(0, 4, (n,))]
        times = torch.where(torch.rand(n) < share, used, torch.randint(0, 1000, (n,)))
        a, s = self.signal[times].view(-1, 1, 1, 1), self.noise[times].view(-1, 1, 1, 1)
        noise = torch.randn_like(latents)
        hidden, pooled = self.context(texts)
        extra = {"text_embeds": pooled, "time_ids": TIME_IDS.expand(n, 6)}
        mixed = (a * latents + s * noise).contiguous(memory_format=torch.channels_last)
        more = beside(mixed, times, hidden, extra)
        out = self.pipe.unet(mixed, times, encoder_hidden_states=hidden, added_cond_kwargs=extra, **more).sample
        return (out.float() - (a * noise - s * latents)).square().mean()


@dataclass(frozen=True)
class Phase:
    """One phase of the training.

    Attributes:
        steps: How many.
        batch: Pictures a step.
        full: Share of captions that name everything.
        decay: Of the average of the weights.
        used: Share of times drawn from the four that are used.
        fall: Over which last share of the steps the learning rate falls.
    """

    steps: int
    batch: int
    full: float
    decay: float
    used: float
    fall: float


PHASES = (Phase(800, 48, 0.0, 0.995, 0.7, 0.0), Phase(3000, 32, 0.7, 0.995, 0.9, 0.4))
"""First scenes that stray, which teaches backgrounds and colours; then steady ones, which teaches the objects."""


def train(latents: torch.Tensor, pool: Pool, pipe: StableDiffusionXLPipeline, out: Path, phase: Phase) -> None:
    """Train the UNet and both text encoders, or go on from the check point beside `out`, and save into `out`."""
    quiet(0)
    diffusion = Diffusion(pipe)
    pipe.unet.to(memory_format=torch.channels_last)

    def loss(rng: np.random.Generator) -> torch.Tensor:
        index = rng.integers(0, len(latents), phase.batch)
        texts = [_caption(pool.scenes[i], rng, phase.full) for i in index]
        return diffusion.loss(latents[torch.from_numpy(index)].float(), texts, phase.used)

    fit(
        {"unet": pipe.unet, "first": pipe.text_encoder, "second": pipe.text_encoder_2},
        loss,
        lambda: pipe.save_pretrained(out, safe_serialization=True),
        out.parent / f"base-{phase.steps}.pt",
        Log(out.parent / "base.log"),
        steps=phase.steps,
        peak=1.2e-3,
        fall=phase.fall,
        decay=phase.decay,
    )


def _caption(scene: Scene, rng: np.random.Generator, full: float) -> str:
    """A tenth of the captions are empty."""
    return "" if rng.random() < 0.1 else plain(scene, rng, bool(rng.random() < full)).text
