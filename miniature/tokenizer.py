"""A byte-pair tokenizer by CLIP's conventions, trained on the captions."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPTokenizer

from miniature.captions import corpus

BEGIN, END = "<|startoftext|>", "<|endoftext|>"
LENGTH = 32
_PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


def train(folder: Path, entries: int = 1600) -> CLIPTokenizer:
    """Train the tokenizer and save it as vocab.json, merges.txt and tokenizer.json."""
    raw = Tokenizer(models.BPE(end_of_word_suffix="</w>", unk_token=END))
    raw.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    raw.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PATTERN), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=entries,
        end_of_word_suffix="</w>",
        special_tokens=[*letters, *(f"{letter}</w>" for letter in letters), BEGIN, END],
        show_progress=False,
    )
    raw.train_from_iterator(corpus(np.random.default_rng(0)), trainer)
    model = json.loads(raw.to_str())["model"]
    merges = [tuple(pair) if isinstance(pair, list) else tuple(pair.split(" ")) for pair in model["merges"]]
    tokenizer = CLIPTokenizer(vocab=model["vocab"], merges=merges, model_max_length=LENGTH)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(folder)
    _write_classic(folder, model["vocab"], merges)
    return CLIPTokenizer.from_pretrained(folder)


def _write_classic(folder: Path, vocab: dict[str, int], merges: list[tuple[str, ...]]) -> None:
    """Write the two files that older loaders read."""
    (folder / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False), encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
