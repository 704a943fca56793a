"""Encoders: the numbers of transformers, faster, and an identity that follows the weights."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from tiny import full_size_clip, tiny_clip, tiny_tokenizer

from lorascope.encoders.base import Encoder, TextEncoder
from lorascope.encoders.digest import model_digest
from lorascope.encoders.dual import DualEncoder
from lorascope.encoders.fake import FakeEncoder
from lorascope.encoders.load import load_picture_encoder, load_text_encoder
from lorascope.encoders.pictures import embed_picture
from lorascope.encoders.suffix import ENCODINGS, QueryEncoder
from lorascope.encoders.text import ClipText
from lorascope.errors import ModelError, QueryError
from lorascope.grid import Prompt, PromptSet
from lorascope.models import _convert, cache_dir

QUERIES = [
    "pencil drawing",
    "x",
    "hello, world... -- it's 5.0!",
    "snow \N{SNOWFLAKE} and \N{SMILING FACE WITH SUNGLASSES}",
    "cafe\N{COMBINING ACUTE ACCENT} noe\N{COMBINING DIAERESIS}l",
    "UPPER lower MiXeD",
    "水彩 акварель",
    "long " * 40,
    "<|endoftext|> after the end",
    "before <|startoftext|> again",
]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_clip(tmp_path_factory.mktemp("encoders") / "clip")


@pytest.fixture(scope="module")
def reference(clip: Path) -> Any:
    """The model as transformers runs it."""
    from transformers import CLIPModel

    return CLIPModel.from_pretrained(clip, local_files_only=True).eval()


@pytest.fixture(scope="module")
def prompts() -> PromptSet:
    """Every fourteenth prompt of P', of every category."""
    whole = PromptSet.load("query")
    return PromptSet("some", whole.prompts[::14])


def by_transformers(model: Any, folder: Path, texts: list[str]) -> np.ndarray:
    from transformers import CLIPTokenizer

    tokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
    inputs = tokenizer(texts, padding=True, truncation=True, max_length=77, return_tensors="pt")
    with torch.inference_mode():
        found = model.get_text_features(**inputs)
    return (found if isinstance(found, torch.Tensor) else found.pooler_output).numpy()


def assert_close(ours: np.ndarray, theirs: np.ndarray, part: float = 1e-5) -> None:
    """Within a part of the embeddings' length."""
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() < part * np.linalg.norm(theirs, axis=1).mean()


# --- texts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["index", "query"])
def test_every_prompt_is_embedded_as_transformers_does_it(clip: Path, reference: Any, name: str) -> None:
    texts = list(PromptSet.load(name).texts)
    assert len(texts) == 280
    ours = ClipText(clip).texts(texts)
    assert ours.dtype == np.float32
    assert_close(ours, by_transformers(reference, clip, texts))


def test_odd_texts_are_embedded_as_transformers_does_it(clip: Path, reference: Any) -> None:
    texts = ["", " ", *QUERIES]
    assert_close(ClipText(clip).texts(texts), by_transformers(reference, clip, texts))


def test_an_embedding_does_not_depend_on_its_batch(clip: Path) -> None:
    tower = ClipText(clip)
    together = tower.texts(QUERIES)
    assert_close(np.concatenate([tower.texts([text]) for text in QUERIES]), together)


@pytest.mark.parametrize("query", QUERIES)
def test_the_prefix_cache_gives_what_encoding_anew_gives(
    clip: Path, reference: Any, prompts: PromptSet, query: str
) -> None:
    """Also where prompt and query together are too long, and where a query holds the end-of-text token itself."""
    shifts = QueryEncoder(ClipText(clip), prompts).shifts(query)
    query = " ".join(query.split())
    whole = by_transformers(reference, clip, [f"{text} {query}" for text in prompts.texts])
    base = by_transformers(reference, clip, list(prompts.texts))
    assert np.abs(shifts - (whole - base)).max() < 2e-5 * np.linalg.norm(whole, axis=1).mean()


def test_prompts_that_fill_the_limit_leave_a_query_no_room(clip: Path) -> None:
    prompts = PromptSet("long", (Prompt("a " * 75, "all", "all"), Prompt("a " * 90, "all", "all")))
    assert np.abs(QueryEncoder(ClipText(clip), prompts).shifts("snow")).max() < 1e-5


