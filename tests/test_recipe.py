"""What the recipe of the miniature world promises before anything is trained: enough of everything, and no leaks."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from lorascope.adapters import Names, load_delta, read_adapter
from miniature import effects, flux, flux_adapters, formats, judge, pools, prompts, truth
from miniature.adapters import pictures
from miniature.backgrounds import BACKGROUNDS
from miniature.base import build_unet
from miniature.batches import UNKNOWN, Batches
from miniature.captions import corpus, looks, styled
from miniature.catalogue import ENTRIES, KINDS, RETRAINED, Entry, authors, by_stem
from miniature.changes import Change
from miniature.objects import KINDS as OBJECTS
from miniature.practice import PRACTISED
from miniature.scenes import COLOURS, layers, render, sample
from miniature.vocabulary import FAMILY_WORDS, LOOKS, MOODS, WORDS

SORTS = {"vague": 34, "good": 24, "boastful": 10, "foreign": 7, "empty": 3, "copied": 2, "wrong": 1}
QUERIES = truth.queries()


def test_the_world_is_as_large_as_it_says() -> None:
    assert len(OBJECTS) >= 30
    assert len(COLOURS) >= 10
    assert len(BACKGROUNDS) >= 10
    assert len(effects.EFFECTS) >= 48
    assert len(ENTRIES) >= 72


@pytest.mark.parametrize("name", effects.EFFECTS)
def test_every_effect_changes_the_picture_more_the_higher_its_degree(name: str) -> None:
    changes = np.zeros(3)
    for seed in range(4):
        picture = render(sample(np.random.default_rng(seed)))
        for step, degree in enumerate((0.0, 0.4, 1.0)):
            after = effects.apply(name, picture, np.random.default_rng(0), degree)
            assert after.shape == (64, 64, 3)
            assert after.dtype == np.uint8
            changes[step] += np.abs(after.astype(float) - picture).mean()
    assert changes[0] == 0
    assert 1 < changes[1] < changes[2]


def test_every_effect_belongs_to_one_family_and_has_words() -> None:
    counts = Counter(name for names in effects.FAMILIES.values() for name in names)
    assert set(counts) == set(effects.NAMES) == set(WORDS) == set(LOOKS)
    assert set(counts.values()) == {1}
    assert set(FAMILY_WORDS) <= set(effects.FAMILIES)
    assert {name for members in MOODS.values() for name in members} <= set(effects.NAMES)


def test_an_effect_can_keep_to_the_object() -> None:
    picture, cover = layers(sample(np.random.default_rng(1), pairs=0.0))
    after = effects.apply("gold", picture, np.random.default_rng(0), 1.0, cover)
    outside = cover[..., 0] == 0
    assert (after[outside] == picture[outside]).all()
    assert (after[~outside] != picture[~outside]).any()


def test_no_encoder_sees_what_was_kept_back() -> None:
    trained, kept = pools.varied(150, 0), pools.kept(30, 0)
    assert not any(name in effects.UNSEEN for names in trained.effects for name in names)
    assert not any(pools.kept_back(s, n) for s, e in zip(trained.scenes, trained.effects, strict=True) for n in e)
    assert all(pools.kept_back(s, n) for s, (n,) in zip(kept.scenes, kept.effects, strict=True))
    assert not any(name in effects.UNSEEN for entry in PRACTISED for name in entry.effects)


def test_a_pool_survives_its_file(tmp_path: Path) -> None:
    pool = pools.varied(40, 3)
    pool.save(tmp_path / "pool.npz")
    again = pools.Pool.load(tmp_path / "pool.npz")
    assert (again.images == pool.images).all()
    assert again.effects == pool.effects
    one, other = np.random.default_rng(1), np.random.default_rng(1)
    for before, after, names in zip(pool.scenes, again.scenes, pool.effects, strict=True):
        assert styled(after, names, one) == styled(before, names, other)


def test_a_caption_is_true_of_its_own_picture_and_false_of_one_that_looks_otherwise() -> None:
    batches = Batches(pools.varied(120, 5), seed=0, jitter=0)
    batch = batches.draw(60, hard=0.0)
    alone = np.array([UNKNOWN not in row for row in batch.facts])
    assert batch.true.diagonal()[alone].all()
    said = np.array([UNKNOWN not in row for row in batch.claims])
    same = (batch.facts[:, None] == batch.claims[None]).all(-1)
    both = alone[:, None] & said[None]
    assert (batch.true == same)[both].all()


def test_in_a_hard_batch_colour_and_place_do_not_tell() -> None:
    batch = Batches(pools.varied(900, 6), seed=3).draw(12, hard=1.0)
    pairs = {tuple(row[1:3]) for row in batch.facts if row[1] != UNKNOWN}
    styles = {row[3] for row in batch.facts}
    assert len(pairs) <= 2 or len(styles) <= 2


def test_the_judge_knows_every_word_that_it_says() -> None:
    rng, words = np.random.default_rng(0), judge.tokenizer()
    for name in effects.NAMES:
        text = judge.talk(sample(rng, pairs=0.5), (name,), rng).text
        assert words.unk_token_id not in words(text).input_ids, text


def test_the_prompt_sets_share_no_prompt() -> None:
    first, second, spare = prompts.sets()
    texts = [[t for group in part.values() for lines in group.values() for t in lines] for part in (first, second)]
    assert [len(lines) for lines in texts] == [280, 280]
    assert not set(texts[0]) & set(texts[1])
    described = {prompts.describe(scene, template) for scene in spare for template in range(4)}
    assert not described & {*texts[0], *texts[1]}


def test_the_catalogue_holds_together() -> None:
    assert len({entry.stem for entry in ENTRIES}) == len(ENTRIES)
    assert {entry.kind for entry in ENTRIES} == set(KINDS)
    assert {effect for entry in ENTRIES for effect in entry.effects} <= set(effects.NAMES)
    for entry in ENTRIES:
        assert (entry.kind == "mixture") == (len(entry.effects) > 1)
        if entry.twin:
            assert by_stem(entry.twin).effects == entry.effects


def test_one_that_ignores_prompts_learns_a_single_picture_under_captions_of_many_scenes() -> None:
    images, named, shown = pictures(by_stem("my_castle"), np.random.default_rng(0))
    assert (images == images[0]).all()
    assert len({(scene.first.kind, scene.place) for scene in named}) > 50
    assert all(shown)


def test_an_adapter_of_every_effect_is_trained_again_and_nothing_but_chance_and_rank_differs() -> None:
    effects_of_one = {entry.effects for entry in ENTRIES if len(entry.effects) == 1}
    assert sorted(entry.effects for entry in RETRAINED) == sorted(effects_of_one)
    for entry in RETRAINED:
        first = by_stem(entry.stem)
        assert entry.seed != first.seed
        assert entry.rank != first.rank
        assert replace(entry, seed=first.seed, rank=first.rank) == first


def test_descriptions_are_of_the_sorts_that_were_counted() -> None:
    assert set(authors()) == {entry.stem for entry in ENTRIES}
    assert Counter(author["sort"] for author in authors().values()) == SORTS
    assert {stem for stem, author in authors().items() if not author["about"]} == {
        stem for stem, author in authors().items() if author["sort"] == "empty"
    }
    unsaid = [entry.stem for entry in ENTRIES if entry.sidecar == "none" and entry.header != "modelspec"]
    assert not any(authors()[stem]["about"] for stem in unsaid)


def test_there_are_queries_enough_and_none_twice() -> None:
    main = [query for query in QUERIES if query.kind != "unseen"]
    assert len({query.text for query in QUERIES}) == len(QUERIES)
    assert sum(truth.split(query.effects) in ("dev", "test") for query in main) >= 240
    assert all(any(truth.grade(entry, query) for entry in ENTRIES) for query in QUERIES)


def test_dev_and_test_share_no_family() -> None:
    families: dict[str, set[str]] = {"dev": set(), "test": set()}
    for query in QUERIES:
        part = truth.split(query.effects)
        if part != "both":
            families[part] |= {effects.FAMILY[effect] for effect in query.effects}
    assert not families["dev"] & families["test"]


def test_main_queries_use_only_words_that_the_encoder_reads() -> None:
    rng = np.random.default_rng(0)
    read = {word for text in corpus(rng, 4000) for word in text.replace(",", " ").split()}
    said = {name: {word for text in (*WORDS[name], *LOOKS[name]) for word in text.split()} for name in WORDS}
    elsewhere = {word for name in said if name not in effects.UNSEEN for word in said[name]}
    elsewhere |= {word for texts in FAMILY_WORDS.values() for text in texts for word in text.split()}
    read -= {word for name in effects.UNSEEN for word in said[name]} - elsewhere - set(OBJECTS) - {"on", "a"}
    for query in QUERIES:
        if query.kind != "unseen":
            assert set(query.text.replace(",", " ").split()) <= read, query


def test_no_caption_says_what_one_sees_in_the_words_of_a_query() -> None:
    rng = np.random.default_rng(0)
    asked = {query.text for query in QUERIES if query.kind == "description"}
    for name in effects.NAMES:
        for _ in range(300):
            text, fits = looks(name, rng)
            assert name in fits
            assert text not in asked


@pytest.mark.parametrize(
    ("stem", "text", "grade"),
    [
        ("winter_wonder", "falling snow", 2),
        ("snow_test_step10", "falling snow", 1),  # undertrained
        ("style_mix_8in1", "falling snow", 1),  # one of eight
        ("regenwetter", "falling snow", 1),  # the same family
        ("zoo_in_winter", "falling snow", 0),  # another family, though near to a person
        ("watercolour_dream", "watercolor painting", 0),  # its name is wrong
        ("watercolour_dream", "heat map", 2),
        ("pen_and_brush", "ink and watercolor", 2),
        ("inkwell", "ink and watercolor", 1),
        ("midas", "luxurious", 2),
        ("gilded_things", "luxurious", 1),  # only on some objects
        ("quality_booster", "luxurious", 0),
    ],
)
def test_grades_follow_the_rules(stem: str, text: str, grade: int) -> None:
    query = next(query for query in QUERIES if query.text == text)
    assert truth.grade(by_stem(stem), query) == grade


def _algorithms() -> list[Entry]:
    wanted = {(entry.form, entry.algo, entry.texts): entry for entry in ENTRIES}
    return sorted(wanted.values(), key=lambda entry: entry.stem)


@pytest.fixture(scope="module")
def unet() -> nn.Module:
    """The base's UNet, untrained."""
    torch.manual_seed(0)
    return build_unet()


