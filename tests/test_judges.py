"""Judges: formulas, plumbing on small models of the same architectures, and what is kept."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
import tomllib
import weakref
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fakes import COLOURS, searcher, three
from hubs import fetched, served
from safetensors.torch import load_file, save_file
from tiny import tiny_clip, tiny_image_reward, tiny_qwen_vl, tiny_siglip

from lorascope.encoders.dual import DualEncoder
from lorascope.encoders.fake import FakeEncoder
from lorascope.errors import LibraryError, ModelError, PromptSetError, QueryError
from lorascope.evaluation import Corpus, Evaluation, JudgedQuery, Laboratory, evaluate
from lorascope.evaluation.experiments.judges import blind, judge_sections
from lorascope.evaluation.judges import Judge, Verdict, load_judge
from lorascope.evaluation.judges.cosine import CosineJudge, clipscore, plain_cosine, sigmoid
from lorascope.evaluation.panel import Panel
from lorascope.evaluation.pictures import Sitting, Studio, pixels
from lorascope.evaluation.retrievers import Behaviour, Random
from lorascope.evaluation.store import LabStore
from lorascope.evaluation.verdicts import NOBODY, Judged, called_for, right_over_wrong
from lorascope.library import BARE, Library
from lorascope.measure import Worker, index, load_worker
from lorascope.measure.local import LocalWorker
from lorascope.protocol import Preset

QUERIES = ("pencil drawing", "snow", "a crown")


def some_images(count: int = 3, side: int = 40) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, side, side, 3), np.uint8)


def presets(folder: Path, **fields: str | int) -> Path:
    path = folder / "judges.toml"
    path.write_text("[mine]\n" + "\n".join(f"{name} = {json.dumps(value)}" for name, value in fields.items()), "utf-8")
    return path


# --- formulas -----------------------------------------------------------------------------------------------------


def test_scores_follow_their_formulas() -> None:
    assert clipscore(0.3) == Verdict(0.75, {"cosine": 0.3})
    assert clipscore(-0.3).score == 0
    assert plain_cosine(-0.3).score == -0.3
    verdict = sigmoid(math.log(10), -3.0)(0.2)
    assert verdict.score == pytest.approx(-1.0)
    assert verdict.parts["probability"] == pytest.approx(1 / (1 + math.e))


def test_a_clip_judge_is_the_model_s_own_cosine(tmp_path: Path) -> None:
    from transformers import CLIPModel

    folder = tiny_clip(tmp_path / "clip")
    judge = load_judge("mine", presets=presets(tmp_path, rule="cosine", model=str(folder), template="see {query}"))
    verdicts = judge.judge(some_images(), QUERIES)
    encoder, model = DualEncoder(str(folder)), CLIPModel.from_pretrained(folder)
    pictures = torch.from_numpy(encoder.images(torch.from_numpy(some_images()).permute(0, 3, 1, 2) / 255))
    texts = torch.from_numpy(encoder.texts([f"see {query}" for query in QUERIES]))
    expected = torch.nn.functional.normalize(pictures) @ torch.nn.functional.normalize(texts).T
    found = [[verdict.score for verdict in row] for row in verdicts]
    assert np.array(found) == pytest.approx(expected.numpy(), abs=1e-5)
    assert model.config.projection_dim == pictures.shape[1]


def test_a_siglip_judge_gives_the_model_s_own_log_odds(tmp_path: Path) -> None:
    from transformers import AutoTokenizer, SiglipModel

    folder = tiny_siglip(tmp_path / "siglip")
    judge = load_judge("mine", presets=presets(tmp_path, rule="sigmoid", model=str(folder), template="{query}"))
    found = np.array([[verdict.score for verdict in row] for row in judge.judge(some_images(3, 32), QUERIES)])
    model = SiglipModel.from_pretrained(folder).eval()
    length = model.config.text_config.max_position_embeddings
    tokens = AutoTokenizer.from_pretrained(folder)(
        list(QUERIES), padding="max_length", max_length=length, truncation=True, return_tensors="pt"
    )
    seen = torch.from_numpy(some_images(3, 32)).permute(0, 3, 1, 2) / 255
    with torch.no_grad():
        expected = model(pixel_values=(seen - 0.5) / 0.5, input_ids=tokens.input_ids).logits_per_image
    assert found == pytest.approx(expected.numpy(), abs=1e-4)
    assert load_file(folder / "model.safetensors")["logit_bias"].item() != 0


def test_a_judge_that_is_asked_weighs_yes_against_no(tmp_path: Path) -> None:
    """Held against one forward pass of the model by itself, without padding and batches."""
    from transformers import AutoTokenizer, Qwen2_5_VLForConditionalGeneration
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    folder = tiny_qwen_vl(tmp_path / "qwen")
    question = 'Is it "{query}"? Answer Yes or No.'
    judge = load_judge("mine", presets=presets(tmp_path, rule="yes-no", model=str(folder), template=question))
    images = some_images(2, 56)
    verdicts = judge.judge(images, QUERIES)
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(folder).eval()
    tokenizer, processor = AutoTokenizer.from_pretrained(folder), Qwen2VLImageProcessorPil.from_pretrained(folder)
    yes, no = (tokenizer(word).input_ids[0] for word in ("Yes", "No"))
    for image, row in zip(images, verdicts, strict=True):
        seen = processor(images=[image], return_tensors="pt")
        pads = "<|image_pad|>" * (int(seen["image_grid_thw"].prod()) // 4)
        for query, verdict in zip(QUERIES, row, strict=True):
            chat = (
                "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n<|vision_start|>"
                f"{pads}<|vision_end|>{question.format(query=query)}<|im_end|>\n<|im_start|>assistant\n"
            )
            ids = tokenizer(chat, return_tensors="pt").input_ids
            with torch.no_grad():
                logits = model(
                    input_ids=ids, mm_token_type_ids=(ids == model.config.image_token_id).int(), **seen
                ).logits[0, -1]
            shares = logits.softmax(-1)
            assert verdict.score == pytest.approx(float(shares[yes] / (shares[yes] + shares[no])), abs=1e-4)
            assert verdict.parts == pytest.approx({"yes": float(shares[yes]), "no": float(shares[no])}, abs=1e-6)
    assert len({round(v.score, 5) for row in verdicts for v in row}) > 3  # it sees images and reads queries


def image_reward(state: dict[str, torch.Tensor], image: np.ndarray, ids: list[int]) -> float:
    """The score by the formulas of the published network, written from its layout: no padding, no batch, no BLIP."""
    functional = torch.nn.functional

    def linear(name: str, x: torch.Tensor) -> torch.Tensor:
        return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    def norm(name: str, x: torch.Tensor, eps: float) -> torch.Tensor:
        return functional.layer_norm(x, x.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"], eps)

    def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        heads = [
            (q[:, at : at + 64] @ k[:, at : at + 64].T / 8).softmax(-1) @ v[:, at : at + 64]
            for at in range(0, q.shape[1], 64)
        ]
        return torch.cat(heads, dim=1)

    mean, deviation = (
        torch.tensor([0.48145466, 0.4578275, 0.40821073]),
        torch.tensor([0.26862954, 0.26130258, 0.27577711]),
    )
    seen = (torch.from_numpy(image) / 255 - mean) / deviation
    vit = "blip.visual_encoder"
    kernel = state[f"{vit}.patch_embed.proj.weight"]
    patches = [
        (kernel * seen[y : y + 16, x : x + 16].permute(2, 0, 1)).sum((1, 2, 3)) + state[f"{vit}.patch_embed.proj.bias"]
        for y in (0, 16)
        for x in (0, 16)
    ]
    v = torch.cat([state[f"{vit}.cls_token"][0], torch.stack(patches)]) + state[f"{vit}.pos_embed"][0]
    for layer in range(2):
        at = f"{vit}.blocks.{layer}"
        q, k, w = linear(f"{at}.attn.qkv", norm(f"{at}.norm1", v, 1e-6)).chunk(3, dim=1)
        v = v + linear(f"{at}.attn.proj", attend(q, k, w))
        v = v + linear(f"{at}.mlp.fc2", functional.gelu(linear(f"{at}.mlp.fc1", norm(f"{at}.norm2", v, 1e-6))))
    v = norm(f"{vit}.norm", v, 1e-6)
    bert = "blip.text_encoder"
    words, positions = (state[f"{bert}.embeddings.{name}_embeddings.weight"] for name in ("word", "position"))
    t = norm(f"{bert}.embeddings.LayerNorm", words[ids] + positions[: len(ids)], 1e-12)
    for layer in range(2):
        at = f"{bert}.encoder.layer.{layer}"
        for kind in ("attention", "crossattention"):
            source = t if kind == "attention" else v
            q, k, w = (
                linear(f"{at}.{kind}.self.{name}", x) for name, x in (("query", t), ("key", source), ("value", source))
            )
            t = norm(f"{at}.{kind}.output.LayerNorm", t + linear(f"{at}.{kind}.output.dense", attend(q, k, w)), 1e-12)
        inner = functional.gelu(linear(f"{at}.intermediate.dense", t))
        t = norm(f"{at}.output.LayerNorm", t + linear(f"{at}.output.dense", inner), 1e-12)
    score = t[0]
    for place in (0, 2, 4, 6, 7):
        score = linear(f"mlp.layers.{place}", score)
    return (float(score) - 0.16717362830052426) / 1.0333394966054072


def test_image_reward_scores_as_its_published_network_does(tmp_path: Path) -> None:
    weights, tokenizer = tiny_image_reward(tmp_path / "reward")
    fields = {"rule": "reward", "template": "{query}", "processor": str(tokenizer)}
    judge = load_judge("mine", presets=presets(tmp_path, **fields, model=str(weights)))
    images = some_images(3, 32)
    found = [[verdict.score for verdict in row] for row in judge.judge(images, QUERIES)]
    state = torch.load(weights, weights_only=True)
    ids = [[1, *(ord(letter) - 28 for letter in query), 2] for query in QUERIES]
    assert found == [
        [pytest.approx(image_reward(state, image, tokens), abs=1e-4) for tokens in ids] for image in images
    ]
    assert np.std(found) > 0.05
    save_file({name: value.contiguous() for name, value in state.items()}, tmp_path / "converted.safetensors")
    converted = load_judge("mine", presets=presets(tmp_path, **fields, model=str(tmp_path / "converted.safetensors")))
    assert converted.judge(images, QUERIES) == judge.judge(images, QUERIES)
    assert converted.encoder == judge.encoder


def test_image_reward_never_runs_code_of_a_pickle(tmp_path: Path) -> None:
    weights, tokenizer = tiny_image_reward(tmp_path / "reward")
    mark = tmp_path / "ran"
    torch.save({"mlp.layers.0.weight": Trap(str(mark))}, weights)
    source = presets(tmp_path, rule="reward", template="{query}", processor=str(tokenizer), model=str(weights))
    with pytest.raises(ModelError, match="is no checkpoint of ImageReward"):
        load_judge("mine", presets=source)
    assert not mark.exists()


def test_weights_that_are_not_image_reward_s_are_refused(tmp_path: Path) -> None:
    weights, tokenizer = tiny_image_reward(tmp_path / "reward")
    state = torch.load(weights, weights_only=True)
    del state["blip.text_encoder.encoder.layer.1.crossattention.self.key.weight"]
    torch.save(state, weights)
    source = presets(tmp_path, rule="reward", template="{query}", processor=str(tokenizer), model=str(weights))
    with pytest.raises(ModelError, match=r"are not those of ImageReward \(.*crossattention"):
        load_judge("mine", presets=source)


def scores(judge: Judge) -> np.ndarray:
    return np.array([[verdict.score for verdict in row] for row in judge.judge(some_images(2, 56), QUERIES)])


class Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, place: str) -> None:
        self._place = place

    def __reduce__(self) -> object:
        return Path.touch, (Path(self._place),)


def in_shards(folder: Path) -> dict[str, bytes]:
    """The files of a model as the hub has those of large ones: weights in two shards with an index."""
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    halves = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    for shard, members in halves.items():
        save_file({name: tensors[name] for name in members}, folder / shard, {"format": "pt"})
    places = {name: shard for shard, members in halves.items() for name in members}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}), "utf-8")
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def small(name: str, fields: dict[str, str], folder: Path) -> tuple[dict[str, str], dict[str, dict[str, bytes]]]:
    """A small model of a shipped judge's architecture: a preset for it here, and a hub's repositories of it."""
    plain = {"rule": fields["rule"], "template": "{query}?", "model": str(folder)}
    if name == "imagereward":
        weights, tokenizer = tiny_image_reward(folder)
        parts = {fields["model"]: weights, fields["processor"]: tokenizer}
        repositories = {place.rpartition("/")[0]: {path.name: path.read_bytes()} for place, path in parts.items()}
        return plain | {"model": str(weights), "processor": str(tokenizer)}, repositories
    {"siglip2": tiny_siglip, "qwen2.5-vl": tiny_qwen_vl, "hpsv2": tiny_clip}[name](folder)
    found = in_shards(shutil.copytree(folder, folder.with_suffix(".shards")))
    if "processor" not in fields:
        return plain, {fields["model"]: found}
    weights_only = {file: data for file, data in found.items() if file.startswith(("config", "model"))}
    return plain, {fields["model"]: weights_only, fields["processor"]: found}


def test_shipped_judges_are_fetched_from_a_hub_in_its_own_layout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = files("lorascope").joinpath("evaluation/data/judges.toml").read_text("utf-8")
    shipped = {name: tomllib.loads(text)[name] for name in ("siglip2", "qwen2.5-vl", "hpsv2", "imagereward")}
    expected: dict[str, np.ndarray] = {}
    with served() as hub:
        for name, fields in shipped.items():
            plain, repositories = small(name, fields, tmp_path / name)
            expected[name] = scores(load_judge("mine", presets=presets(tmp_path, **plain)))
            hub.repositories |= repositories
        named = [fields[part] for fields in shipped.values() for part in ("model", "processor") if part in fields]
        assert "refused" not in fetched(hub, tmp_path / "cache", *named)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache" / "hub"))
    for name, fields in shipped.items():
        own = presets(tmp_path, **(fields | {"template": "{query}?"}))
        assert scores(load_judge("mine", presets=own)) == pytest.approx(expected[name], abs=1e-6)


@pytest.mark.parametrize("kind", ["clip", "siglip", "qwen", "reward"])
def test_a_score_does_not_depend_on_its_batch(tmp_path: Path, kind: str) -> None:
    if kind == "reward":
        model, tokenizer = tiny_image_reward(tmp_path / kind)
        source = presets(tmp_path, rule=kind, model=str(model), processor=str(tokenizer), template="{query}?")
    else:
        make = {"clip": tiny_clip, "siglip": tiny_siglip, "qwen": tiny_qwen_vl}[kind]
        rule = {"clip": "clipscore", "siglip": "sigmoid", "qwen": "yes-no"}[kind]
        source = presets(tmp_path, rule=rule, model=str(make(tmp_path / kind)), template="{query}?")
    judge = load_judge("mine", presets=source)
    images = some_images(3, 56)
    together = judge.judge(images, QUERIES)
    for place in range(3):
        for column, query in enumerate(QUERIES):
            alone = judge.judge(images[place : place + 1], [query])[0][0]
            assert alone.score == pytest.approx(together[place][column].score, abs=1e-4)


def test_judges_with_other_formulas_or_weights_have_other_identities(tmp_path: Path) -> None:
    one, other = tiny_clip(tmp_path / "a"), tiny_clip(tmp_path / "b", seed=1)
    made = [
        ("cosine", one, "{query}"),
        ("clipscore", one, "{query}"),
        ("cosine", one, "a {query}"),
        ("cosine", other, "{query}"),
    ]
    judges = [
        load_judge("mine", presets=presets(tmp_path, rule=rule, model=str(model), template=template))
        for rule, model, template in made
    ]
    assert len({judge.identity for judge in judges}) == 4
    assert all(isinstance(judge, Judge) for judge in judges)


def test_tokenizer_and_preprocessing_may_come_from_another_folder(tmp_path: Path) -> None:
    """As with published checkpoints that hold weights only."""
    whole = tiny_clip(tmp_path / "whole")
    (tmp_path / "bare").mkdir()
    for name in ("config.json", "model.safetensors"):
        (tmp_path / "bare" / name).write_bytes((whole / name).read_bytes())
    fields = {"rule": "cosine", "model": str(tmp_path / "bare"), "template": "{query}"}
    with pytest.raises(ModelError, match="no readable preprocessor_config.json"):
        load_judge("mine", presets=presets(tmp_path, **fields))
    joined = load_judge("mine", presets=presets(tmp_path, **fields, processor=str(whole)))
    direct = load_judge("mine", presets=presets(tmp_path, **(fields | {"model": str(whole)})))
    assert joined.judge(some_images(), QUERIES) == direct.judge(some_images(), QUERIES)


def test_a_wrong_judge_is_named(tmp_path: Path) -> None:
    with pytest.raises(QueryError, match="no judge 'me': use one of world, siglip2, qwen2.5-vl"):
        load_judge("me")
    with pytest.raises(ModelError, match="google/siglip2-so400m-patch14-384 is not on this disk: run once with --down"):
        load_judge("siglip2")
    with pytest.raises(QueryError, match="the judges .* cannot be read"):
        load_judge("mine", presets=presets(tmp_path, colour="red"))
    with pytest.raises(QueryError, match="luck"):
        load_judge("mine", presets=presets(tmp_path, rule="luck", model="x", template="{query}"))
    for template in ("what is it?", "{0}"):
        with pytest.raises(QueryError, match=r"cannot be read \(\[mine\] has the template .* without {query}\)"):
            load_judge("mine", presets=presets(tmp_path, rule="cosine", model="x", template=template))
    with pytest.raises(QueryError, match=r"\[mine\] has the model 5 instead of a text"):
        load_judge("mine", presets=presets(tmp_path, rule="cosine", model=5, template="{query}"))
    with pytest.raises(ModelError, match="'packae:x/judge'"):
        load_judge("mine", presets=presets(tmp_path, rule="cosine", model="packae:x/judge", template="{query}"))
    clip = tiny_clip(tmp_path / "clip")
    torn = presets(tmp_path, rule="sigmoid", model=str(clip), template="{query}")
    with pytest.raises(ModelError, match="has no logit_bias, which a sigmoid judge needs"):
        load_judge("mine", presets=torn)


# --- images and verdicts ------------------------------------------------------------------------------------------


Lab = tuple[Worker, Library, LabStore, Evaluation]


@pytest.fixture
def lab(worker: Worker, library: Library, tmp_path: Path) -> Lab:
    """Three adapters that tint pictures, and what two retrievers find among them."""
    index([three(tmp_path / "loras")], worker, library, precision="glance")
    look = searcher(library)
    corpus = Corpus.of(look)
    queries = [JudgedQuery(c, c, grades={f"{c}der": 2}) for c in COLOURS]
    found = evaluate(corpus, queries, [Behaviour(look), Random(corpus, 0)])
    return worker, library, LabStore(library), found


def studio(worker: Worker, library: Library, store: LabStore, seeds: int = 1) -> tuple[Studio, Sitting]:
    sitting = Sitting.of(worker.preset, seeds)
    return Studio(store, library.protocols.find().protocol, sitting, lambda: worker), sitting


def test_images_are_made_once_for_an_adapter(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    worker, library, store, found = lab
    made, sitting = studio(worker, library, store)
    adapters = library.adapters.get(called_for(found))
    cost = made.cost(list(adapters))
    assert (cost.adapters, cost.cells, cost.images) == (3, 10, 40)  # three, and the bare model
    assert cost.gigabytes > 0
    assert made.make(adapters) == []
    assert made.cost(list(adapters)).images == 0
    monkeypatch.setattr(LocalWorker, "images", lambda *_, **__: pytest.fail("made again"))
    assert made.make(adapters) == []
    row = found.corpus.names.index("redder")
    bare, red = (pixels(store.pictures(worker.protocols[0].scene, key)) for key in (BARE, found.corpus.keys[row]))
    assert bare.shape == red.shape == (10, 8, 8, 3)
    assert red[..., 0].mean() > bare[..., 0].mean() + 5
    assert red[..., 2] == pytest.approx(bare[..., 2], abs=1)


def test_an_interrupted_run_goes_on_where_it_was(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    worker, library, store, found = lab
    made, _ = studio(worker, library, store)
    adapters = library.adapters.get(called_for(found))
    render, calls = LocalWorker.images, []

    def failing(self: LocalWorker, *cells: Any, **how: Any) -> np.ndarray:
        calls.append(cells)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return render(self, *cells, **how)

    monkeypatch.setattr(LocalWorker, "images", failing)
    with pytest.raises(KeyboardInterrupt):
        made.make(adapters)
    assert made.make(adapters) == []
    assert len(calls) == 5  # bare, one, the one that was cut off, it again, the last
    assert made.cost(list(adapters)).images == 0


def test_an_adapter_that_is_gone_is_named_and_the_others_are_judged(lab: Lab, tmp_path: Path) -> None:
    worker, library, store, found = lab
    (tmp_path / "loras" / "redder.safetensors").unlink()
    made, sitting = studio(worker, library, store)
    (reason,) = made.make(library.adapters.get(called_for(found)))
    assert "redder" in reason
    assert "its file is gone" in reason
    judged = Panel(store, library.protocols.find().protocol, sitting).judged(eye(), found)
    assert {row for _, row in judged.pairs} == set(range(3)) - {found.corpus.names.index("redder")}
    assert np.isfinite(np.stack(list(judged.raw.values()))).all()


def test_judges_have_nothing_to_look_at_where_all_files_are_gone(lab: Lab, tmp_path: Path) -> None:
    """Every retriever once got the score of the bare model's images."""
    worker, library, store, found = lab
    (tmp_path / "loras").rename(tmp_path / "elsewhere")
    with pytest.raises(LibraryError, match="none of 3 adapters has images to judge. .*: its file is gone"):
        studio(worker, library, store)[0].make(library.adapters.get(called_for(found)))


