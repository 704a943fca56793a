"""`python -m miniature STAGE`: build the miniature world, stage by stage or all at once."""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from miniature.pools import Pool

PACKAGE = Path(__file__).resolve().parents[1] / "src" / "lorascope"
KEPT, KEPT_SEED = 1500, 4
"""How many pictures are drawn in combinations that were kept back, to measure encoders on."""


def _scenes(work: Path, steps: int | None) -> None:
    from miniature import pools
    from miniature.effects import NAMES
    from miniature.scenes import STEADY

    pools.plain(24000, 1).save(work / "plain.npz")
    pools.plain(24000, 3, STEADY).save(work / "steady.npz")
    pools.varied(40000, 2).save(work / "varied.npz")
    pools.kept(KEPT, KEPT_SEED).save(work / "kept.npz")
    pools.varied(30000, 21, NAMES).save(work / "judge.npz")


def _prompts(work: Path, steps: int | None) -> None:
    from miniature import prompts

    prompts.write(PACKAGE / "prompts")


def _tokenizer(work: Path, steps: int | None) -> None:
    from miniature import tokenizer

    tokenizer.train(work / "tokenizer")


def _autoencoder(work: Path, steps: int | None) -> None:
    from miniature import autoencoder
    from miniature.pools import Pool

    pools = Pool.load(work / "varied.npz"), Pool.load(work / "plain.npz")
    for phase in range(len(autoencoder.PHASES)):
        autoencoder.train(*pools, work / "autoencoder", phase, steps or 0)


def _encoder(work: Path, steps: int | None) -> None:
    from miniature import encoder
    from miniature.pools import Pool

    drawn, kept = _pools(work, "varied")
    pool = drawn + Pool.load(work / "practice.npz")
    encoder.train(pool, kept, _words(work), work / "encoder", steps or 7000)


def _balance(work: Path, steps: int | None) -> None:
    from miniature.balance import balance
    from miniature.pools import Pool

    drawn, kept = _pools(work, "varied")
    balance(work / "encoder", drawn, Pool.load(work / "practice.npz"), kept, work / "balanced", steps or 4000)


def _practice(work: Path, steps: int | None) -> None:
    from miniature import adapters, practice

    adapters.train_all(work / "base", work / "practice", steps or practice.STEPS, practice.BATCH, practice.PRACTISED)
    practice.pictures(work / "base", work / "practice").save(work / "practice.npz")


def _judge(work: Path, steps: int | None) -> None:
    from miniature import judge

    judge.train(*_pools(work, "judge"), work / "judge", steps or 3000)


def _pools(work: Path, name: str) -> tuple[Pool, Pool]:
    """What an encoder learns from, half of it as the autoencoder would show it, and what it is measured on."""
    from miniature import autoencoder
    from miniature.pools import Pool

    pool = Pool.load(work / f"{name}.npz")
    return replace(pool, images=autoencoder.passed(work / "autoencoder", pool.images)), Pool.load(work / "kept.npz")


def _words(work: Path) -> object:
    from transformers import CLIPTokenizer

    return CLIPTokenizer.from_pretrained(work / "tokenizer")


def _base(work: Path, steps: int | None) -> None:
    from diffusers import StableDiffusionXLPipeline

    from miniature import autoencoder, base, loop
    from miniature.pools import Pool

    loop.quiet(0)
    pipe = base.assemble(work / "autoencoder", _words(work))
    for name, phase in zip(("plain", "steady"), base.PHASES, strict=True):
        pool = Pool.load(work / f"{name}.npz")
        latents = autoencoder.encode(work / "autoencoder", pool.images)
        base.train(latents, pool, pipe, work / "base", replace(phase, steps=steps or phase.steps))
        pipe = StableDiffusionXLPipeline.from_pretrained(work / "base", add_watermarker=False)


def _adapters(work: Path, steps: int | None) -> None:
    from miniature import adapters

    adapters.train_all(work / "base", work / "adapters", steps or 240)


def _watchlist(work: Path, steps: int | None) -> None:
    """Reference pictures and adapters for `lorascope screen`, into the package; the base that ships is trained on."""
    from miniature import adapters, watchlist

    folder = PACKAGE / "miniature" / "watchlist"
    watchlist.write(folder)
    out = folder / "adapters"
    adapters.train_all(PACKAGE / "miniature" / "base", out, steps or 240, entries=watchlist.ENTRIES)


def _series(work: Path, steps: int | None) -> None:
    """Six epochs of one training, into the package."""
    from miniature import adapters
    from miniature.catalogue import SERIES

    adapters.train_all(PACKAGE / "miniature" / "base", work / "series", steps or 240, entries=(SERIES,))
    shutil.copytree(work / "series", PACKAGE / "miniature" / "series", dirs_exist_ok=True)


def _retrained(work: Path, steps: int | None) -> None:
    """One more training of each effect on the base that ships, for benchmarks; it does not ship."""
    from miniature import adapters
    from miniature.catalogue import RETRAINED

    adapters.train_all(PACKAGE / "miniature" / "base", work / "retrained", steps or 240, entries=RETRAINED)


def _bases(work: Path, steps: int | None) -> None:
    """Two more bases, into the package; the base that ships is trained on."""
    from miniature import bases

    bases.train_all(PACKAGE / "miniature" / "base", work / "bases", steps or bases.PHASE.steps)
    bases.ship(work / "bases", PACKAGE / "miniature" / "bases")


