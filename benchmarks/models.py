"""Models of real size with random weights: they cost what trained ones cost, and nothing has to be fetched."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path

from lorascope.grid import PromptSet

_VOCABULARY = 49_408
_LENGTH = 77
_MERGED = 2500
"""About 1.2 tokens a word on the shipped prompts, as CLIP itself needs."""


def clip_vit_b32(folder: Path, *, seed: int = 0) -> Path:
    """A CLIPModel of the size of ViT-B/32, in the files that transformers writes.

    Its tokenizer is of CLIP's kind, learnt from the shipped prompts.
    """
    import torch
    from transformers import CLIPConfig, CLIPModel, CLIPTextConfig

    texts = (*PromptSet.load("index").texts, *PromptSet.load("query").texts, *PromptSet.load("reference").texts)
    bos, eos = clip_tokenizer(folder, texts)
    torch.manual_seed(seed)
    text = CLIPTextConfig(bos_token_id=bos, eos_token_id=eos, pad_token_id=eos)
    model = CLIPModel(CLIPConfig(text_config=text.to_dict(), projection_dim=512))
    for parameter in model.parameters():  # the default initialisation is too small to tell texts apart
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.03)
    model.save_pretrained(folder)
    settings = {
        "crop_size": {"height": 224, "width": 224}, "do_center_crop": True, "size": {"shortest_edge": 224},
        "image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711],
        "do_normalize": True, "do_resize": True, "do_rescale": True, "do_convert_rgb": True, "resample": 3,
        "rescale_factor": 1 / 255, "image_processor_type": "CLIPImageProcessor",
    }  # fmt: skip
    (folder / "preprocessor_config.json").write_text(json.dumps(settings), "utf-8")
    return folder


def clip_tokenizer(folder: Path, texts: Iterable[str]) -> tuple[int, int]:
    """A byte-pair encoding of CLIP's kind, learnt from some texts and saved; the same texts give the same tokenizer.

    Returns:
        The ids of begin- and end-of-text.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import CLIPTokenizer

    words = (word for text in texts for word in re.findall("[a-z]+", text.lower()))
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    # The trainer's own mark for the end of a word makes ties fall by chance, so a capital marks it here.
    learner.train_from_iterator(
        (word[:-1] + word[-1].upper() for word in words), trainers.BpeTrainer(vocab_size=_MERGED)
    )
    learnt = json.loads(learner.to_str())["model"]["merges"]
    merges = [(_ended(first), _ended(second)) for first, second in learnt]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    symbols = [*letters, *(f"{letter}</w>" for letter in letters), *(a + b for a, b in merges)]
    vocabulary = {symbol: place for place, symbol in enumerate(dict.fromkeys(symbols))}
    bos, eos = _VOCABULARY - 2, _VOCABULARY - 1
    vocabulary |= {"<|startoftext|>": bos, "<|endoftext|>": eos}
    CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=_LENGTH).save_pretrained(folder)
    return bos, eos


def _ended(symbol: str) -> str:
    return f"{symbol.lower()}</w>" if symbol[-1].isupper() else symbol
