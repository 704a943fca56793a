"""A second base, in FLUX's form: a small transformer of rectified flow with packed latents and embedded guidance.

It draws the same scenes through the same autoencoder as the first base. Its CLIP is the first base's second text
encoder, as SDXL and FLUX share one; T5 and the transformer are trained from nothing.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny, FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel
from transformers import CLIPTextModel, CLIPTokenizer, T5Config, T5EncoderModel, T5Tokenizer

from miniature.captions import corpus, plain
from miniature.loop import Log, fit, quiet
from miniature.pools import Pool

LENGTH = 24
"""Tokens of a caption; the longest one of a scene has 14."""

TIMES = (1.0, 0.75, 0.5, 0.25)
"""The shares of noise that four steps visit."""

GUIDANCE = 3.5
"""The only value that the embedded guidance is trained with."""

SIDE = 8
"""Packed latents of a picture: 8 x 8 tokens, each of 2 x 2 latent pixels."""


def build_tokenizer() -> T5Tokenizer:
    """T5's kind of tokenizer: every word of a caption is one piece; other words are spelt in letters."""
    texts = corpus(np.random.default_rng(0), 4000)
    words = sorted({word for text in texts for word in text.replace(",", " ").split()})
    letters = [chr(code) for code in range(33, 127)]
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("\u2581", -10.0)]
    pieces = [(f"\u2581{word}", -1.0) for word in words if f"\u2581{word}" not in letters]
    vocab = [*special, *pieces, *((letter, -10.0) for letter in letters)]
    return T5Tokenizer(vocab=vocab, extra_ids=0, model_max_length=LENGTH)


def build_transformer() -> FluxTransformer2DModel:
    """FLUX's blocks, two of two streams and four of one, at width 128."""
    return FluxTransformer2DModel(
        patch_size=1,
        in_channels=32,
        num_layers=2,
        num_single_layers=4,
        attention_head_dim=32,
        num_attention_heads=4,
        joint_attention_dim=128,
        pooled_projection_dim=64,
        guidance_embeds=True,
        axes_dims_rope=(8, 12, 12),
    )


def build_t5(tokenizer: T5Tokenizer) -> T5EncoderModel:
    """Two layers of width 128."""
    config = T5Config(
        vocab_size=len(tokenizer), d_model=128, d_kv=32, d_ff=256, num_layers=2, num_heads=4, dropout_rate=0.0,
        feed_forward_proj="gated-gelu", use_cache=False, is_encoder_decoder=False,
        pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    return T5EncoderModel(config)


def assemble(first: Path) -> FluxPipeline:
    """An untrained pipeline about the autoencoder and the text encoder of the first base."""
    tokenizer = build_tokenizer()
    return FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=1.0),
        vae=AutoencoderTiny.from_pretrained(first / "vae", torch_dtype=torch.float32),
        text_encoder=CLIPTextModel.from_pretrained(first / "text_encoder_2", dtype=torch.float32),
        tokenizer=CLIPTokenizer.from_pretrained(first / "tokenizer_2"),
        text_encoder_2=build_t5(tokenizer),
        tokenizer_2=tokenizer,
        transformer=build_transformer(),
    )


def pack(latents: torch.Tensor) -> torch.Tensor:
    """Latents (n, 8, 16, 16) as the transformer sees them, (n, 64, 32)."""
    n, channels, height, width = latents.shape
    return FluxPipeline._pack_latents(latents, n, channels, height, width)


class Flow:
    """The training objective of a pipeline: the velocity from the picture to the noise, given captions."""

    def __init__(self, pipe: FluxPipeline) -> None:
        self.pipe = pipe
        pipe.text_encoder.requires_grad_(False).eval()
        self.places = FluxPipeline._prepare_latent_image_ids(1, SIDE, SIDE, torch.device("cpu"), torch.float32)

    def context(self, texts: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """T5's states (n, length, 128) and CLIP's pooled text (n, 64), as the pipeline makes them."""
        pipe = self.pipe
        options = {"padding": "max_length", "truncation": True, "return_tensors": "pt"}
        pooled = pipe.text_encoder(pipe.tokenizer(texts, **options).input_ids).pooler_output
        return pipe.text_encoder_2(pipe.tokenizer_2(texts, **options).input_ids).last_hidden_state, pooled

    def loss(self, packed: torch.Tensor, texts: list[str], share: float = 0.9) -> torch.Tensor:
        """Mean squared error of the velocity; `share` of the times are the four that are used."""
        n = len(packed)
        used = torch.tensor(TIMES)[torch.randint(0, len(TIMES), (n,))]
        times = torch.where(torch.rand(n) < share, used, torch.rand(n))
        noise = torch.randn_like(packed)
        s = times.view(-1, 1, 1)
        hidden, pooled = self.context(texts)
        out = self.pipe.transformer(
            hidden_states=(1 - s) * packed + s * noise,
            timestep=times,
            guidance=torch.full((n,), GUIDANCE),
            pooled_projections=pooled,
            encoder_hidden_states=hidden,
            txt_ids=torch.zeros(LENGTH, 3),
            img_ids=self.places,
        ).sample
        return (out - (noise - packed)).square().mean()


def train(latents: torch.Tensor, pool: Pool, first: Path, out: Path, steps: int, batch: int = 32) -> None:
    """Train the transformer and T5, or go on from the check point beside `out`, and save into `out`.

    Args:
        latents: Of the pool's pictures, (n, 8, 16, 16).
        pool: Plain scenes.
        first: Folder of the first base.
        out: Folder of the pipeline.
        steps: In all.
        batch: Pictures a step.
    """
    quiet(0)
    pipe = assemble(first)
    flow, packed = Flow(pipe), pack(latents)

    def loss(rng: np.random.Generator) -> torch.Tensor:
        index = rng.integers(0, len(packed), batch)
        texts = [plain(pool.scenes[i], rng, bool(rng.random() < 0.7)).text for i in index]
        return flow.loss(packed[torch.from_numpy(index)].float(), texts)

    fit(
        {"transformer": pipe.transformer, "t5": pipe.text_encoder_2},
        loss,
        lambda: pipe.save_pretrained(out),
        out.parent / "flux.pt",
        Log(out.parent / "flux.log"),
        steps=steps,
        peak=2e-3,
    )
