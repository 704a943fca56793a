"""Why Strength and Consistency hardly correlate on the shipped world, and what would make them.

    python -m benchmarks.correlation FOLDER [--cells 20] [--only CONDITION ...]

Every second shipped adapter is applied under several conditions: guidance, more steps, other scales, prompts that leave
everything open, and starting noise that differs between the two images of a cell. The same images are seen by other
encoders, too. What a condition gave is kept in FOLDER, so an interrupted run continues. Only dev queries are asked.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Literal, final
from unittest import mock

import numpy as np
import torch
from jaxtyping import Float

from benchmarks.judged import JUDGE
from benchmarks.machine import describe as machine
from benchmarks.markdown import table
from lorascope import Preset
from lorascope.adapters import Names, load_delta
from lorascope.encoders.dual import DualEncoder
from lorascope.encoders.encoding import Encoding
from lorascope.encoders.load import load_text_encoder
from lorascope.encoders.suffix import QueryEncoder
from lorascope.evaluation.corpus import Corpus, Words
from lorascope.evaluation.measures import Qrels
from lorascope.evaluation.queries import load_queries
from lorascope.evaluation.statistics import resampled, spearman
from lorascope.generators import diffusion
from lorascope.generators.noise import starting_noise
from lorascope.grid import PromptSet
from lorascope.miniature import adapters_path
from miniature.catalogue import ENTRIES

Images = Float[torch.Tensor, "n 3 h w"]
_ADAPTERS = ENTRIES[::2]
_NAMES = tuple(entry.stem for entry in _ADAPTERS)
_OTHER = 1_000_003
"""Added to a seed for noise that has nothing to do with it."""


@dataclass(frozen=True)
class Condition:
    """How images are made.

    Attributes:
        steps, guidance: of the sampler.
        scale: of every adapter.
        turn: by how many radians the starting noise is turned for the image with the adapter; pi / 2 is other noise.
        prompts: how much they say: all of a scene ("full"), its "kind" of object, or nothing ("empty"). What they leave
            open, the noise decides.
        eyes: which encoders look, besides the shipped one.
    """

    steps: int = 4
    guidance: float = 1.0
    scale: float = 1.0
    turn: float = 0.0
    prompts: Literal["full", "kind", "empty"] = "full"
    eyes: tuple[str, ...] = ()


CONDITIONS: Mapping[str, Condition] = {
    "as it ships": Condition(eyes=("hidden layer", "judge", "pixels", "noise 0.1", "noise 0.3")),
    "guidance 3": Condition(guidance=3),
    "8 steps": Condition(steps=8),
    "scale 3": Condition(scale=3),
    "prompts of one object": Condition(prompts="kind"),
    "prompts of one object, scale 3": Condition(prompts="kind", scale=3),
    "empty prompts": Condition(prompts="empty"),
    "other noise": Condition(turn=math.pi / 2),
    "empty prompts, other noise": Condition(prompts="empty", turn=math.pi / 2),
}


_OVERCOOKED = (
    ("every third at scale 3", "as it ships", "scale 3"),
    ("prompts of one object, every third at scale 3", "prompts of one object", "prompts of one object, scale 3"),
)
"""Libraries in which every third adapter is too strong: a name, the condition of most, and that of the others."""


@final
@dataclass(frozen=True)
class Figures:
    """What one encoder saw under one condition, a row for each adapter.

    Attributes:
        directions: mean effects.
        strength, consistency: as everywhere.
        own: what each cell has of its own: the root mean square of effects less the Direction.
        apart: the root mean square of the difference of two bare images of a prompt with different noise.
    """

    directions: Float[np.ndarray, "adapters d"]
    strength: Float[np.ndarray, " adapters"]
    consistency: Float[np.ndarray, " adapters"]
    own: Float[np.ndarray, " adapters"]
    apart: float

    @classmethod
    def of(cls, effects: Float[np.ndarray, "adapters n d"], apart: Float[np.ndarray, "n d"]) -> Figures:
        """From effects, and from differences of bare images."""
        lengths = np.linalg.norm(effects, axis=-1)
        units = effects / np.maximum(lengths, 1e-9)[..., None]
        n = lengths.shape[1]
        directions = effects.mean(1)
        own = np.sqrt(((effects - directions[:, None]) ** 2).sum(-1).mean(1))
        consistency = ((units.sum(1) ** 2).sum(-1) - n) / (n * (n - 1))
        return cls(directions, lengths.mean(1), consistency, own, float(np.sqrt((apart**2).sum(-1).mean())))

    @property
    def shared(self) -> Float[np.ndarray, " adapters"]:
        """The length of what all cells share, without what chance adds to it."""
        return self.strength * np.sqrt(self.consistency.clip(1e-6))

    def together(self, rows: np.ndarray) -> float:
        """The rank correlation of Strength and Consistency over some adapters."""
        return spearman(self.strength[rows], self.consistency[rows])


@final
class Studio:
    """Makes images of cells, each prompt once, and embeds them."""

    def __init__(self, cells: int) -> None:
        """Bind how many cells an adapter gets."""
        preset = Preset.load("miniature")
        self._preset = preset
        self._cells = preset.grid().cells[:cells]
        self._prompts = [preset.grid().prompts.prompts[cell.prompt] for cell in self._cells]
        self._encoder = DualEncoder(preset.encoders[0])

    def figures(self, condition: Condition) -> dict[str, Figures]:
        """What each encoder sees under a condition."""
        preset = replace(self._preset, steps=condition.steps, guidance=condition.guidance)
        generator = diffusion.DiffusionGenerator(preset)
        names = Names(generator.shapes)
        looks = {name: self._looks[name] for name in ("encoder", *condition.eyes)}
        bare = self._embedded(looks, self._images(generator, condition, 0.0))
        other = self._embedded(looks, self._images(generator, condition, math.pi / 2))
        rows: dict[str, list[np.ndarray]] = {name: [] for name in looks}
        for entry in _ADAPTERS:
            delta = load_delta(adapters_path() / f"{entry.stem}.safetensors", names)
            with generator.with_component(delta, condition.scale):
                images = self._images(generator, condition, condition.turn, entry.trigger)
            for name, seen in self._embedded(looks, images).items():
                rows[name].append(seen - bare[name])
        return {name: Figures.of(np.stack(rows[name]), other[name] - bare[name]) for name in looks}

    def _images(
        self, generator: diffusion.DiffusionGenerator, condition: Condition, turn: float, trigger: str = ""
    ) -> Images:
        said = {"full": "{0.text}", "kind": "a {0.group}", "empty": ""}[condition.prompts]
        texts = [said.format(prompt) for prompt in self._prompts]
        tail = f", {trigger}" if trigger else ""
        seeds = [cell.seed + 1000 * place for place, cell in enumerate(self._cells)]  # else an empty prompt repeats

        def turned(seeds: list[int], *rest: object) -> object:
            noise, generators = starting_noise(seeds, *rest)  # pyright: ignore[reportArgumentType]
            other, _ = starting_noise([seed + _OTHER for seed in seeds], *rest)  # pyright: ignore[reportArgumentType]
            return math.cos(turn) * noise + math.sin(turn) * other, generators

        with mock.patch.object(diffusion, "starting_noise", turned):
            parts = range(0, len(texts), 16)
            return torch.cat(
                [generator.render([t + tail for t in texts[i : i + 16]], seeds[i : i + 16]) for i in parts]
            )

    @staticmethod
    def _embedded(looks: Mapping[str, Callable[[Images], np.ndarray]], images: Images) -> dict[str, np.ndarray]:
        return {name: look(images).astype(np.float64) for name, look in looks.items()}

    @cached_property
    def _looks(self) -> dict[str, Callable[[Images], np.ndarray]]:
        judge = DualEncoder(JUDGE)
        return {
            "encoder": self._encoder.images,
            "hidden layer": self._hidden,
            "judge": judge.images,
            "pixels": lambda images: torch.nn.functional.avg_pool2d(images, 4).flatten(1).numpy(),
            "noise 0.1": lambda images: self._encoder.images(_noisy(images, 0.1)),
            "noise 0.3": lambda images: self._encoder.images(_noisy(images, 0.3)),
        }

    @torch.inference_mode()
    def _hidden(self, images: Images) -> np.ndarray:
        """The encoder's last hidden layer, before styles were made smaller by its projection."""
        return self._encoder._model.vision_model(pixel_values=self._encoder._prepare(images)).pooler_output.numpy()