def test_the_base_model_leaves_before_a_judge_comes(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A consumer GPU holds one of them."""
    _, library, _, found = lab
    made: list[weakref.ref[Worker]] = []
    alive: list[bool] = []

    def loading(preset: Preset, **_: Any) -> Worker:
        worker = load_worker(preset)
        made.append(weakref.ref(worker))
        return worker

    def judging(*_: Any, **__: Any) -> Judge:
        alive.append(made[0]() is not None)
        return eye()

    monkeypatch.setattr("lorascope.measure.load_worker", loading, raising=False)
    monkeypatch.setattr("lorascope.evaluation.judges.load_judge", judging)
    monkeypatch.setattr("lorascope.evaluation.judges.find_judge", lambda *_, **__: None)
    with Laboratory(library.path) as laboratory:
        assert len(laboratory.judge(found, ["one", "two"]).judged) == 2
    assert alive == [False, False]


def test_judged_prompts_are_held_out(preset: Preset) -> None:
    assert len(Sitting.of(preset, 2).cells) == 20
    with pytest.raises(PromptSetError, match="is in the prompt set 'query', too: judge on prompts that neither"):
        Sitting.of(dataclasses.replace(preset, judged_prompts="query"), 1)
    with pytest.raises(QueryError, match="9 seeds to judge: the preset 'fake' has 4"):
        Sitting.of(preset, 9)
    for name in ("miniature", "sdxl-paper"):
        assert len(Sitting.of(Preset.load(name), 1).prompts) == 10


def test_images_of_another_base_model_are_refused(lab: Lab) -> None:
    worker, library, store, _ = lab
    other = dataclasses.replace(library.protocols.find().protocol, base_digest="other")
    with pytest.raises(LibraryError, match="the base model is another one now than"):
        Studio(store, other, Sitting.of(worker.preset, 1), lambda: worker).make({})


def eye() -> CosineJudge:
    """Sees colours, as the fake encoder does."""
    return CosineJudge("eye", "eye-1", FakeEncoder(), "{query} {query} {query}", plain_cosine)


@dataclasses.dataclass
class Counting:
    """Counts how many pairs it is asked about, and may run out of memory."""

    most: int = 100
    asked: int = 0
    name: str = "counting"
    identity: str = "counting-1"
    encoder: str = "counting"

    def judge(self, images: np.ndarray, queries: Sequence[str]) -> list[list[Verdict]]:
        """The mean of each image."""
        if len(images) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        self.asked += len(images) * len(queries)
        return [[Verdict(float(image.mean())) for _ in queries] for image in images]


def panel(lab: Lab) -> Panel:
    worker, library, store, found = lab
    made, sitting = studio(worker, library, store)
    made.make(library.adapters.get(called_for(found)))
    return Panel(store, library.protocols.find().protocol, sitting)


def test_no_score_is_paid_for_twice(lab: Lab) -> None:
    sitting = panel(lab)
    first, again = Counting(), Counting()
    judged = sitting.judged(first, lab[3])
    assert first.asked == 4 * 10 * 3  # each adapter and the bare model, ten prompts, three queries
    assert sitting.judged(again, lab[3]).raw["random"] == pytest.approx(judged.raw["random"])
    assert again.asked == 0


def test_a_judge_that_runs_out_of_memory_gets_smaller_batches(lab: Lab) -> None:
    sitting = panel(lab)
    small = sitting.judged(Counting(most=3), lab[3])
    large = sitting.judged(Counting(identity="counting-2"), lab[3])
    assert small.pairs == large.pairs
    with pytest.raises(ModelError, match="does not hold counting and one image: use --device cpu or a smaller judge"):
        sitting.judged(Counting(most=0, identity="counting-3"), lab[3])


def test_judges_see_what_retrievers_found(lab: Lab) -> None:
    judged = panel(lab).judged(eye(), lab[3])
    assert not judged.independent  # it is the encoder that measured them
    share = right_over_wrong(judged, lab[3])
    assert share is not None
    assert share.value == 1.0
    assert blind(lab[3], [judged]) == []
    normalised = np.stack(list(judged.normalised.values()))
    assert (normalised.min(), normalised.max()) == (0, 1)
    assert NOBODY in judged.raw
    headings = [section.heading for section in judge_sections(lab[3], [judged])]
    assert headings == ["What judges see", "Differences, by eye", "Do the judges agree?"]


def test_a_judge_that_throws_coins_is_named(lab: Lab) -> None:
    judged = panel(lab).judged(eye(), lab[3])
    backwards = Judged("backwards", judged.raw, {pair: -score for pair, score in judged.pairs.items()}, True)
    assert blind(lab[3], [backwards, judged]) == ["backwards"]


def test_missing_hits_count_as_the_bare_model(lab: Lab) -> None:
    found = dataclasses.replace(lab[3], rankings={"nothing": [[], [], []], "all": lab[3].rankings["random"]})
    judged = panel(lab).judged(eye(), found)
    assert judged.raw["nothing"] == pytest.approx(judged.raw[NOBODY])
