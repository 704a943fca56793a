"""Retrievers that read what people wrote: names, descriptions, tags."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, final

import numpy as np
from jaxtyping import Float, Float32

from lorascope.errors import ModelError, QueryError
from lorascope.evaluation.corpus import Corpus
from lorascope.evaluation.presets import read_presets
from lorascope.evaluation.retrievers import Scores
from lorascope.evaluation.store import LabStore
from lorascope.extras import optional
from lorascope.models import find_model

_WORD = re.compile(r"\w+")
_BATCH = 32
STANDING_IN = "minilm"
"""The dense model whose weights come in a package."""


@final
class Keyword:
    """As LoRA managers filter: the share of the query's words that are found within names, tags and triggers."""

    name = "keyword"

    def __init__(self, corpus: Corpus) -> None:
        self._names = [" ".join(words.names).lower() for words in corpus.words]

    def scores(self, texts: Sequence[str]) -> Scores:
        """Shares, 0 to 1; adapters without any of the words are left out."""
        return _found(np.array([[self._share(text, names) for names in self._names] for text in texts], float))

    @staticmethod
    def _share(text: str, names: str) -> float:
        words = _WORD.findall(text.lower())
        return sum(word in names for word in words) / max(1, len(words))


@final
class Fuzzy:
    """Near spellings: the best weighted ratio (rapidfuzz ``WRatio``, 0 to 100) of the query with any name or tag."""

    name = "fuzzy"

    def __init__(self, corpus: Corpus) -> None:
        self._names = [words.names for words in corpus.words]

    def scores(self, texts: Sequence[str]) -> Scores:
        """Ratios, case ignored; adapters without any likeness are left out."""
        ratio: Callable[..., float] = optional("rapidfuzz.fuzz").WRatio
        plain: Callable[[str], str] = optional("rapidfuzz.utils").default_process
        return _found(
            np.array([[max(ratio(text, n, processor=plain) for n in names) for names in self._names] for text in texts])
        )


@final
class BM25:
    """BM25 (Lucene's variant, k1 = 1.5, b = .75) over name and description, without stemming."""

    name = "bm25"

    def __init__(self, corpus: Corpus) -> None:
        self._bm25s = optional("bm25s")
        self._index = self._bm25s.BM25(method="lucene", k1=1.5, b=0.75)
        self._size = len(corpus)
        documents = [words.document for words in corpus.words]
        self._index.index(self._tokens(documents), show_progress=False)

    def _tokens(self, texts: Sequence[str]) -> list[list[str]]:
        return self._bm25s.tokenize(list(texts), stopwords="en", return_ids=False, show_progress=False)

    def scores(self, texts: Sequence[str]) -> Scores:
        """BM25 scores; adapters that share no word with the query are left out."""
        return _found(np.stack([self._row(tokens) for tokens in self._tokens(texts)]))

    def _row(self, tokens: list[str]) -> Float[np.ndarray, " adapters"]:
        return self._index.get_scores(tokens).astype(float) if tokens else np.zeros(self._size)


def _found(scores: Scores) -> Scores:
    """A text search does not list what has nothing in common with the query."""
    return np.where(scores > 0, scores, -np.inf)


@dataclass(frozen=True, kw_only=True)
class TextModel:
    """A dense text model as its makers prescribe its use; see ``data/text-models.toml``."""

    name: str
    family: str
    pooling: str
    query_prefix: str
    document_prefix: str
    model: str = ""
    package: str = ""

    @classmethod
    def load(cls, name: str, presets: Path | None = None) -> TextModel:
        """A preset by name, from the shipped file or from one of the same form.

        Raises:
            QueryError: there is none of that name, or the file is of another form.
        """
        known = read_presets("the text models", "text-models.toml", presets, _preset)
        if name not in known:
            raise QueryError(f"no text model {name!r}: use one of {', '.join(known)}")
        return known[name]

    def find(self, *, download: bool = False) -> Path:
        """The folder of the model on this disk; fetched first, if that is allowed.

        Raises:
            ModelError: it is not on this disk.
            MissingExtra: its package is not installed.
        """
        if self.package:
            return Path(optional(self.package).__file__).parent / "model"
        return find_model(self.model, download=download)


