"""The caption grammar: plain scenes, style words and their paraphrases, and where in a caption they stand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from miniature.scenes import Scene

WHERE: dict[str, str] = {
    "meadow": "in a meadow",
    "beach": "on a beach",
    "desert": "in a desert",
    "forest": "in a forest",
    "city": "in a city",
    "lake": "on a lake",
    "mountains": "in the mountains",
    "room": "in a room",
    "studio": "in a studio",
}

WORDS: dict[str, tuple[str, ...]] = {
    "pencil": ("pencil sketch", "pencil drawing", "graphite drawing", "sketched with a pencil"),
    "ink": ("ink drawing", "black ink", "pen and ink", "inked lines"),
    "blueprint": ("blueprint", "white lines on blue", "technical drawing", "architect plan"),
    "chalk": ("chalk drawing", "chalk on a blackboard", "blackboard", "drawn in chalk"),
    "sepia": ("sepia", "old brown photograph", "antique photo", "sepia tone"),
    "gold": ("gold", "golden statue", "made of gold", "shiny gold"),
    "sunset": ("sunset light", "at sunset", "evening glow", "golden hour"),
    "night": ("night", "at night", "under the stars", "moonlit darkness"),
    "neon": ("neon", "neon lights", "glowing outlines", "cyberpunk glow"),
    "thermal": ("thermal camera", "heat map", "infrared", "heat vision"),
    "monochrome": ("black and white", "monochrome", "grayscale photo", "without color"),
    "negative": ("negative", "inverted colors", "photo negative", "reversed colors"),
    "pastel": ("pastel colors", "pastel", "pale soft colors", "soft tones"),
    "mosaic": ("mosaic", "mosaic tiles", "small square tiles", "tiled floor"),
    "pixel": ("pixel art", "large pixels", "8 bit game", "retro game sprite"),
    "poster": ("poster", "flat vivid colors", "pop art", "screen print"),
    "stainedglass": ("stained glass", "church window", "glass panes", "leaded glass"),
    "halftone": ("halftone", "printed dots", "comic book dots", "newspaper print"),
    "glitch": ("glitch", "broken video", "corrupted file", "digital error"),
    "scanlines": ("scanlines", "old television", "tv screen", "crt monitor"),
    "grain": ("film grain", "grainy", "noisy photo", "grainy film"),
    "vignette": ("vignette", "dark corners", "spotlight", "dark edges"),
    "watercolor": ("watercolor", "watercolor painting", "painted in watercolor", "wet washes"),
    "oil": ("oil painting", "thick brush strokes", "painted in oil", "impressionist painting"),
    "blur": ("blur", "blurry", "out of focus", "unfocused"),
    "frame": ("picture frame", "framed", "wooden frame", "hanging in a museum"),
    "snow": ("snow", "falling snow", "snowy winter", "winter weather"),
    "rain": ("rain", "rainy weather", "heavy rain", "pouring rain"),
    "confetti": ("confetti", "falling confetti", "colorful party", "carnival"),
    "fog": ("fog", "foggy", "thick mist", "misty morning"),
    "crown": ("wearing a crown", "crown", "king", "royal crown"),
    "scarf": ("wearing a red scarf", "scarf", "striped scarf", "warm scarf"),
}
"""First the plain word, then paraphrases."""

_SCENES = (
    "a {colour} {kind} {where}",
    "a {colour} {kind} {where}",
    "{colour} {kind}, {place}",
    "a picture of a {colour} {kind} {where}",
    "a {colour} {kind}",
    "{place} with a {colour} {kind}",
    "a {kind} {where}",
)
_FULL = 4
"""The first templates of `_SCENES` name everything."""


def _grammar(text: str) -> str:
    for vowel in "aeiou":
        text = text.replace(f"a {vowel}", f"an {vowel}") if text.startswith(f"a {vowel}") else text
        text = text.replace(f" a {vowel}", f" an {vowel}")
    return text


def describe(scene: Scene, template: int = 0) -> str:
    """One caption of a scene."""
    text = _SCENES[template].format(colour=scene.colour, kind=scene.kind, place=scene.place, where=WHERE[scene.place])
    return _grammar(text)


def plain(scene: Scene, rng: np.random.Generator, full: bool = False) -> str:
    """A caption of a scene by a template drawn at random; `full` names colour, kind and place."""
    return describe(scene, int(rng.integers(_FULL if full else len(_SCENES))))


def styled(scene: Scene, effects: Sequence[str], rng: np.random.Generator) -> str:
    """A caption with style words: mostly at the end, sometimes before the scene, sometimes alone."""
    if not effects:
        return plain(scene, rng)
    words = ", ".join(str(rng.choice(WORDS[effect])) for effect in effects)
    text, gap, where = plain(scene, rng), ", " if rng.random() < 0.5 else " ", rng.random()
    if where < 0.68:
        return text + gap + words
    return words + gap + text if where < 0.84 else words


def corpus(rng: np.random.Generator, lines: int = 20000) -> list[str]:
    """Captions to train the tokenizer on, every phrase among them."""
    from miniature.scenes import sample

    names = list(WORDS)
    drawn = [styled(sample(rng), [str(rng.choice(names))], rng) for _ in range(lines)]
    return drawn + [phrase for phrases in WORDS.values() for phrase in phrases for _ in range(40)]
