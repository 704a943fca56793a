"""Search by behaviour against search in words, where neither side knows more than the other.

    python -m benchmarks.heldout FOLDER

The encoder that ships has read captions in the queries' words and seen pictures of nearly all effects. Here, pictures
are read into the space of the text model minilm, which knows words from elsewhere: a ridge regression goes from
features of a picture to minilm's embedding of its caption. For a query about an effect, all pictures of its family are
left out of the regression, so that search by behaviour has neither seen nor read of anything like it. The features are

* plain: colours, and how often patches of certain kinds occur (k-means on patches, Coates et al. 2011), learnt from
  pictures without any effect;
* shipped: the encoder that ships, whose image tower has seen pictures of nearly all effects.

Text search reads a good description of every adapter, too. `benchmarks.trainings` draws the training of each effect,
too. What was made is kept in FOLDER, so an interrupted run continues. The queries are the fresh split of `miniature`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, final

import numpy as np
import torch
from jaxtyping import Float, UInt8

from benchmarks.machine import describe as machine
from benchmarks.markdown import table
from lorascope import Grid, Library, Preset
from lorascope.adapters import Names as WeightNames
from lorascope.adapters import load_delta
from lorascope.encoders.dual import DualEncoder
from lorascope.encoders.load import load_text_encoder
from lorascope.encoders.suffix import QueryEncoder
from lorascope.evaluation.corpus import Corpus, Words
from lorascope.evaluation.experiments.metadata import Descriptions
from lorascope.evaluation.measures import MAIN, Qrels
from lorascope.evaluation.queries import JudgedQuery, load_queries
from lorascope.evaluation.retrievers import RANDOM, Hybrid, Scores, random_orders
from lorascope.evaluation.statistics import Clusters, Interval, compare
from lorascope.evaluation.store import LabStore
from lorascope.evaluation.text import BM25, STANDING_IN, Dense, TextModel
from lorascope.generators.diffusion import DiffusionGenerator
from lorascope.grid import Cell, PromptSet
from lorascope.miniature import adapters_path, base_path
from miniature import autoencoder, pools
from miniature.captions import styled
from miniature.catalogue import ENTRIES, Entry, authors
from miniature.effects import FAMILIES, FAMILY

Images = UInt8[np.ndarray, "n 64 64 3"]
CELLS = 32
_POOL, _PREFIXES = 4000, 8
_STEMS = tuple(entry.stem for entry in ENTRIES)
_PATCH, _CENTRES, _STRIDE = 6, 192, 2
_RIDGES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Of the features' mean variance; chosen by a tenth of the pictures, not by queries."""


@final
class PlainFeatures:
    """Colours, and how often patches of certain kinds occur in each quarter of a picture."""

    def __init__(self, images: Images) -> None:
        """Learn the kinds of patches from pictures without effects."""
        rng = np.random.default_rng(0)
        patches = self._patches(torch.from_numpy(images[:1000])).flatten(0, 1)
        patches = patches[torch.from_numpy(rng.permutation(len(patches))[:40000])]
        self._mean = patches.mean(0)
        values, axes = torch.linalg.eigh((patches - self._mean).T.cov())
        self._whiten = axes / (values + 0.01).sqrt()
        points = (patches - self._mean) @ self._whiten
        centres = points[:_CENTRES].clone()
        for _ in range(10):
            nearest = torch.cdist(points, centres).argmin(1)
            for place in nearest.unique():
                centres[place] = points[nearest == place].mean(0)
        self._centres = centres

    def __call__(self, images: Images) -> Float[np.ndarray, "n d"]:
        """Features of some pictures."""
        return np.concatenate([self._some(torch.from_numpy(images[i : i + 64])) for i in range(0, len(images), 64)])

    def _some(self, images: torch.Tensor) -> np.ndarray:
        patches = (self._patches(images) - self._mean) @ self._whiten
        apart = torch.cdist(patches, self._centres.expand(len(patches), -1, -1))
        near = (apart.mean(-1, keepdim=True) - apart).clamp(min=0)  # the "triangle" of Coates et al.
        side = int(near.shape[1] ** 0.5)
        maps = near.transpose(1, 2).unflatten(2, (side, side))
        kinds = torch.nn.functional.adaptive_avg_pool2d(maps, 2).flatten(1)
        x = images.permute(0, 3, 1, 2).float() / 255
        colours = torch.nn.functional.adaptive_avg_pool2d(torch.cat([x, x**2], 1), 4).flatten(1)
        return torch.cat([kinds, colours], 1).numpy()

    @staticmethod
    def _patches(images: torch.Tensor) -> torch.Tensor:
        """(n, places, patch), each less its mean and of the same contrast."""
        x = images.permute(0, 3, 1, 2).float() / 255
        found = torch.nn.functional.unfold(x, _PATCH, stride=_STRIDE).transpose(1, 2)
        return (found - found.mean(-1, keepdim=True)) / (found.std(-1, keepdim=True) + 0.03)