def test_it_is_known_whether_a_query_is_read_to_its_end(clip: Path, prompts: PromptSet) -> None:
    encoder = QueryEncoder(ClipText(clip), prompts)
    assert encoder.reads("ink")
    assert not encoder.reads("a " * 80)


def test_the_other_encodings_are_what_they_are_called(clip: Path, prompts: PromptSet) -> None:
    tower = ClipText(clip)
    encoder = QueryEncoder(tower, prompts)
    base = tower.texts(prompts.texts)
    expected = {
        "suffix": tower.texts([f"{p} ink" for p in prompts.texts]) - base,
        "prefix": tower.texts([f"ink {p}" for p in prompts.texts]) - base,
        "both": tower.texts([f"ink {p} ink" for p in prompts.texts]) - base,
        "query": tower.texts(["ink"]),
        "query-minus-empty": tower.texts(["ink"]) - tower.texts([""]),
    }
    assert tuple(expected) == ENCODINGS
    for encoding in ENCODINGS:
        np.testing.assert_allclose(encoder.shifts("ink", encoding), expected[encoding], atol=2e-5)
        np.testing.assert_allclose(encoder.vector("ink", encoding), expected[encoding].mean(0), atol=2e-5)


def test_blanks_around_and_within_a_query_do_not_matter(clip: Path, prompts: PromptSet) -> None:
    encoder = QueryEncoder(ClipText(clip), prompts)
    np.testing.assert_array_equal(encoder.shifts("  pencil \n drawing "), encoder.shifts("pencil drawing"))


def test_an_empty_query_is_refused(clip: Path, prompts: PromptSet) -> None:
    encoder = QueryEncoder(ClipText(clip), prompts)
    with pytest.raises(QueryError, match="the query is empty: describe an effect, a style or a subject"):
        encoder.shifts(" \n ")


