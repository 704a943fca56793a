"""The judge: an encoder for evaluation only, as unlike the one that is searched with as can be.

A convolutional image tower (ConvNeXt) and a bidirectional text tower (BERT) with whole words as tokens; other captions,
other pictures in another order, another seed, and every effect among them. It says whether a scene asked for is there.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch.nn import functional
from transformers import (
    BertConfig,
    ConvNextConfig,
    PreTrainedTokenizerFast,
    VisionTextDualEncoderConfig,
    VisionTextDualEncoderModel,
)

from miniature.batches import Batch, Batches
from miniature.captions import Caption
from miniature.effects import NAMES
from miniature.encoder import Names, contrast
from miniature.loop import Average, Checkpoint, Log, quiet, rate
from miniature.objects import KINDS
from miniature.pools import Pool
from miniature.quality import judged
from miniature.scenes import COLOURS, RELATIONS, Scene
from miniature.vocabulary import WHERE, WORDS

WIDTH = 96
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")


def sentence(scene: Scene) -> str:
    """The judge's own way to put a scene into words."""
    first, second = scene.first, scene.second
    text = f"{scene.place} scene showing {first.colour} {first.kind}"
    return f"{text} {scene.relation} {second.colour} {second.kind}" if second else text


def talk(scene: Scene, effects: Sequence[str], rng: np.random.Generator) -> Caption:
    """A caption in the judge's words: the scene, mostly, and each effect by its name or its last paraphrase."""
    words = [str(rng.choice((WORDS[name][0], WORDS[name][-1]))) for name in effects]
    fits = tuple((name,) for name in effects)
    if words and rng.random() < 0.15:
        return Caption("look " + " and ".join(words), False, False, False, fits)
    tail = f" look {' and '.join(words)}" if words else ""
    return Caption(sentence(scene) + tail, effects=fits)


def tokenizer() -> PreTrainedTokenizerFast:
    """Whole words as tokens; words it has not learnt are all the same one."""
    texts = [*KINDS, *COLOURS, *WHERE, *RELATIONS, "scene showing look and"]
    texts += [phrase for name in NAMES for phrase in (WORDS[name][0], WORDS[name][-1])]
    words = sorted({word for text in texts for word in text.split()})
    table = {word: place for place, word in enumerate((*_SPECIAL, *words))}
    raw = Tokenizer(models.WordLevel(table, unk_token="[UNK]"))
    raw.normalizer = normalizers.Lowercase()
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    raw.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", table["[CLS]"]), ("[SEP]", table["[SEP]"])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=raw, model_max_length=32, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]",
        sep_token="[SEP]",
    )  # fmt: skip


def build(words: PreTrainedTokenizerFast) -> VisionTextDualEncoderModel:
    """The untrained model."""
    vision = ConvNextConfig(
        hidden_sizes=[96, 192, 384], depths=[2, 3, 1], num_stages=3, patch_size=4, image_size=64,
        layer_scale_init_value=1.0,
        hidden_size=384,  # by this name the two towers are joined
    )  # fmt: skip
    text = BertConfig(
        vocab_size=len(words), hidden_size=WIDTH, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=3 * WIDTH, max_position_embeddings=32, pad_token_id=0,
    )  # fmt: skip
    config = VisionTextDualEncoderConfig(
        vision_config=vision.to_dict(), text_config=text.to_dict(), projection_dim=WIDTH
    )
    return VisionTextDualEncoderModel(config)


def pixels(images: np.ndarray) -> torch.Tensor:
    """uint8 (n, 64, 64, 3) to -1..1, (n, 3, 64, 64)."""
    x = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float()
    return x.div(127.5).sub(1).contiguous(memory_format=torch.channels_last)


class Judge:
    """The model with its words: pictures and texts to embeddings of length 1."""

    def __init__(self, model: VisionTextDualEncoderModel, words: PreTrainedTokenizerFast) -> None:
        self.model = model
        self.words = words

    def see(self, images: np.ndarray) -> torch.Tensor:
        """Embeddings of pictures, (n, d)."""
        return functional.normalize(self.model.get_image_features(pixel_values=pixels(images)).pooler_output, dim=-1)

    def read(self, texts: list[str]) -> torch.Tensor:
        """Embeddings of texts, (n, d)."""
        tokens = self.words(texts, padding=True, truncation=True, return_tensors="pt")
        tokens.pop("token_type_ids", None)
        return functional.normalize(self.model.get_text_features(**tokens).pooler_output, dim=-1)

    def loss(self, names: Names, batch: Batch) -> torch.Tensor:
        """Contrast, and naming from pictures and from captions."""
        with torch.autocast("cpu", torch.bfloat16):
            v, u = self.see(batch.images), self.read(batch.texts)
        v, u = v.float(), u.float()
        logits = v @ u.T * self.model.logit_scale.exp()
        return contrast(logits, batch.true) + 2 * names(v, batch.facts) + 0.5 * names(u, batch.claims)


def train(pool: Pool, kept: Pool, folder: Path, steps: int, size: int = 96) -> None:
    """Train, or go on from the check point beside `folder`, and save into `folder`."""
    quiet(21)
    log = Log(folder.parent / "judge.log")
    words = tokenizer()
    model = build(words)
    model.vision_model.to(memory_format=torch.channels_last)
    judge, names = Judge(model, words), Names(WIDTH)
    batches = Batches(pool, 21, jitter=3, talk=talk)
    parameters = [*model.parameters(), *names.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.05, betas=(0.9, 0.98))
    average = Average(model.parameters(), 0.998)
    point = Checkpoint(folder.parent / "judge.pt", batches.rng, model=model, names=names, optimizer=optimizer,
                       average=average)  # fmt: skip
    for step in range(point.load(), steps):
        optimizer.param_groups[0]["lr"] = rate(step, steps, 2e-3)
        optimizer.zero_grad()
        # alike pictures teach little before objects can be told apart at all
        value = judge.loss(names, batches.draw(size, hard=0.1 if step < steps / 2 else 0.4))
        value.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        average.update()
        with torch.no_grad():
            model.logit_scale.clamp_(max=4.0)
        if step % 250 == 249 or step == steps - 1:
            point.save(step + 1)
            average.swap()
            log(f"step {step + 1} loss {value.item():.3f} {accuracy(judge, kept, 250)}")
            save(judge, folder)
            average.swap()


@torch.no_grad()
def accuracy(judge: Judge, pool: Pool, count: int) -> dict[str, float]:
    """What `quality.judged` finds on pictures with effects."""
    judge.model.eval()
    found = judged(lambda x: judge.see(x).numpy(), lambda t: judge.read(t).numpy(), sentence, pool, count)
    judge.model.train()
    return found


def save(judge: Judge, folder: Path) -> None:
    """Write the model, the tokenizer and the preprocessing; transformers' AutoModel loads the folder."""
    judge.model.save_pretrained(folder)
    judge.words.save_pretrained(folder)
    preprocessing = {
        "image_processor_type": "ConvNextImageProcessor", "do_resize": True, "size": {"shortest_edge": 64},
        "crop_pct": 1.0, "resample": 3, "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True,
        "image_mean": [0.5] * 3, "image_std": [0.5] * 3,
    }  # fmt: skip
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessing, indent=2), encoding="utf-8")