def _noisy(images: Images, amount: float) -> Images:
    """Images with noise of their own: no two calls draw the same."""
    return (images + amount * torch.randn_like(images)).clamp(0, 1)


@final
class Ranking:
    """The dev queries over Directions, by query encoding, and with the thresholds that suit them best."""

    def __init__(self) -> None:
        """Load the queries."""
        preset = Preset.load("miniature")
        words = tuple(Words(name, "", (name,)) for name in _NAMES)
        corpus = Corpus(_NAMES, _NAMES, words, (None,) * len(_NAMES))
        dev = load_queries("miniature", split="dev")
        here = [{name: grade for name, grade in query.grades.items() if name in _NAMES} for query in dev]
        queries = [replace(query, grades=one) for query, one in zip(dev, here, strict=True) if 2 in one.values()]
        self._qrels = Qrels(corpus, queries)
        self._texts = [query.text for query in queries]
        self._encoder = QueryEncoder(load_text_encoder(preset.encoders[0]), PromptSet.load(preset.query_prompts))
        self._known: dict[Encoding, np.ndarray] = {}

    def quality(self, figures: Figures, encoding: Encoding = "suffix", shown: np.ndarray | None = None) -> float:
        """Mean nDCG@5 over the adapters that are shown."""
        directions = figures.directions / np.linalg.norm(figures.directions, axis=1, keepdims=True)
        scores = self._vectors(encoding) @ directions.T
        return float(self._qrels.main(scores if shown is None else np.where(shown, scores, -np.inf)).mean())

    def best_gain(self, figures: Figures) -> float:
        """The most that any pair of thresholds adds to nDCG@5 of dev: chosen and judged on the same queries."""
        upper = [np.inf, *np.quantile(figures.strength, (0.98, 0.95, 0.9, 0.8, 0.7))]
        lower = [-np.inf, *np.quantile(figures.consistency, (0.02, 0.05, 0.1, 0.2, 0.3))]
        shown = ((figures.strength <= most) & (figures.consistency >= least) for most, least in product(upper, lower))
        return max(self.quality(figures, shown=one) for one in shown) - self.quality(figures)

    def paper_gain(self, figures: Figures) -> float:
        """What thresholds at the paper's quantiles add to nDCG@5 of dev."""
        most, least = np.quantile(figures.strength, 0.97), np.quantile(figures.consistency, 0.28)
        shown = (figures.strength <= most) & (figures.consistency >= least)
        return self.quality(figures, shown=shown) - self.quality(figures)

    def encodings(self, figures: Figures) -> str:
        """Why the query alone ranks as its shifts do."""
        suffix, query = self._vectors("suffix"), self._vectors("query")
        constant = query.mean(0)
        sides = [side - side.mean(0) for side in (suffix, query)]
        one, other = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in sides)
        directions = figures.directions / np.linalg.norm(figures.directions, axis=1, keepdims=True)
        share = np.linalg.norm(constant) ** 2 / (query**2).sum(1).mean()
        spread = (directions @ constant).std(), ((query - constant) @ directions.T).std(1).mean()
        return (
            f"Vectors of the query alone, less their mean, have a mean cosine of {(one * other).sum(1).mean():.2f}"
            f" with those of the suffix, less theirs. The mean is {share:.0%} of their square length; its product with"
            f" Directions has a standard deviation over adapters of {spread[0]:.2f}, that of the rest {spread[1]:.2f}."
        )

    def _vectors(self, encoding: Encoding) -> np.ndarray:
        if encoding not in self._known:
            self._known[encoding] = np.stack([self._encoder.vector(text, encoding) for text in self._texts])
        return self._known[encoding]