# --- the prefix cache on disk -------------------------------------------------------------------------------------


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many prompts were computed, each time that a cache was."""
    found: list[int] = []
    compute = ClipText.prefixes

    def count(self: ClipText, texts: Any, *note: Any) -> Any:
        found.append(len(texts))
        return compute(self, texts, *note)

    monkeypatch.setattr(ClipText, "prefixes", count)
    return found


def cache_file() -> Path:
    (path,) = (cache_dir() / "prefixes").iterdir()
    return path


def test_the_cache_is_computed_once(clip: Path, prompts: PromptSet, counted: list[int]) -> None:
    first = QueryEncoder(ClipText(clip), prompts).shifts("snow")
    again = QueryEncoder(ClipText(clip), prompts).shifts("snow")
    assert counted == [len(prompts)]
    np.testing.assert_array_equal(again, first)
    other = PromptSet("other", prompts.prompts[:5])
    QueryEncoder(ClipText(clip), other).shifts("snow")
    assert counted == [len(prompts), 5]


@pytest.mark.parametrize("harm", ["truncated", "overwritten", "empty", "lacking", "short", "flipped"])
def test_a_damaged_cache_is_built_again(clip: Path, prompts: PromptSet, counted: list[int], harm: str) -> None:
    first = QueryEncoder(ClipText(clip), prompts).shifts("snow")
    path = cache_file()
    data = path.read_bytes()
    tensors = load_file(path)
    if harm == "lacking":
        save_file({name: tensor for name, tensor in tensors.items() if name != "values"}, path)
    elif harm == "short":
        save_file({name: t[:, :3].clone() if t.ndim == 5 else t[:3].clone() for name, t in tensors.items()}, path)
    else:
        flipped = bytearray(data)
        flipped[len(data) // 2] ^= 1
        damaged = {
            "truncated": data[: len(data) // 2], "overwritten": b"\0" * len(data), "empty": b"", "flipped": flipped,
        }  # fmt: skip
        path.write_bytes(damaged[harm])
    again = QueryEncoder(ClipText(clip), prompts).shifts("snow")
    np.testing.assert_array_equal(again, first)
    assert counted == [len(prompts)] * 2
    QueryEncoder(ClipText(clip), prompts).shifts("snow")
    assert counted == [len(prompts)] * 2


def test_no_room_for_a_cache_is_no_reason_to_fail(
    clip: Path, prompts: PromptSet, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first = QueryEncoder(ClipText(clip), prompts).shifts("snow")
    (tmp_path / "file").write_text("in the way", "utf-8")
    monkeypatch.setenv("LORASCOPE_CACHE", str(tmp_path / "file"))
    np.testing.assert_allclose(QueryEncoder(ClipText(clip), prompts).shifts("snow"), first, atol=2e-6)


def test_a_full_disk_leaves_nothing_behind(clip: Path, prompts: PromptSet, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(tensors: Any, path: Path, metadata: Any) -> None:
        path.write_bytes(b"the beginning")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("lorascope.encoders.suffix.save_file", full)
    assert np.isfinite(QueryEncoder(ClipText(clip), prompts).shifts("snow")).all()
    assert list((cache_dir() / "prefixes").iterdir()) == []


def test_what_a_killed_process_left_is_removed(clip: Path, prompts: PromptSet) -> None:
    left = cache_dir() / "prefixes" / "0123.partial"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"the beginning")
    QueryEncoder(ClipText(clip), prompts).shifts("snow")
    assert left.exists()  # it may be another process's, at work
    os.utime(left, (1e9, 1e9))
    QueryEncoder(ClipText(clip), PromptSet("other", prompts.prompts[:5])).shifts("snow")
    assert not left.exists()


def test_two_processes_may_build_the_cache_at_once(clip: Path, prompts: PromptSet, counted: list[int]) -> None:
    first = QueryEncoder(ClipText(clip), prompts)
    second = QueryEncoder(ClipText(clip), prompts)
    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(lambda encoder: encoder.shifts("snow"), (first, second))
    np.testing.assert_array_equal(one, other)
    built = len(counted)
    np.testing.assert_array_equal(QueryEncoder(ClipText(clip), prompts).shifts("snow"), one)
    assert len(counted) == built
    assert len(list((cache_dir() / "prefixes").iterdir())) == 1


def test_building_the_cache_is_told(clip: Path, prompts: PromptSet) -> None:
    told: list[tuple[str, int, int]] = []
    for _ in range(2):
        QueryEncoder(ClipText(clip), prompts, lambda *note: told.append(note)).shifts("snow")
    assert told == [("reading the prompts of queries", 0, len(prompts))]


def test_another_tokenizer_has_a_cache_and_vectors_of_its_own(clip: Path, prompts: PromptSet, tmp_path: Path) -> None:
    """The same weights behind another tokenizer once took the cache, and the vectors, of the former."""
    other = copied(clip, tmp_path / "other")
    path = other / "tokenizer.json"
    path.write_text(path.read_text("utf-8").replace('"q": ', '"%": ').replace('"a": ', '"q": '), "utf-8")
    former, latter = QueryEncoder(ClipText(clip), prompts), QueryEncoder(ClipText(other), prompts)
    assert former.identity != latter.identity
    assert model_digest(clip) == model_digest(other)


# --- the size of CLIP ViT-B/32 ------------------------------------------------------------------------------------


def test_at_full_size_the_cache_gives_the_vectors_and_hits_of_encoding_anew(tmp_path: Path) -> None:
    """Twelve layers of random weights: 1e-5 of the embeddings' length, the same ten hits."""
    from transformers import CLIPModel

    folder = full_size_clip(tmp_path / "clip")
    whole = PromptSet.load("query")
    prompts = PromptSet("some", whole.prompts[::70])
    model = CLIPModel.from_pretrained(folder, local_files_only=True).eval()
    encoder = QueryEncoder(ClipText(folder), prompts)
    base = by_transformers(model, folder, list(prompts.texts))
    draw = np.random.default_rng(0)
    for query in ("pencil drawing, 5.0!", "caf\N{COMBINING ACUTE ACCENT}e \N{SNOWFLAKE} <|endoftext|> x"):
        theirs = by_transformers(model, folder, [f"{text} {query}" for text in prompts.texts])
        ours = encoder.shifts(query)
        assert np.abs(ours - (theirs - base)).max() < 1e-5 * np.linalg.norm(theirs, axis=1).mean()
        directions = draw.normal(size=(740, ours.shape[1])) + (theirs - base).mean(0)
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        ranked = [
            np.argsort(-(directions @ vector))[:10].tolist() for vector in (ours.mean(0), (theirs - base).mean(0))
        ]
        assert ranked[0] == ranked[1]


