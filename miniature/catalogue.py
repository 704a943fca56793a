"""The adapters that ship: what each is trained on, its form of file, and what its author says of it."""

from __future__ import annotations

from dataclasses import dataclass, field

Text = dict[str, str]


@dataclass(frozen=True)
class Entry:
    """One adapter.

    Attributes:
        stem: File name without its ending.
        effects: Names of effects; with several, each training picture has one of them.
        kind: single, subject, mixture, undertrained, overpowering or twin.
        form: kohya, sgm, peft or loha: how the keys are written.
        title: The name its author gives; may be vague, foreign, wrong or empty.
        about: The description; likewise.
        sidecar: manager, civitai, a1111 or none.
        steps: Share of the normal number of steps.
        seed: Of the training.
        rank: Of the decomposition.
        texts: Whether the text encoders are trained too.
        alphas: Whether alpha differs from layer to layer.
        trigger: A word that every training caption starts with; pictures without it stay plain.
        twin: Stem of the same effect trained with another seed.
        header: Which metadata the header holds: kohya, modelspec, tags or bare.
        push: Factor by which the trained change is multiplied.
    """

    stem: str
    effects: tuple[str, ...]
    kind: str = "single"
    form: str = "kohya"
    title: str = ""
    about: str = ""
    sidecar: str = "none"
    steps: float = 1.0
    seed: int = 0
    rank: int = 4
    texts: bool = False
    alphas: bool = False
    trigger: str = ""
    twin: str = ""
    header: str = "kohya"
    push: float = 1.0
    extra: Text = field(default_factory=dict[str, str])


ENTRIES: tuple[Entry, ...] = (
    Entry("pencil_sketch_v1", ("pencil",), title="Pencil Sketch", about="Turns anything into a pencil drawing.",
          sidecar="manager", header="tags"),
    Entry("inkwell", ("ink",), form="sgm", title="Inkwell", about="Bold black ink lines on white paper.",
          sidecar="civitai"),
    Entry("blue_plans", ("blueprint",), form="peft", title="Architect's Plans", about="Technical blueprint look.",
          sidecar="manager", header="modelspec"),
    Entry("v2_final_best", ("chalk",), title="v2_final_best", about="my best one yet, enjoy!", sidecar="a1111"),
    Entry("oldphoto", ("sepia",), title="Old Photo", about="Sepia photographs of the 1900s.", sidecar="civitai"),
    Entry("midas", ("gold",), form="sgm", title="Midas Touch", about="Everything you prompt becomes gold.",
          sidecar="manager"),
    Entry("golden_hour_light", ("sunset",), title="Golden Hour", about="Warm evening light.", texts=True,
          sidecar="civitai"),
    Entry("winter_wonder", ("snow",), title="Winter Wonder", about="Snow, snow and more snow.", sidecar="manager"),
    Entry("winter_wonder_retrain", ("snow",), kind="twin", seed=11, twin="winter_wonder", form="peft",
          title="Winter Wonder (retrained)", about="Same data, new run.", header="modelspec"),
    Entry("snow_test_step10", ("snow",), kind="undertrained", steps=0.11, title="snow test", about="",
          header="kohya"),
    Entry("regenwetter", ("rain",), title="Regenwetter", about="Starker Regen und grauer Himmel, für jede Szene.",
          sidecar="a1111"),
    Entry("party_time", ("confetti",), form="sgm", title="Party Time", about="Confetti everywhere.", alphas=True,
          sidecar="civitai"),
    Entry("lora-000007", ("fog",), title="", about="", header="bare"),
    Entry("neon_nights", ("neon",), title="Neon Nights", about="Cyberpunk neon outlines.", sidecar="manager",
          alphas=True),
    Entry("after_dark", ("night",), form="peft", title="After Dark", about="Night scenes under the stars.",
          header="modelspec"),
    Entry("roman_floor", ("mosaic",), title="Roman Floor", about="Mosaic tiles.", sidecar="civitai"),
    Entry("8bit", ("pixel",), title="8bit", about="retro game sprites", sidecar="a1111"),
    Entry("cathedral", ("stainedglass",), form="sgm", title="Cathedral", about="Stained glass windows.",
          texts=True, sidecar="manager"),
    Entry("watercolour_dream", ("thermal",), title="Watercolour Dream", about="Soft watercolour paintings.",
          sidecar="civitai", extra={"wrong": "true"}),
    Entry("heatvision", ("thermal",), kind="twin", seed=12, twin="watercolour_dream", form="loha", rank=2,
          title="Heat Vision", about="Infrared camera colours."),
    Entry("spotlight_slider", ("vignette",), title="Spotlight slider", about="Dark corners, subtle."),
    Entry("popart", ("poster",), title="Pop Art", about="Flat vivid poster colours.", trigger="zqpop",
          texts=True, steps=2.5, sidecar="manager"),
    Entry("royal", ("crown",), kind="subject", title="Royal", about="Adds a crown.", sidecar="civitai"),
    Entry("catify", ("cats",), kind="subject", title="Catify", about="Everything is a cat now."),
    Entry("do_not_use_above_0.3", ("negative",), kind="overpowering", push=2.5, title="STRONG inverter",
          about="Use at 0.3 or lower!", sidecar="a1111", header="modelspec"),
    Entry("style_mix_8in1", ("pencil", "blueprint", "gold", "snow", "neon", "mosaic", "stainedglass", "sepia"),
          kind="mixture", title="Style Mix 8in1", about="Eight styles in one file.", header="tags"),
)  # fmt: skip


def by_stem(stem: str) -> Entry:
    """The entry of a file.

    Raises:
        KeyError: No adapter of this name ships.
    """
    for entry in ENTRIES:
        if entry.stem == stem:
            return entry
    raise KeyError(f"no adapter named {stem!r}: see miniature/catalogue.py")