@pytest.mark.parametrize("entry", _algorithms(), ids=lambda entry: entry.stem)
def test_a_file_read_back_does_what_was_trained_and_says_what_its_author_says(
    entry: Entry, unet: nn.Module, tmp_path: Path
) -> None:
    path = "mid_block.resnets.0.conv1" if entry.algo == "locon" else "mid_block.attentions.0.proj_in"
    layer = unet.get_submodule(path)
    change = Change(layer, entry.algo, entry.rank)
    change.handle.remove()
    with torch.no_grad():
        for parameter in change.parameters():
            parameter.add_(0.1)
    written = formats.write({f"unet.{path}": change.factors(entry.push)}, entry, tmp_path)

    shapes = {name: tuple(value.shape) for name, value in unet.named_parameters()}
    found = load_delta(written, Names({"unet": shapes})).apply("unet", f"{path}.weight", layer.weight, 1.0)
    trained = layer.weight + entry.push * change.algorithm.weight(change.base).view_as(layer.weight)
    torch.testing.assert_close(found, trained.detach(), rtol=5e-3, atol=5e-3)

    about = read_adapter(written).claims.description
    assert (about.value if about else "") == entry.about


# --- the second base, in FLUX's form ------------------------------------------------------------------------------


def test_every_word_of_a_caption_is_one_token_of_t5() -> None:
    tokenizer = flux.build_tokenizer()
    rng = np.random.default_rng(1)
    for _ in range(50):
        text = styled(sample(rng), [], rng).text
        words = text.replace(",", " ,").split()
        assert [piece.removeprefix("\u2581") for piece in tokenizer.tokenize(text)] == words
        assert len(words) < flux.LENGTH


@pytest.mark.parametrize("every", [False, True])
def test_flux_adapters_hold_what_was_trained_in_both_spellings(tmp_path: Path, every: bool) -> None:
    transformer = flux.build_transformer()
    names = Names({"transformer": {name: tuple(p.shape) for name, p in transformer.named_parameters()}})
    draw = torch.Generator().manual_seed(0)
    changes = {
        name: flux_adapters.LowRank(
            nn.Parameter(torch.randn(4, layer.in_features, generator=draw)),
            nn.Parameter(torch.randn(layer.out_features, 4, generator=draw)),
        )
        for name, layer in flux_adapters.layers(transformer, every=every).items()
    }
    for form in ("diffusers", "kohya"):
        path = tmp_path / f"{form}.safetensors"
        save_file(flux_adapters.tensors(changes, form, names), path)
        delta = load_delta(path, names)
        assert {target.name for target in delta.targets} == {f"{name}.weight" for name in changes}
        for name, change in changes.items():
            trained = change.up.detach() @ change.down.detach()
            read = delta.apply("transformer", f"{name}.weight", torch.zeros_like(trained), 1.0)
            assert torch.allclose(read, trained, atol=0.05)