# --- images -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("height", "width"), [(32, 32), (64, 64), (96, 64), (50, 131), (20, 20)])
def test_images_are_prepared_as_pillow_does_it(clip: Path, height: int, width: int) -> None:
    """To within one step of 255, without leaving the tensor; without antialiasing it was 107 steps."""
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    processor = CLIPImageProcessorPil.from_pretrained(clip)
    draw = np.random.default_rng(0)
    smooth = np.array(Image.fromarray(draw.integers(0, 256, (9, 9, 3), np.uint8)).resize((width, height)))
    for pixels in (smooth, draw.integers(0, 256, (height, width, 3), np.uint8)):
        theirs = processor(Image.fromarray(pixels), return_tensors="pt").pixel_values
        ours = DualEncoder(str(clip))._prepare(torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255)
        assert ours.shape == theirs.shape == (1, 3, 32, 32)
        steps = (ours - theirs).abs() * torch.tensor(processor.image_std)[:, None, None] * 255
        assert steps.max() < 1.01


def test_image_embeddings_are_those_of_transformers(clip: Path, reference: Any) -> None:
    encoder = DualEncoder(str(clip))
    images = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0)).mul(255).round() / 255
    with torch.inference_mode():
        theirs = reference.get_image_features(pixel_values=encoder._prepare(images))
    theirs = (theirs if isinstance(theirs, torch.Tensor) else theirs.pooler_output).numpy()
    ours = encoder.images(images)
    assert_close(ours, theirs)
    assert np.linalg.norm(ours, axis=1).std() > 0  # not normalised


@pytest.mark.parametrize("activation", ["quick_gelu", "gelu"])
@pytest.mark.parametrize(("height", "width"), [(32, 32), (96, 64), (50, 131), (20, 20)])
def test_a_picture_has_the_embedding_that_transformers_gives(
    tmp_path: Path, height: int, width: int, activation: str
) -> None:
    from transformers import CLIPModel
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    clip = tiny_clip(tmp_path / "clip")
    config = json.loads((clip / "config.json").read_text("utf-8"))
    config["vision_config"]["hidden_act"] = activation
    (clip / "config.json").write_text(json.dumps(config), "utf-8")
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8))
    model = CLIPModel.from_pretrained(clip, local_files_only=True).eval()
    pixels = CLIPImageProcessorPil.from_pretrained(clip)(picture, return_tensors="pt").pixel_values
    with torch.inference_mode():
        features = model.get_image_features(pixel_values=pixels)
    theirs = (features if isinstance(features, torch.Tensor) else features.pooler_output).numpy()
    assert_close(load_picture_encoder(str(clip)).picture(picture)[None], theirs)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_files_give_the_embeddings_of_their_weights(clip: Path, tmp_path: Path, dtype: Any) -> None:
    half = copied(clip, tmp_path / "half", lambda _, tensor: tensor.to(dtype))
    rounded = copied(clip, tmp_path / "rounded", lambda _, tensor: tensor.to(dtype).float())
    np.testing.assert_array_equal(ClipText(half).texts(["snow", "ink"]), ClipText(rounded).texts(["snow", "ink"]))