def _components(work: Path, steps: int | None) -> None:
    """A ControlNet and an IP-Adapter of the base that ships, into the package."""
    from miniature import components, pack

    folder, made = PACKAGE / "miniature", work / "components"
    components.train_control(folder / "base", made / "control", steps or components.STEPS)
    components.train_image_prompt(folder / "base", folder / "encoder", made / "looks", steps or components.STEPS)
    for name in ("control", "looks"):
        shutil.copytree(made / name, folder / "components" / name, dirs_exist_ok=True)
    print(f"{pack.seal(folder) / 1e6:.1f} MB")


def _kept(work: Path, steps: int | None) -> None:
    from miniature.check import World, kept

    found = kept(World.load(work))
    (work / "kept.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def _flux(work: Path, steps: int | None) -> None:
    from miniature import autoencoder, flux
    from miniature.pools import Pool

    first, pool = PACKAGE / "miniature" / "base", Pool.load(work / "steady.npz")
    flux.train(autoencoder.encode(first / "vae", pool.images), pool, first, work / "flux", steps or 2600)


def _flux_adapters(work: Path, steps: int | None) -> None:
    """LoRAs of the second base, and both into the package."""
    from miniature import flux_adapters, pack

    target = PACKAGE / "miniature"
    pack.base(work / "flux", target / "flux" / "base")
    flux_adapters.train_all(target / "flux" / "base", work / "flux-adapters", steps or flux_adapters.STEPS)
    pack.adapters(work / "flux-adapters", target / "flux" / "adapters", flux_adapters.CHOSEN)
    print(f"{pack.seal(target) / 1e6:.1f} MB")


def _pack(work: Path, steps: int | None) -> None:
    from miniature import pack

    print(f"{pack.pack(work, PACKAGE / 'miniature') / 1e6:.1f} MB")


def _index(work: Path, steps: int | None) -> None:
    """Measure what ships. Ship the Calibration, and the signatures as a pack for `lorascope demo --ready`."""
    from lorascope.library import Library
    from lorascope.measure import index, load_worker
    from lorascope.packs import draft
    from lorascope.protocol import Preset

    preset, folder = Preset.load("miniature"), PACKAGE / "miniature"
    with Library(work / "index.db", create=True) as library:
        worker = load_worker(replace(preset, calibration=""), device="cpu")  # it is what is made here
        index([folder / "adapters"], worker, library)
        index([folder / "adapters"], worker, library, recalibrate=True)
        (stored,) = library.protocols.all()
        calibration = library.protocols.calibration(library.protocols.calibrations(stored.protocol.digest)[0])
        assert calibration is not None, "so many adapters make one"
        (folder / "calibration.npz").write_bytes(calibration.to_bytes())
        library.protocols.add(stored.protocol, preset)
        shared = draft(library, contents={"previews", "baseline", "names"}, title="The shipped world")
        size = sum(one.size for one in shared.write(folder / "pack").files)
    print(f"{size / 1e6:.1f} MB")


def _check(work: Path, steps: int | None) -> None:
    from transformers import CLIPModel, CLIPTokenizer

    from miniature import pools
    from miniature.check import World, adapter_sheet, base_sheet, effect_sheet, rates
    from miniature.encoder import accuracy
    from miniature.flux_adapters import CHOSEN

    home = PACKAGE / "miniature"
    world, second = World.load(home), World.load(home / "flux", home / "judge", "miniature-flux")
    print(f"the judge names in pictures of the bare base: {rates(world, steps or 240)}")
    print(f"in those of the second one: {rates(second, steps or 240)}")
    model, words = CLIPModel.from_pretrained(home / "encoder"), CLIPTokenizer.from_pretrained(home / "encoder")
    print(f"the encoder names in drawn ones: {accuracy(model, words, pools.kept(KEPT, KEPT_SEED), KEPT)}")
    effect_sheet(work / "effects.png")
    base_sheet(world, work / "base.png")
    adapter_sheet(world, work / "adapters.webp")
    base_sheet(second, work / "backbones.png")
    adapter_sheet(second, work / "backbones.webp", entries=CHOSEN)


STAGES: dict[str, Callable[[Path, int | None], None]] = {
    "prompts": _prompts,
    "scenes": _scenes,
    "tokenizer": _tokenizer,
    "autoencoder": _autoencoder,
    "base": _base,
    "practice": _practice,
    "encoder": _encoder,
    "balance": _balance,
    "judge": _judge,
    "adapters": _adapters,
    "kept": _kept,
    "pack": _pack,
    "watchlist": _watchlist,
    "series": _series,
    "bases": _bases,
    "components": _components,
    "index": _index,
    "flux": _flux,
    "flux-adapters": _flux_adapters,
    "check": _check,
    "retrained": _retrained,
}


def main() -> None:
    """Run one stage, or all of them in order."""
    parser = argparse.ArgumentParser(prog="python -m miniature", description=__doc__)
    parser.add_argument("stage", choices=[*STAGES, "all"])
    parser.add_argument("--work", type=Path, default=Path("build/miniature"), help="where unfinished things lie")
    parser.add_argument("--steps", type=int, help="training steps instead of the stage's own number")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    for name in STAGES if args.stage == "all" else (args.stage,):
        STAGES[name](args.work, args.steps)


if __name__ == "__main__":
    main()