def _interval(figure: Callable[[np.ndarray], float]) -> str:
    found = resampled(figure, len(_NAMES))
    return f"{found.value:.2f} ({found.lower:.2f} to {found.upper:.2f})"


def row(name: str, figures: Figures, first: Figures) -> Iterator[str]:
    """What is said about each encoder under each condition.

    With o what each cell has of its own and s what all share, S is near sqrt(o^2 + s^2) and C near s^2 / S^2. S and C
    rise together where s grows faster than o from adapter to adapter: "shared per own" is the slope of log s on log o.
    """
    low, high = np.quantile(figures.own, (0.1, 0.9)) / np.median(figures.own)
    yield from (name, _interval(figures.together))
    yield "–" if figures is first else _interval(lambda rows: figures.together(rows) - first.together(rows))
    yield from (f"{np.median(figures.consistency):.2f}", f"{low:.2f} to {high:.2f}")
    told = figures.consistency > 0.001
    own, shared = np.log(figures.own[told]), np.log(figures.shared[told])
    yield f"{np.polyfit(own, shared, 1)[0]:.1f}"
    yield f"{np.median(figures.own) / figures.apart:.2f}"


def tables(folder: Path) -> str:
    """What was measured so far, as Markdown."""
    measured = {path.stem: load(path) for path in (folder / f"{name}.npz" for name in CONDITIONS) if path.exists()}
    ranking = Ranking()
    head = ["S with C", "more than as it ships", "median C", "own, 10 to 90%", "shared per own", "own / other sample"]
    encodings: tuple[Encoding, ...] = ("suffix", "query", "query-minus-empty")
    first = measured.get("as it ships", {})
    rows = {name: views["encoder"] for name, views in measured.items()}
    rows |= {f"{name} in the pictures": figures for name, figures in first.items() if name.startswith("noise")}
    for name, some, others in _OVERCOOKED:
        if others in measured:
            rows[name] = _mixed(measured[some]["encoder"], measured[others]["encoder"])
    lines: list[list[str]] = []
    for name, figures in rows.items():
        quality = [f"{ranking.quality(figures, encoding):.3f}" for encoding in encodings]
        gains = f"{ranking.best_gain(figures):+.3f}", f"{ranking.paper_gain(figures):+.3f}"
        lines.append([*row(name, figures, first["encoder"]), *quality, *gains])
    eyes = [[*row(eye, figures, first["encoder"])] for eye, figures in first.items() if not eye.startswith("noise")]
    parts = [table(["condition", *head, *encodings, "best filter", "paper's filter"], lines)]
    parts.append(table(["the same images, seen by", *head], eyes))
    if "as it ships" in measured:
        parts.append(f"{ranking.encodings(first['encoder'])}\n")
    return "\n".join([*parts, f"{len(_NAMES)} adapters; {machine()}."])