def regression(x: Float[np.ndarray, "n d"], y: Float[np.ndarray, "n t"]) -> Float[np.ndarray, "d t"]:
    """Ridge regression of y on x, both centred; the ridge is the one that does best on a tenth of the rows."""
    x, y = x - x.mean(0), y - y.mean(0)
    fit, seen = slice(len(x) // 10, None), slice(0, len(x) // 10)
    values, axes = np.linalg.eigh(x[fit].T @ x[fit])
    turned = axes.T @ (x[fit].T @ y[fit])
    maps = [axes @ (turned / (values + one * values.mean())[:, None]) for one in _RIDGES]
    return min(maps, key=lambda one: float(((y[seen] - x[seen] @ one) ** 2).sum()))


class Made(NamedTuple):
    """Adapters in a folder, and the name under which their images are kept."""

    name: str
    folder: Path
    entries: Sequence[Entry]


SHIPPED = Made("images", adapters_path(), ENTRIES)


@final
class Workshop:
    """Everything that is made once and kept in a folder."""

    def __init__(self, folder: Path) -> None:
        """Bind the folder; it is made if it does not exist."""
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        torch.set_num_threads(1)

    def kept(self, name: str, make: Callable[[], np.ndarray]) -> np.ndarray:
        """An array from the folder, made first if it is not there."""
        path = self.folder / f"{name}.npy"
        if not path.exists():
            print(f"== {name}", flush=True)
            np.save(path, make())
        return np.load(path)

    @cached_property
    def _sentences(self) -> Any:
        """The text model, which nothing here trains."""
        from sentence_transformers import SentenceTransformer

        found = TextModel.load(STANDING_IN).find()
        return SentenceTransformer(str(found), device="cpu", local_files_only=True)

    def read(self, texts: Sequence[str]) -> np.ndarray:
        """Embeddings of length 1 of the text model."""
        return self._sentences.encode(list(texts), batch_size=64, normalize_embeddings=True, show_progress_bar=False)

    @cached_property
    def pool(self) -> pools.Pool:
        """Drawn pictures of the effects that encoders may see, half of them through the autoencoder."""
        path = self.folder / "pool.npz"
        if not path.exists():
            print("== pool", flush=True)
            pool = pools.varied(_POOL, 61)
            replace(pool, images=autoencoder.passed(base_path() / "vae", pool.images)).save(path)
        return pools.Pool.load(path)

    @cached_property
    def captions(self) -> np.ndarray:
        """The text model's embeddings of a caption for each picture of the pool."""
        rng = np.random.default_rng(62)
        texts = [
            styled(scene, names, rng).text for scene, names in zip(self.pool.scenes, self.pool.effects, strict=True)
        ]
        return self.kept("captions", lambda: self.read(texts))

    def images(self, name: str, folder: Path, entries: Sequence[Entry]) -> np.ndarray:
        """Images of the same cells, uint8 (1 + adapters, cells, 64, 64, 3): bare ones first, then with each adapter."""

        def make() -> np.ndarray:
            preset = Preset.load("miniature")
            grid, generator = preset.grid(), DiffusionGenerator(preset)
            cells = grid.cells[:CELLS]
            names, rows = WeightNames(generator.shapes), [_render(generator, grid, cells, "")]
            for entry in entries:
                with generator.with_component(load_delta(folder / f"{entry.stem}.safetensors", names), 1.0):
                    rows.append(_render(generator, grid, cells, entry.trigger))
            return np.stack(rows)

        return self.kept(name, make)


def _render(generator: DiffusionGenerator, grid: Grid, cells: Sequence[Cell], trigger: str) -> np.ndarray:
    tail = f", {trigger}" if trigger else ""
    texts = [grid.prompts.texts[cell.prompt] + tail for cell in cells]
    parts = (
        generator.render(texts[i : i + 16], [cell.seed for cell in cells[i : i + 16]]) for i in range(0, len(texts), 16)
    )
    return torch.cat(list(parts)).mul(255).round().byte().permute(0, 2, 3, 1).numpy()


def directions(embeddings: Float[np.ndarray, "rows cells d"]) -> Float[np.ndarray, "adapters d"]:
    """Unit Directions of adapters; the first row is bare."""
    means = embeddings.mean(1)
    found = means[1:] - means[0]
    return found / np.linalg.norm(found, axis=1, keepdims=True)


# Ranking


def corpora() -> dict[str, Corpus]:
    """The adapters with good descriptions, and with their authors' own."""
    words = [authors()[stem] for stem in _STEMS]
    own = tuple(Words(one["title"] or stem, one["about"], ()) for stem, one in zip(_STEMS, words, strict=True))
    corpus = Corpus(_STEMS, _STEMS, own, (None,) * len(_STEMS))
    good = Descriptions.of(corpus).decayed([None] * len(_STEMS), np.random.default_rng(0))
    return {"good": corpus.described(good), "authors'": corpus}


@final
class Comparison:
    """All retrievers on the fresh queries."""

    def __init__(self, shop: Workshop) -> None:
        """Make what is missing."""
        self.shop = shop
        self.queries = load_queries("miniature", split="fresh")
        self.asked = [query.text for query in self.queries]
        preset = Preset.load("miniature")
        self._encoder = DualEncoder(preset.encoders[0])
        self._text = load_text_encoder(preset.encoders[0])
        self._prompts = PromptSet.load(preset.query_prompts)
        plain = [i for i, names in enumerate(shop.pool.effects) if not names]
        self._features = {"plain": PlainFeatures(shop.pool.images[plain]), "shipped": self._seen}
        self._maps = {name: self._regressions(name) for name in self._features}

    def _seen(self, images: Images) -> np.ndarray:
        parts = (images[i : i + 64] for i in range(0, len(images), 64))
        return np.concatenate(
            [self._encoder.images(torch.from_numpy(p).permute(0, 3, 1, 2).float() / 255) for p in parts]
        )

    def _regressions(self, features: str) -> dict[str, np.ndarray]:
        """From a picture to its caption, with each family left out, and ("") with none."""
        pool, y = self.shop.pool, self.shop.captions
        x = self.shop.kept(f"pool-{features}", lambda: self._features[features](pool.images))
        held = [{FAMILY[name] for name in names} for names in pool.effects]
        rows = {family: np.array([family not in one for one in held]) for family in ("", *FAMILIES)}
        maps = self.shop.kept(f"maps-{features}", lambda: np.stack([regression(x[r], y[r]) for r in rows.values()]))
        return dict(zip(rows, maps, strict=True))

    @cached_property
    def _shifts(self) -> np.ndarray:
        """What each query adds to prompts, in the text model's space."""
        prompts = self._prompts.texts[:_PREFIXES]
        texts = [f"{prompt} {query}" for query in self.asked for prompt in prompts]
        whole = self.shop.kept("queries", lambda: self.shop.read(texts))
        return (whole.reshape(len(self.asked), len(prompts), -1) - self.shop.read(prompts)).mean(1)

    def seen(self, features: str, made: Made = SHIPPED) -> Float[np.ndarray, "rows cells d"]:
        """The features of each image: bare ones first, then with each adapter."""
        see = self._features[features]
        images = self.shop.images(*made)
        return self.shop.kept(f"{made.name}-{features}", lambda: np.stack([see(row) for row in images]))

    def behaviour(self, made: Made = SHIPPED) -> dict[str, Scores]:
        """Cosines by each kind of features, with the query's family left out and not."""
        found: dict[str, Scores] = {}
        for features, ways in self._maps.items():
            seen = self.seen(features, made)
            rows = {family: self._shifts @ directions(seen @ way).T for family, way in ways.items()}
            held = [rows[FAMILY[query.group]][place] for place, query in enumerate(self.queries)]
            found[f"behaviour, {features} features, family left out"] = np.stack(held)
            found[f"behaviour, {features} features"] = rows[""]
            if features == "shipped":
                vectors = self.shop.kept("vectors", self._encoded)
                found["behaviour, as it ships"] = vectors @ directions(seen).T
        return found

    def _encoded(self) -> np.ndarray:
        """What each query adds to prompts, by the encoder that ships."""
        shifts = QueryEncoder(self._text, self._prompts)
        return np.stack([shifts.vector(text) for text in self.asked])

    def words(self) -> dict[str, Scores]:
        """The text retrievers."""
        found: dict[str, Scores] = {}
        with Library(self.shop.folder / "texts.db", create=True) as library, LabStore(library) as store:
            model = TextModel.load(STANDING_IN)
            for sort, corpus in corpora().items():
                found[f"minilm, {sort} descriptions"] = Dense(corpus, model, store).scores(self.asked)
                found[f"bm25, {sort} descriptions"] = BM25(corpus).scores(self.asked)
                found[f"shipped text tower, {sort} descriptions"] = self._captioned(corpus)
        return found

    def _captioned(self, corpus: Corpus) -> Scores:
        """The shipped encoder's text tower as a text model: it was trained on the captions and nothing else."""
        sides = [self._text.texts(texts) for texts in (self.asked, [words.document for words in corpus.words])]
        one, other = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in sides)
        return (one @ other.T).astype(float)


