"""Images as the judge of the shipped world sees them: whether the effect is there, and whether the scene still is.

The judge embeds images beside the encoder that measures, as a second encoder of the preset, so that no image is made
twice. It has another architecture, other pictures and other words (miniature/judge.py).
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import final

import numpy as np
from safetensors import safe_open

from lorascope import Grid, Preset
from lorascope.analysis.cells import Cells
from lorascope.encoders.dual import DualEncoder
from lorascope.models import find_model
from miniature.backgrounds import BACKGROUNDS
from miniature.catalogue import Entry
from miniature.check import asked
from miniature.effects import NAMES
from miniature.judge import sentence
from miniature.objects import KINDS
from miniature.scenes import COLOURS, RELATIONS, Scene, Thing
from miniature.vocabulary import WHERE, WORDS

JUDGE = "package:miniature/judge"


def judged_preset(base: str = "package:miniature/base") -> Preset:
    """The shipped world's preset, with the judge as a second encoder."""
    preset = Preset.load("miniature")
    return replace(preset, base=base, encoders=(*preset.encoders, JUDGE))


@final
class JudgedScenes:
    """What the judge says of the images of a grid's prompts."""

    def __init__(self, grid: Grid) -> None:
        """Load the judge; the scenes are read from the prompts."""
        folder = find_model(JUDGE)
        self._encoder = DualEncoder(str(folder))
        with safe_open(folder / "model.safetensors", framework="pt") as file:
            self._scale = float(file.get_tensor("logit_scale").float().exp())
        self._prompts = grid.prompts.prompts
        self._known: dict[str, np.ndarray] = {}

    @cached_property
    def scenes(self) -> list[Scene | None]:
        """The scene that each prompt asks for; None where it has a second object."""
        return [_scene(prompt.text, prompt.group) for prompt in self._prompts]

    def seen(self, entry: Entry, images: np.ndarray, prompts: np.ndarray) -> np.ndarray:
        """How probable it is, for each image, that the adapter's effect is in it, among all effects and none.

        Args:
            entry: of the adapter.
            images: embeddings of the judge, (n, d).
            prompts: the prompt of each image, of one object.
        """
        found: list[float] = []
        for row, prompt in zip(images, prompts.tolist(), strict=True):
            scene = self._asked(entry, prompt)
            texts = [sentence(scene), *(f"{sentence(scene)} look {WORDS[name][0]}" for name in NAMES)]
            logits = self._scale * self._read(texts) @ (row / np.linalg.norm(row))
            shares = np.exp(logits - logits.max())
            places = [1 + NAMES.index(name) for name in entry.effects]
            found.append(float(shares[places].sum() / shares.sum()))
        return np.array(found)

    def right(self, entry: Entry | None, images: np.ndarray, prompts: np.ndarray) -> np.ndarray:
        """Whether the judge names the object and the place that were asked for, for each image."""
        found: list[bool] = []
        for row, prompt in zip(images, prompts.tolist(), strict=True):
            scene = self._asked(entry, prompt)
            kinds = [sentence(replace(scene, first=replace(scene.first, kind=kind))) for kind in KINDS]
            places = [sentence(replace(scene, place=place)) for place in BACKGROUNDS]
            named = (
                KINDS[int((self._read(kinds) @ row).argmax())] == scene.first.kind,
                list(BACKGROUNDS)[int((self._read(places) @ row).argmax())] == scene.place,
            )
            found.append(all(named))
        return np.array(found)

    def single(self, cells: Cells) -> np.ndarray:
        """Which cells have one object, and an image without the adapter that the judge names right."""
        one = np.array([self.scenes[prompt] is not None for prompt in cells.prompts.tolist()])
        one[one] = self.right(None, cells.bare[one], cells.prompts[one])
        return one

    def _asked(self, entry: Entry | None, prompt: int) -> Scene:
        scene = self.scenes[prompt]
        assert scene is not None
        return scene if entry is None else asked(entry, scene)

    def _read(self, texts: list[str]) -> np.ndarray:
        missing = [text for text in dict.fromkeys(texts) if text not in self._known]
        if missing:
            rows = self._encoder.texts(missing).astype(np.float64)
            self._known |= dict(zip(missing, rows / np.linalg.norm(rows, axis=1, keepdims=True), strict=True))
        return np.stack([self._known[text] for text in texts])


def _scene(text: str, kind: str) -> Scene | None:
    if any(relation in text for relation in RELATIONS):
        return None
    colour = next(name for name in COLOURS if f"{name} {kind}" in text)
    place = next(name for name in BACKGROUNDS if WHERE[name] in text or text.startswith(name) or text.endswith(name))
    return Scene(Thing(kind, colour), place)