def _mixed(some: Figures, others: Figures) -> Figures:
    """Every third adapter as under another condition."""
    third = np.arange(len(some.strength)) % 3 == 0
    fields = ("directions", "strength", "consistency", "own")
    chosen = {name: getattr(some, name).copy() for name in fields}
    for name, values in chosen.items():
        values[third] = getattr(others, name)[third]
    return Figures(**chosen, apart=some.apart)


def save(path: Path, views: Mapping[str, Figures]) -> None:
    """Keep what a condition gave."""
    arrays = {f"{eye}|{field}": value for eye, figures in views.items() for field, value in vars(figures).items()}
    np.savez(path.with_suffix(".part.npz"), **arrays)
    path.with_suffix(".part.npz").replace(path)


def load(path: Path) -> dict[str, Figures]:
    """Read it again."""
    found: dict[str, dict[str, np.ndarray]] = {}
    for key, value in np.load(path).items():
        eye, field = key.split("|")
        found.setdefault(eye, {})[field] = value
    return {eye: Figures(**fields) for eye, fields in found.items()}


def main() -> None:
    """Measure what is missing, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where figures are kept; made if it does not exist")
    parser.add_argument("--cells", type=int, default=20, help="cells for each adapter, each of another prompt")
    parser.add_argument("--only", nargs="*", choices=CONDITIONS, help="measure these conditions, and print nothing")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    studio = Studio(arguments.cells)
    for name in CONDITIONS if arguments.only is None else arguments.only:
        path = arguments.folder / f"{name}.npz"
        if not path.exists():
            print(f"== {name}", flush=True)
            save(path, studio.figures(CONDITIONS[name]))
    if arguments.only is None:
        print(tables(arguments.folder))


if __name__ == "__main__":
    main()