TEXT, AUTHORS = "minilm, good descriptions", "minilm, authors' descriptions"


def tables(compared: Comparison) -> str:
    """Everything, as Markdown."""
    corpus, asked = corpora()["good"], compared.queries
    clusters = grouped(asked)
    first = compared.behaviour()
    scores = {**first, **compared.words()}
    for name in list(first)[::2]:
        scores[f"sum of {name}, and {TEXT}"] = Hybrid("sum", (), corpus).fused([scores[name], scores[TEXT]])
    qrels = Qrels(corpus, asked)
    figures = {name: qrels.main(rows) for name, rows in scores.items()}
    figures[RANDOM] = np.mean([qrels.main(one.scores(compared.asked)) for one in random_orders(corpus)], axis=0)
    rows: list[list[str]] = []
    for name, values in figures.items():
        cells = [shown(clusters.interval(values))]
        for kind in ("known", "new"):
            chosen = np.array([query.kind == kind for query in asked])
            part = grouped([query for query in asked if query.kind == kind])
            cells.append(shown(part.interval(values[chosen])))
        rows.append([name, *cells])
    lines = [table(("retriever", f"{MAIN}, all", "known words", "new words"), rows)]
    rows = []
    ours = [name for name in figures if "behaviour" in name]
    for one in compare(clusters, figures, [(name, text) for text in (TEXT, AUTHORS) for name in ours]):
        name = f"{one.first} − {one.second}"
        rows.append([name, shown(one.difference), f"{one.p:.3f}", f"{one.detectable:.3f}"])
    lines.append(table(("comparison", "difference", "p", "detectable"), rows))
    count = f"{len(asked)} queries in {clusters.count} groups, {len(_STEMS)} adapters, {CELLS} cells each"
    return "\n".join([*lines, f"{count}; {machine()}."])


def grouped(asked: Sequence[JudgedQuery]) -> Clusters:
    """Queries for one effect are resampled together."""
    return Clusters([query.group for query in asked])


def shown(value: Interval) -> str:
    """As tables have it."""
    return f"{value.value:.3f} ({value.lower:.3f} to {value.upper:.3f})" if value.known else f"{value.value:.3f}"


def main() -> None:
    """Make what is missing, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where everything is kept; made if it does not exist")
    arguments = parser.parse_args()
    print(tables(Comparison(Workshop(arguments.folder))))


if __name__ == "__main__":
    main()