def _preset(name: str, fields: dict[str, str]) -> TextModel:
    preset = TextModel(name=name, **fields)
    if not preset.model and not preset.package:
        raise ValueError("names neither a model nor a package")
    return preset


@final
class Dense:
    """Cosine between embeddings of query and document (name and description), by a sentence-transformers model."""

    def __init__(
        self, corpus: Corpus, model: TextModel, store: LabStore, *, device: str = "", download: bool = False
    ) -> None:
        """Bind a model; it is loaded when there is a text that it has not embedded before."""
        self.name = model.name
        self._documents = [words.document for words in corpus.words]
        self._preset, self._store = model, store
        self._device, self._download = device, download

    def scores(self, texts: Sequence[str]) -> Scores:
        """Cosines, -1 to 1."""
        queries = self._embedded(self._preset.query_prefix, texts)
        documents = self._embedded(self._preset.document_prefix, self._documents)
        return (queries @ documents.T).astype(float)

    def missing(self, texts: Sequence[str]) -> int:
        """How many of some queries, and of the documents, have no stored embedding yet."""
        preset = self._preset
        whole = {preset.query_prefix + text for text in texts} | {preset.document_prefix + d for d in self._documents}
        return len(whole - self._store.texts(self._identity, whole).keys())

    @property
    def _identity(self) -> str:
        return self._preset.model or self._preset.package

    def find(self) -> Path:
        """The folder of the model, see :meth:`TextModel.find`."""
        return self._preset.find(download=self._download)

    def _embedded(self, prefix: str, texts: Sequence[str]) -> Float32[np.ndarray, "texts d"]:
        whole = [prefix + text for text in texts]
        known = self._store.texts(self._identity, whole)
        fresh = [text for text in dict.fromkeys(whole) if text not in known]
        for start in range(0, len(fresh), 8 * _BATCH):  # kept as it goes, so that a long run can be interrupted
            part = fresh[start : start + 8 * _BATCH]
            vectors = self._model.encode(
                part, batch_size=_BATCH, normalize_embeddings=True, show_progress_bar=False, convert_to_numpy=True
            )
            found = dict(zip(part, vectors.astype(np.float32), strict=True))
            self._store.put_texts(self._identity, found)
            known |= found
        return np.stack([known[text] for text in whole])

    @cached_property
    def _model(self) -> Any:
        sentence_transformers = optional("sentence_transformers")
        optional("transformers").utils.logging.disable_progress_bar()
        folder = self.find()
        _check_weights(folder)
        try:
            model = sentence_transformers.SentenceTransformer(
                str(folder),
                device=self._device or None,
                local_files_only=True,
                trust_remote_code=False,
                model_kwargs={"use_safetensors": True},  # a pickle can run code when it is loaded
            )
        except (OSError, ValueError) as error:
            raise ModelError(
                f"{folder} is no sentence-transformers model with safetensors weights ({error}): fetch it again"
            ) from error
        _check_pooling(model, self._preset)
        return model


def _check_weights(folder: Path) -> None:
    """Refuse weights in pickles, which may lie in the folders of single modules, too."""
    for path in folder.rglob("*.bin"):
        if not any(path.parent.glob("*.safetensors")):
            raise ModelError(f"{path} holds weights as a pickle: get a model that has them as safetensors")


def _check_pooling(model: Any, preset: TextModel) -> None:
    """Pooling decides what an embedding is, so a model that pools otherwise than its makers say is refused."""
    modes = [part.pooling_mode for part in model if hasattr(part, "pooling_mode")]
    if modes not in (preset.pooling, [preset.pooling], [(preset.pooling,)]):
        raise ModelError(f"{preset.name} pools by {modes}, its preset says {preset.pooling!r}: fetch it again")