def test_a_picture_file_is_embedded(clip: Path, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    expected = DualEncoder(str(clip)).images(torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255)[0]
    np.testing.assert_allclose(embed_picture(tmp_path / "picture.png", str(clip)), expected, atol=1e-5)
    Image.fromarray(pixels).convert("RGBA").save(tmp_path / "alpha.webp", lossless=True)
    np.testing.assert_allclose(embed_picture(tmp_path / "alpha.webp", str(clip)), expected, atol=1e-5)


def test_a_picture_is_embedded_as_people_see_it(clip: Path, tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    pixels = draw.integers(0, 256, (20, 30, 3), np.uint8)
    pixels[5:15, 5:15] = 255
    grey = draw.integers(0, 256, (20, 30), np.uint8)
    turned = Image.Exif()
    turned[0x0112] = 6  # the camera was held sideways
    clear = np.full((20, 30, 1), 255, np.uint8)
    clear[5:15, 5:15] = 0
    hidden = np.concatenate([np.where(clear > 0, pixels, 0), clear], axis=2)
    twins = {
        "sideways": (Image.fromarray(np.rot90(pixels).copy()), {"exif": turned}, Image.fromarray(pixels)),
        "transparent": (Image.fromarray(hidden), {}, Image.fromarray(pixels)),
        "16-bit": (Image.fromarray(grey.astype(np.uint16) * 257), {}, Image.fromarray(grey)),
    }
    for name, (odd, how, plain) in twins.items():
        odd.save(tmp_path / f"{name}.png", **how)
        plain.save(tmp_path / "plain.png")
        one, other = (embed_picture(tmp_path / f"{stem}.png", str(clip)) for stem in (name, "plain"))
        np.testing.assert_allclose(one, other, atol=1e-6, err_msg=name)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(QueryError, match=r"pipe.png is no file: give a PNG"):
        embed_picture(tmp_path / "pipe.png", FakeEncoder())


def test_what_is_no_picture_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "text.png").write_text("no picture", "utf-8")
    with pytest.raises(QueryError, match=r" is no file: give a PNG"):
        embed_picture(tmp_path, FakeEncoder())
    for name in ("text.png", "missing.png"):
        with pytest.raises(QueryError, match=r"cannot be read as a picture( \([^<]*\))?: give a PNG, JPEG, WebP, GIF"):
            embed_picture(tmp_path / name, FakeEncoder())
    Image.new("RGB", (30, 20)).save(tmp_path / "large.png")
    monkeypatch.setattr("lorascope.encoders.pictures._MOST_PIXELS", 500)
    with pytest.raises(QueryError, match=r"large.png has 30 x 20 pixels: use at most 64 megapixels"):
        embed_picture(tmp_path / "large.png", FakeEncoder())


# --- identity -----------------------------------------------------------------------------------------------------


def copied(clip: Path, folder: Path, change: Any = None) -> Path:
    """A copy of the model, its weights changed."""
    folder.mkdir()
    for path in clip.iterdir():
        if path.suffix == ".safetensors":
            tensors = load_file(path)
            save_file({k: change(k, t) for k, t in tensors.items()} if change else tensors, folder / path.name)
        elif path.is_file():
            (folder / path.name).write_bytes(path.read_bytes())
    return folder


def test_a_half_precision_copy_is_the_same_model(clip: Path, tmp_path: Path) -> None:
    half = copied(clip, tmp_path / "half", lambda _, t: t.half() if t.is_floating_point() else t)
    assert model_digest(half) == model_digest(clip)
    assert len(model_digest(clip)) == 16


def test_any_weight_makes_another_model(clip: Path, tmp_path: Path) -> None:
    found = {model_digest(clip)}
    names = [n for path in clip.glob("*.safetensors") for n, t in load_file(path).items() if t.is_floating_point()]
    for place, changed in enumerate(names[:: len(names) // 12]):
        change = lambda name, t, changed=changed: t + 0.1 if name == changed else t  # noqa: E731
        found.add(model_digest(copied(clip, tmp_path / str(place), change)))
    assert len(found) == 1 + len(names[:: len(names) // 12])


def test_another_preprocessing_makes_another_model(clip: Path, tmp_path: Path) -> None:
    other = copied(clip, tmp_path / "other")
    path = other / "preprocessor_config.json"
    settings = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps(settings | {"image_mean": [0.5, 0.5, 0.5]}), "utf-8")
    assert model_digest(other) != model_digest(clip)


def test_a_digest_is_remembered_until_a_file_changes(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = copied(clip, tmp_path / "model")
    before = model_digest(model)
    with monkeypatch.context() as patch:
        patch.setattr("lorascope.encoders.digest._digest", lambda *_: pytest.fail("read again"))
        assert model_digest(model) == before
    path = next(model.glob("*.safetensors"))
    save_file(
        {name: tensor * 2 if tensor.is_floating_point() else tensor for name, tensor in load_file(path).items()}, path
    )
    assert model_digest(model) != before


# --- what cannot be loaded ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("config.json", "has no readable config.json|is no model that transformers can load"),
        ("tokenizer.json", "has no tokenizer.json: save the tokenizer again with a recent transformers"),
        ("preprocessor_config.json", "has no readable preprocessor_config.json"),
        ("model.safetensors", "holds no .safetensors weights: give a complete model folder"),
    ],
)
def test_a_folder_that_lacks_a_file_is_told_with_the_remedy(
    clip: Path, tmp_path: Path, missing: str, message: str
) -> None:
    folder = copied(clip, tmp_path / "model")
    (folder / missing).unlink()
    with pytest.raises(ModelError, match=message):
        load_text_encoder(str(folder))
    with pytest.raises(ModelError, match=message):
        DualEncoder(str(folder)).texts(["ink"])


def test_a_clip_that_was_a_pickle_embeds_as_before(clip: Path, tmp_path: Path) -> None:
    kept = _convert(str(clip), tmp_path / "kept")
    assert model_digest(kept) == model_digest(clip)
    assert np.array_equal(ClipText(kept).texts(QUERIES), ClipText(clip).texts(QUERIES))


def test_a_tokenizer_without_its_words_is_refused(clip: Path, tmp_path: Path) -> None:
    """Where there is none, transformers makes up an empty one, to which all texts are alike."""
    from transformers import AutoProcessor

    folder = copied(clip, tmp_path / "model")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    with pytest.raises(ModelError, match="has no vocabulary for its tokenizer: name a folder with the whole model"):
        _convert(str(folder), tmp_path / "kept")
    assert not (tmp_path / "kept").exists()
    processor: Any = AutoProcessor.from_pretrained(folder)
    processor.tokenizer.save_pretrained(folder)
    with pytest.raises(ModelError, match="has a tokenizer.json without a vocabulary: give a complete model folder"):
        DualEncoder(str(folder)).texts(["ink"])


def test_a_model_that_lacks_a_weight_is_told(clip: Path, tmp_path: Path) -> None:
    folder = copied(clip, tmp_path / "model")
    path = next(folder.glob("*.safetensors"))
    name = "text_model.encoder.layers.1.mlp.fc1.weight"
    save_file({key: tensor for key, tensor in load_file(path).items() if key != name}, path)
    with pytest.raises(
        ModelError, match="lacks the weight text_model.encoder.layers.1.mlp.fc1.weight: give a complete"
    ):
        ClipText(folder)


def test_truncated_weights_are_told(clip: Path, tmp_path: Path) -> None:
    folder = copied(clip, tmp_path / "model")
    path = next(folder.glob("*.safetensors"))
    path.write_bytes(path.read_bytes()[:1000])
    for load in (load_text_encoder, DualEncoder):
        with pytest.raises(ModelError, match=r"model.safetensors cannot be read \(.*\): fetch the model again"):
            load(str(folder))


def test_a_model_that_is_not_here_is_told() -> None:
    with pytest.raises(ModelError, match="the model openai/nothing is not on this disk: run once with --download, or"):
        load_text_encoder("openai/nothing")
    with pytest.raises(ModelError, match="no folder './nothing': give an existing model folder or a Hugging Face id"):
        load_text_encoder("./nothing")
    with pytest.raises(ModelError, match="package:nothing is not part of this installation: install lorascope again"):
        load_text_encoder("package:nothing")


def test_a_model_without_images_is_refused(clip: Path, tmp_path: Path) -> None:
    from transformers import BertConfig, BertModel

    config = BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8, vocab_size=9)
    BertModel(config).save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_bytes((clip / "preprocessor_config.json").read_bytes())
    with pytest.raises(ModelError, match="is a BertModel, which does not embed images and texts: use CLIP or SigLIP"):
        DualEncoder(str(tmp_path))


# --- encoders that are not CLIP -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def siglip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SigLIP of 16 dimensions. Its tokenizer is CLIP's: what is tested is the way texts and images take."""
    from transformers import SiglipConfig, SiglipModel, SiglipTextConfig, SiglipVisionConfig

    folder = tmp_path_factory.mktemp("siglip")
    torch.manual_seed(0)
    sizes: dict[str, Any] = {
        "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
    }  # fmt: skip
    text = SiglipTextConfig(**sizes, vocab_size=90, max_position_embeddings=32, projection_size=16)
    vision = SiglipVisionConfig(**sizes, image_size=32, patch_size=8)
    model = SiglipModel(SiglipConfig(text_config=text.to_dict(), vision_config=vision.to_dict()))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder)
    tiny_tokenizer(folder, length=32)
    settings = {
        "size": {"height": 32, "width": 32}, "do_resize": True, "resample": 3, "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3, "image_processor_type": "SiglipImageProcessor",
    }  # fmt: skip
    (folder / "preprocessor_config.json").write_text(json.dumps(settings), "utf-8")
    return folder


def test_siglip_embeds_texts_and_images_as_transformers_does_it(siglip: Path) -> None:
    from transformers import AutoTokenizer, SiglipModel

    model = SiglipModel.from_pretrained(siglip, local_files_only=True).eval()
    encoder = load_text_encoder(str(siglip))
    assert isinstance(encoder, DualEncoder)
    texts = ["ink", "a longer text", "long " * 30]
    tokenizer = AutoTokenizer.from_pretrained(siglip, local_files_only=True)
    inputs = tokenizer(texts, padding="max_length", truncation=True, max_length=32, return_tensors="pt")
    images = torch.rand(2, 3, 48, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        words = model.get_text_features(**inputs)
        pictures = model.get_image_features(pixel_values=encoder._prepare(images))
    for ours, theirs in ((encoder.texts(texts), words), (encoder.images(images), pictures)):
        assert_close(ours, (theirs if isinstance(theirs, torch.Tensor) else theirs.pooler_output).numpy())


def test_siglip_s_queries_are_encoded_without_the_prefix_cache(siglip: Path, prompts: PromptSet) -> None:
    encoder = load_text_encoder(str(siglip))
    some = PromptSet("some", prompts.prompts[:4])
    expected = encoder.texts([f"{p} ink" for p in some.texts]) - encoder.texts(some.texts)
    np.testing.assert_allclose(QueryEncoder(encoder, some).shifts("ink"), expected, atol=1e-5)
    assert not (cache_dir() / "prefixes").exists()


# --- the contract of every encoder --------------------------------------------------------------------------------


@pytest.fixture(params=["fake", "clip", "siglip"])
def encoder(request: pytest.FixtureRequest) -> Iterator[Encoder]:
    if request.param == "fake":
        yield FakeEncoder()
    else:
        yield DualEncoder(str(request.getfixturevalue(request.param)))


class TestEveryEncoder:
    """What the rest of lorascope relies on."""

    def test_it_is_an_encoder(self, encoder: Encoder) -> None:
        """It has all that the protocols name."""
        assert isinstance(encoder, Encoder)
        assert isinstance(encoder, TextEncoder)
        assert encoder.name
        assert encoder.digest

    def test_images_and_texts_meet_in_one_space(self, encoder: Encoder) -> None:
        """One float32 row each, of one width, finite, the same each time."""
        images = torch.rand(3, 3, 40, 40, generator=torch.Generator().manual_seed(0))
        texts = ["ink", "", "a very long text " * 30]
        pictures, words = encoder.images(images), encoder.texts(texts)
        assert pictures.shape == words.shape
        assert pictures.dtype == words.dtype == np.float32
        assert np.isfinite(pictures).all()
        assert np.isfinite(words).all()
        np.testing.assert_array_equal(encoder.images(images), pictures)
        np.testing.assert_array_equal(encoder.texts(texts), words)

    def test_rows_do_not_depend_on_their_neighbours(self, encoder: Encoder) -> None:
        """Any batch and any order give the same rows."""
        images = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
        np.testing.assert_allclose(encoder.images(images.flip(0))[::-1], encoder.images(images), atol=1e-5)
        np.testing.assert_allclose(encoder.images(images[1:2])[0], encoder.images(images)[1], atol=1e-5)
        texts = ["ink", "a longer text", "x"]
        np.testing.assert_allclose(encoder.texts(texts[::-1])[::-1], encoder.texts(texts), atol=1e-5)
        np.testing.assert_allclose(encoder.texts(texts[1:2])[0], encoder.texts(texts)[1], atol=1e-5)

    def test_a_digest_is_of_the_model_and_not_of_the_object(self, encoder: Encoder) -> None:
        """Loading it again changes nothing."""
        again = FakeEncoder() if isinstance(encoder, FakeEncoder) else DualEncoder(encoder.name)
        assert again.digest == encoder.digest
