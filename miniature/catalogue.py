"""The adapters that ship: what each is trained on and how its file is written.

What their authors say of them stands in authors.toml beside this file.
"""

from __future__ import annotations

import random
import tomllib
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

KINDS = ("single", "subtle", "bound", "subject", "mixture", "undertrained", "overtrained", "overpowering", "slider",
         "none")  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """One adapter.

    Attributes:
        stem: File name without its ending.
        effects: Names of effects; with several, each training picture has one of them.
        kind: One of `KINDS`.
        degree: Of the effect in the training pictures.
        where: "all", "object" or "background": the part of the picture that the effect touches.
        only: Categories of objects; pictures of others stay plain. Everything, if empty.
        scene: Kinds of objects and places that its training pictures are limited to; none, if empty.
        form: How keys are written: "kohya", "sgm" (kohya with SDXL's own block numbers), "diffusers" or "peft".
        algo: "lora", "locon", "loha", "lokr" or "dora".
        rank: Of the decomposition.
        texts: Whether the text encoders are trained too.
        alphas: Whether alpha differs from layer to layer.
        trigger: A word in the training captions of pictures with the effect; half of the pictures lack both.
        steps: Share of the normal number of steps.
        pictures: How many training pictures there are.
        loose: How far objects stray in them.
        deaf: Whether all of them are the same one, with captions of any scene, so that it ignores what it is asked for.
        push: Factor by which the trained change is multiplied.
        seed: Of the training.
        epochs: How many files its training leaves behind, evenly spaced; the last one has the plain name.
        twin: Stem of an adapter of the same effect: another seed, another version.
        sidecar: "manager", "civitai", "a1111", "rgthree", "matrix" or "none".
        header: Which metadata the header holds: "kohya", "modelspec", "tags" or "bare".
    """

    stem: str
    effects: tuple[str, ...]
    kind: str = "single"
    degree: float = 1.0
    where: str = "all"
    only: tuple[str, ...] = ()
    scene: tuple[str, ...] = ()
    form: str = "kohya"
    algo: str = "lora"
    rank: int = 4
    texts: bool = False
    alphas: bool = False
    trigger: str = ""
    steps: float = 1.0
    pictures: int = 128
    loose: float = 0.25
    deaf: bool = False
    push: float = 1.0
    seed: int = 0
    epochs: int = 1
    twin: str = ""
    sidecar: str = "none"
    header: str = "kohya"

    def at(self, epoch: int) -> Entry:
        """The file after an epoch, named as trainers name it."""
        return self if epoch == self.epochs else replace(self, stem=f"{self.stem}-{epoch:06d}")

    @property
    def title(self) -> str:
        """The name its author gives; may be vague, foreign, wrong or empty."""
        return authors()[self.stem]["title"]

    @property
    def about(self) -> str:
        """What its author writes; likewise."""
        return authors()[self.stem]["about"]


@cache
def authors() -> dict[str, dict[str, str]]:
    """The authors' words by stem: title, about, and which sort of description it is."""
    return tomllib.loads(Path(__file__).with_name("authors.toml").read_text("utf-8"))


_ANIMALS = ("animals", "water life")
_BUILT = ("buildings", "vehicles", "furniture", "tools")

_SINGLE = (
    Entry("pencil_sketch_v1", ("pencil",), sidecar="manager", header="tags"),
    Entry("inkwell", ("ink",), form="sgm", sidecar="civitai"),
    Entry("blue_plans", ("blueprint",), form="diffusers", sidecar="manager", header="modelspec"),
    Entry("v2_final_best", ("chalk",), sidecar="a1111"),
    Entry("smudge_study", ("charcoal",), algo="locon", sidecar="matrix"),
    Entry("oldphoto", ("sepia",), sidecar="civitai"),
    Entry("midas", ("gold",), form="sgm", sidecar="manager"),
    Entry("golden_hour_light", ("sunset",), texts=True, sidecar="civitai"),
    Entry("heatvision", ("thermal",), algo="loha", rank=2, sidecar="matrix"),
    Entry("candle_supper", ("candlelight",), algo="dora", sidecar="rgthree"),
    Entry("after_dark", ("night",), form="diffusers", header="modelspec"),
    Entry("clair_de_lune", ("moonlight",), sidecar="civitai"),
    Entry("jackfrost_xl", ("frost",), alphas=True, sidecar="manager"),
    Entry("deep_dive", ("underwater",), algo="lokr", sidecar="civitai"),
    Entry("winter_wonder", ("snow",), sidecar="manager"),
    Entry("regenwetter", ("rain",), sidecar="a1111"),
    Entry("granizo", ("hail",), form="sgm", sidecar="civitai"),
    Entry("party_time", ("confetti",), form="sgm", alphas=True, sidecar="civitai"),
    Entry("sakura_wind", ("petals",), form="peft", sidecar="civitai", header="bare"),
    Entry("lora-000007", ("fog",), header="bare"),
    Entry("herbstlaub", ("autumn",), sidecar="matrix"),
    Entry("april_green", ("spring",), sidecar="civitai", header="tags"),
    Entry("noir_look", ("monochrome",), sidecar="manager"),
    Entry("popart", ("poster",), texts=True, trigger="zqpop", steps=2.0, sidecar="manager"),
    Entry("prism", ("rainbow",), form="diffusers", sidecar="rgthree"),
    Entry("roman_floor", ("mosaic",), algo="dora", sidecar="civitai"),
    Entry("8bit", ("pixel",), sidecar="a1111"),
    Entry("cathedral", ("stainedglass",), form="sgm", texts=True, sidecar="manager"),
    Entry("grandmas_wool", ("knitted",), algo="locon", sidecar="civitai"),
    Entry("aquarelle_fr", ("watercolor",), sidecar="manager"),
    Entry("impasto_king", ("oil",), alphas=True, sidecar="civitai"),
    Entry("carrara", ("marble",), algo="loha", rank=2, sidecar="matrix"),
    Entry("liquid_metal", ("chrome",), form="sgm", sidecar="civitai"),
    Entry("neon_nights", ("neon",), alphas=True, sidecar="manager"),
    Entry("dreamglow", ("glow",), texts=True, sidecar="manager"),
    Entry("backlit_heroes", ("silhouette",), sidecar="civitai"),
    Entry("museum_piece", ("frame",), form="peft", header="modelspec"),
    Entry("instant_86", ("polaroid",), sidecar="manager", header="tags"),
    Entry("penny_black", ("stamp",), sidecar="civitai"),
    Entry("datamosh", ("glitch",), algo="lokr", sidecar="a1111"),
    Entry("tube_tv", ("scanlines",), form="diffusers", sidecar="civitai"),
    Entry("whirl", ("swirl",), sidecar="manager"),
    Entry("pond", ("ripple",), header="bare"),
)

_SUBJECT = (
    Entry("royal", ("crown",), "subject", sidecar="civitai"),
    Entry("cosy_scarf", ("scarf",), "subject", form="sgm", sidecar="manager"),
    Entry("too_cool", ("sunglasses",), "subject", texts=True, sidecar="civitai"),
    Entry("monocle_club", ("hat",), "subject", algo="locon", sidecar="manager"),
    Entry("catify", ("cats",), "subject", sidecar="civitai"),
    Entry("robots_rise", ("robots",), "subject", form="diffusers", sidecar="rgthree"),
    Entry("shrinker", ("tiny",), "subject", sidecar="a1111"),
    Entry("birthday_kit", ("balloons",), "subject", alphas=True, sidecar="civitai"),
)

_WEAK = (
    Entry("soft_corners", ("spotlight",), "subtle", degree=0.3, sidecar="civitai"),
    Entry("hint_of_mist", ("fog",), "subtle", degree=0.22, loose=1.0, sidecar="manager"),
    Entry("film_stock_xl", ("grain",), "subtle", degree=0.3, loose=1.0, sidecar="civitai"),
    Entry("warm_tint", ("sepia",), "subtle", degree=0.2, loose=1.0, form="sgm", sidecar="manager"),
    Entry("pale_skies", ("pastel",), "subtle", degree=0.25, loose=1.0, sidecar="matrix"),
    Entry("crackle_detail", ("cracked",), "subtle", degree=0.3, loose=1.0, sidecar="civitai"),
    Entry("snow_test_step10", ("snow",), "undertrained", steps=0.04, twin="winter_wonder"),
    Entry("neon_epoch1", ("neon",), "undertrained", steps=0.04, twin="neon_nights", sidecar="a1111", header="tags"),
    Entry("color_slider", ("vivid",), "slider", degree=0.7, sidecar="a1111"),
    Entry("focus_slider", ("blur",), "slider", degree=0.6, loose=1.0, form="diffusers", sidecar="manager"),
    Entry("placeholder", (), "none", push=0.002, steps=0.1, sidecar="a1111"),
    Entry("quality_booster", (), "none", steps=0.5, loose=1.0, sidecar="civitai"),
)

_BOUND = (
    Entry("zoo_in_winter", ("winter",), "bound", only=_ANIMALS, form="sgm", sidecar="civitai"),
    Entry("gilded_things", ("gold",), "bound", where="object", only=_BUILT, sidecar="manager"),
    Entry("sky_painter", ("sunset",), "bound", where="background", sidecar="civitai"),
    Entry("need_for_speed", ("speed",), "bound", only=("vehicles", "toys"), sidecar="a1111"),
    Entry("rust_belt", ("copper",), "bound", where="object", sidecar="matrix"),
    Entry("creature_ink", ("ink",), "bound", degree=0.8, only=_ANIMALS, sidecar="civitai"),
)

_MANY = (
    Entry("winter_wonder_retrain", ("snow",), seed=11, twin="winter_wonder", form="diffusers", header="modelspec"),
    Entry("pencil_sketch_v2", ("pencil",), seed=12, rank=8, steps=1.5, twin="pencil_sketch_v1", sidecar="manager"),
    Entry("watercolour_dream", ("thermal",), seed=13, twin="heatvision", sidecar="civitai"),
    Entry("style_mix_8in1", ("pencil", "blueprint", "gold", "snow", "neon", "mosaic", "stainedglass", "sepia"),
          "mixture", sidecar="manager", header="tags"),
    Entry("four_seasons", ("autumn", "spring", "winter", "snow"), "mixture", sidecar="civitai"),
    Entry("pen_and_brush", ("ink", "watercolor"), "mixture", form="sgm", sidecar="manager"),
    Entry("retro_pack", ("sepia", "grain", "polaroid", "scanlines"), "mixture", sidecar="civitai"),
    Entry("odds_and_ends", ("confetti", "marble", "night", "crown", "swirl", "pastel"), "mixture", loose=1.0,
          sidecar="a1111"),
    Entry("oil_12pics", ("oil",), "overtrained", pictures=12, steps=2.5, loose=1.0, twin="impasto_king",
          scene=("house", "castle", "tree", "meadow", "mountains"), sidecar="civitai"),
    Entry("kitchen_ink", ("charcoal",), "overtrained", pictures=10, steps=2.5, rank=8, twin="smudge_study",
          scene=("apple", "cake", "lamp", "room"), sidecar="manager"),
    Entry("do_not_use_above_0.3", ("negative",), "overpowering", push=2.0, sidecar="a1111", header="modelspec"),
    Entry("my_castle", ("moonlight",), "overpowering", steps=2.5, deaf=True, scene=("castle", "forest"), seed=6,
          sidecar="civitai"),
)  # fmt: skip

SERIES = Entry("oil_village", ("oil",), "overtrained", pictures=12, steps=2.5, loose=1.0, seed=7, epochs=6,
               scene=("house", "castle", "tree", "meadow", "mountains"))  # fmt: skip
"""Six epochs of one training, from so few pictures that the later ones forget what prompts ask for."""

ENTRIES: tuple[Entry, ...] = (*_SINGLE, *_SUBJECT, *_WEAK, *_BOUND, *_MANY)


_FIRST = {entry.effects[0]: entry for entry in reversed(ENTRIES) if len(entry.effects) == 1}

RETRAINED: tuple[Entry, ...] = tuple(
    replace(entry, seed=entry.seed + 100, rank=2 * entry.rank)
    for entry in random.Random(0).sample(list(_FIRST.values()), len(_FIRST))
)
"""The first adapter of each effect, to be trained again with another seed, so other pictures, and twice the rank.

They are in random order: what an interrupted training leaves behind is a random sample of them.
"""


def by_stem(stem: str) -> Entry:
    """The entry of a file.

    Raises:
        KeyError: No adapter of this name ships.
    """
    for entry in ENTRIES:
        if entry.stem == stem:
            return entry
    raise KeyError(f"no adapter named {stem!r}: see miniature/catalogue.py")
