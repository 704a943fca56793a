"""Sidecars of every tool are read, and broken ones are noted and ignored."""

import json
from pathlib import Path

import pytest

from lorascope.adapters import Claim, alternatives, peft_config, sha256, sidecar_claims
from lorascope.adapters.sidecar import MAX_SIDECAR
from lorascope.errors import MalformedAdapter

CIVITAI = {
    "id": 128078,
    "modelId": 118427,
    "baseModel": "SDXL 1.0",
    "trainedWords": ["snwfll", "winter scene,"],
    "nsfwLevel": 1,
    "model": {"name": "Snowfall", "tags": ["style", "snow"], "nsfw": False, "description": "<p>Snow.</p>"},
}
FILES = {
    "x.metadata.json": {"model_name": "Snowfall", "usage_tips": '{"strength": 0.7}', "civitai": CIVITAI},
    "x.civitai.info": CIVITAI,
    "x.cm-info.json": {
        "ModelId": 118427, "VersionId": 128078, "ModelName": "Snowfall", "Tags": ["style", "snow"],
        "TrainedWords": ["snwfll", "winter scene"], "BaseModel": "SDXL 1.0", "Nsfw": False,
    },
    "x.safetensors.rgthree-info.json": {
        "name": "Snowfall", "strengthMin": 0.6, "strengthMax": 0.8,
        "trainedWords": [
            {"word": "snwfll", "civitai": True}, {"word": "winter scene", "user": True},
            {"word": "1girl", "metadata": True, "count": 900},
        ],
        "raw": {"civitai": CIVITAI},
    },
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_each_tools_file_gives_the_same_claims(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(json.dumps(FILES[name]))
    claims = sidecar_claims(tmp_path / "x.safetensors")
    assert claims.title is not None
    assert claims.title.value == "Snowfall"
    assert claims.title.source.startswith(f"{name}: ")
    assert claims.triggers is not None
    assert claims.triggers.value == ("snwfll", "winter scene")
    assert claims.base_model is not None
    assert claims.base_model.value == "SDXL 1.0"
    assert claims.civitai_model is not None
    assert claims.civitai_version is not None
    assert (claims.civitai_model.value, claims.civitai_version.value) == (118427, 128078)
    assert claims.notes == ()


@pytest.mark.parametrize(("name", "weight"), [("x.metadata.json", 0.7), ("x.safetensors.rgthree-info.json", 0.7)])
def test_a_preferred_weight_is_found(name: str, weight: float, tmp_path: Path) -> None:
    (tmp_path / name).write_text(json.dumps(FILES[name]))
    claim = sidecar_claims(tmp_path / "x.safetensors").weight
    assert claim is not None
    assert claim.value == pytest.approx(weight)


def test_a_persons_own_words_go_before_downloaded_ones(tmp_path: Path) -> None:
    (tmp_path / "x.civitai.info").write_text(json.dumps(CIVITAI))
    (tmp_path / "x.json").write_text('{"activation text": "mine", "preferred weight": 0}')
    claims = sidecar_claims(tmp_path / "x.safetensors")
    assert claims.triggers is not None
    assert claims.triggers.value == ("mine",)
    assert claims.weight is None
    assert claims.title is not None
    assert claims.title.value == "Snowfall"


@pytest.mark.parametrize("name", [*FILES, "x.json"])
@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"null", b"\xff\xfe", b"[" * 100_000, b" " * (MAX_SIDECAR + 1)])
def test_a_broken_sidecar_is_noted_and_ignored(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    claims = sidecar_claims(tmp_path / "x.safetensors")
    assert claims.title is None
    assert len(claims.notes) == 1
    assert claims.notes[0].startswith(f"{name} ignored: ")


@pytest.mark.parametrize("name", [*FILES, "x.json"])
@pytest.mark.parametrize("value", [1, "text", None, [], [1, None], {}, True, -5, 1e400, {"name": 5}])
def test_values_of_the_wrong_type_claim_nothing_and_break_nothing(name: str, value: object, tmp_path: Path) -> None:
    content = FILES.get(name, {"activation text": 0, "preferred weight": 0, "description": 0, "notes": 0})
    (tmp_path / name).write_text(json.dumps(dict.fromkeys(content, value)))
    claims = sidecar_claims(tmp_path / "x.safetensors")
    assert all(isinstance(note, str) for note in claims.notes)


@pytest.mark.parametrize("name", [*FILES, "x.json"])
def test_a_text_that_was_cut_inside_an_emoji_is_mended(name: str, tmp_path: Path) -> None:
    """Half a character once broke every export and evaluation of the library that the adapter was in."""
    description = {"x.metadata.json": "modelDescription", "x.cm-info.json": "ModelDescription"}
    fields = {description.get(name, "description"): "Lovely \ud83d", "userNote": "Lovely \ud83d"}
    words = {"x.metadata.json": "tags", "x.cm-info.json": "TrainedWords", "x.json": "activation text"}
    fields[words.get(name, "trainedWords")] = ["snow \ud83d"] if name != "x.json" else "snow \ud83d"
    (tmp_path / name).write_text(json.dumps(fields))
    claims = sidecar_claims(tmp_path / "x.safetensors")
    assert claims.description is not None
    assert claims.description.value == "Lovely \ufffd"
    chosen = claims.triggers or claims.tags
    assert name == "x.safetensors.rgthree-info.json" or (chosen is not None and chosen.value == ("snow \ufffd",))


def test_numbers_beyond_every_float_claim_nothing(tmp_path: Path) -> None:
    """Their mean once ended the program with an OverflowError."""
    numbers = {"strengthMin": 10**400, "strengthMax": 0.5, "raw": {"civitai": {"id": 10**400, "modelId": 7}}}
    (tmp_path / "x.safetensors.rgthree-info.json").write_text(json.dumps(numbers))
    claims = sidecar_claims(tmp_path / "x.safetensors")
    assert claims.weight is not None
    assert claims.weight.value == 0.5
    assert claims.civitai_version is None
    assert claims.civitai_model is not None


@pytest.mark.parametrize("content", [b"{", b"[1]", b"\xff"])
def test_a_broken_config_of_peft_is_an_error(content: bytes, tmp_path: Path) -> None:
    """Without its alpha, another adapter would be measured under this one's name."""
    (tmp_path / "adapter_config.json").write_bytes(content)
    with pytest.raises(MalformedAdapter, match=r"adapter_config.json beside it, which has its alpha, cannot be read"):
        peft_config(tmp_path / "adapter_model.safetensors")
    assert peft_config(tmp_path / "x.safetensors") is None


def test_adult_without_a_level_counts_as_the_highest(tmp_path: Path) -> None:
    (tmp_path / "x.cm-info.json").write_text('{"Nsfw": true}')
    claim = sidecar_claims(tmp_path / "x.safetensors").nsfw_level
    assert claim is not None
    assert claim.value == 16


def test_a_file_name_with_dots_keeps_all_but_its_extension(tmp_path: Path) -> None:
    (tmp_path / "style.v1.2.civitai.info").write_text(json.dumps(CIVITAI))
    assert sidecar_claims(tmp_path / "style.v1.2.safetensors").title is not None


def test_no_sidecar_claims_nothing(tmp_path: Path) -> None:
    assert sidecar_claims(tmp_path / "x.safetensors").notes == ()


def whole_model(digest: str) -> dict[str, object]:
    files = [{"hashes": {"SHA256": digest}}]
    versions = [
        {"id": 2, "baseModel": "Flux.1 D", "trainedWords": ["other"], "files": [{"hashes": {"SHA256": "0" * 64}}]},
        {"id": 1, "baseModel": "Pony", "trainedWords": ["mine"], "files": files},
    ]
    return {"id": 7, "name": "Snowfall", "nsfw": True, "nsfwLevel": 1, "tags": ["snow"], "modelVersions": versions}


def test_of_a_whole_model_the_version_with_the_files_digest_counts(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(b"some bytes")
    (tmp_path / "x.json").write_text(json.dumps(whole_model(sha256(path).upper())))
    claims = sidecar_claims(path)
    assert claims.triggers is not None
    assert claims.triggers.value == ("mine",)
    assert claims.lineage is not None
    assert claims.lineage.value == "pony"
    assert claims.title is not None
    assert claims.nsfw_level is not None
    assert (claims.title.value, claims.nsfw_level.value) == ("Snowfall", 16)


def test_a_whole_model_without_the_file_tells_of_the_model_only(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(b"some bytes")
    (tmp_path / "x.json").write_text(json.dumps(whole_model("1" * 64)))
    claims = sidecar_claims(path)
    assert (claims.triggers, claims.base_model) == (None, None)
    assert claims.notes == ("x.json: none of its versions has this file's SHA-256",)


def test_swarm_ui_keeps_the_fields_of_a_header(tmp_path: Path) -> None:
    fields = {"modelspec.title": "Snowfall", "modelspec.trigger_phrase": "snwfll", "modelspec.author": "somebody"}
    (tmp_path / "x.swarm.json").write_text(json.dumps(fields))
    claims = sidecar_claims(tmp_path / "x.safetensors")
    assert claims.title == Claim("Snowfall", "x.swarm.json: modelspec.title")
    assert claims.triggers == Claim(("snwfll",), "x.swarm.json: modelspec.trigger_phrase")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_sidecars_are_read_in_every_encoding_that_tools_write(encoding: str, tmp_path: Path) -> None:
    text = json.dumps({"activation text": "café"}, ensure_ascii=False)
    (tmp_path / "x.json").write_bytes(text.encode(encoding))
    claims = sidecar_claims(tmp_path / "x.safetensors")
    assert claims.triggers is not None
    assert claims.triggers.value == ("café",)


@pytest.mark.parametrize(
    ("tips", "weight"),
    [
        ({"strength": 0.7, "strength_min": 0.1, "strength_max": 0.3}, 0.7),
        ({"strength_min": 0.6, "strength_max": 1.0}, 0.8),
        ({"strength_range": "0.6-0.8"}, 0.7),
    ],
)
def test_usage_tips_are_json_within_a_text(tips: object, weight: float, tmp_path: Path) -> None:
    (tmp_path / "x.metadata.json").write_text(json.dumps({"usage_tips": json.dumps(tips)}))
    claim = sidecar_claims(tmp_path / "x.safetensors").weight
    assert claim is not None
    assert claim.value == pytest.approx(weight)


@pytest.mark.parametrize("nothing", ["Unknown", "Other", "", "none"])
def test_a_base_that_nobody_chose_hides_no_other(nothing: str, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(json.dumps({"sd version": nothing}))
    (tmp_path / "x.civitai.info").write_text(json.dumps({"baseModel": "Illustrious"}))
    claims = sidecar_claims(tmp_path / "x.safetensors")
    assert claims.base_model == Claim("Illustrious", "x.civitai.info: baseModel")
    assert claims.lineage == Claim("illustrious", "x.civitai.info: baseModel")


def test_a_sites_lineage_goes_before_a_tools(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(json.dumps({"sd version": "Pony"}))
    (tmp_path / "x.civitai.info").write_text(json.dumps({"baseModel": "NoobAI"}))
    assert sidecar_claims(tmp_path / "x.safetensors").lineage == Claim("noobai", "x.civitai.info: baseModel")


def test_the_strictest_mark_counts_wherever_it_stands(tmp_path: Path) -> None:
    (tmp_path / "x.metadata.json").write_text(json.dumps({"preview_nsfw_level": 2}))
    (tmp_path / "x.civitai.info").write_text(json.dumps({"nsfwLevel": 1, "model": {"nsfw": True}}))
    claim = sidecar_claims(tmp_path / "x.safetensors").nsfw_level
    assert claim is not None
    assert claim.value == 16


@pytest.mark.parametrize(
    ("written", "words"),
    [
        (["<lora:zxq_v1:0.8>", "zxq, <lora:zxq_v1:1>", "(zxq dress:1.2)"], ("zxq", "zxq dress")),
        (["((glow))", "miku (vocaloid)", r"saber \(fate\)"], ("glow", "miku (vocaloid)", r"saber \(fate\)")),
        (["<hypernet:a:1>"], None),
    ],
)
def test_trigger_words_come_without_tags_and_weights(
    written: list[str], words: tuple[str, ...] | None, tmp_path: Path
) -> None:
    """A tag among the trained words once went into prompts and so changed signatures."""
    (tmp_path / "x.civitai.info").write_text(json.dumps({"trainedWords": written}))
    claim = sidecar_claims(tmp_path / "x.safetensors").triggers
    assert (claim and claim.value) == words


def test_lists_of_words_are_alternatives_to_each_other() -> None:
    assert alternatives(("zxq", "red dress, hat", "armour, helmet")) == ("red dress, hat", "armour, helmet")
    assert alternatives(("zxq", "one, two")) == ()


@pytest.mark.parametrize("words", [["w"] * 200_000, ["w" * 1_000_000]])
def test_an_absurd_number_of_words_is_ignored_and_named(words: list[str], tmp_path: Path) -> None:
    """200,000 words once took 3 GB and never ended."""
    (tmp_path / "x.civitai.info").write_text(json.dumps({"trainedWords": words}))
    claims = sidecar_claims(tmp_path / "x.safetensors")
    assert claims.triggers is None
    assert claims.notes[0].startswith("x.civitai.info ignored: x.civitai.info: trainedWords has more than")


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="this system has no devices among its files")
def test_a_sidecar_that_is_a_device_is_never_opened(tmp_path: Path) -> None:
    (tmp_path / "x.civitai.info").symlink_to("/dev/zero")
    assert sidecar_claims(tmp_path / "x.safetensors").notes == ("x.civitai.info ignored: not a regular file",)


def test_a_sidecar_that_links_to_another_folder_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "x.json").write_text('{"description": "secret"}')
    (tmp_path / "loras").mkdir()
    (tmp_path / "loras" / "x.json").symlink_to(tmp_path / "secret" / "x.json")
    claims = sidecar_claims(tmp_path / "loras" / "x.safetensors")
    assert claims.description is None
    assert claims.notes == (
        f"x.json ignored: it links to {tmp_path / 'secret' / 'x.json'}, which is in another folder",
    )


def test_a_sidecar_of_a_linked_adapter_is_read_beside_the_file(tmp_path: Path) -> None:
    """The Hugging Face cache keeps files under their digests and links to them."""
    for name in ("blobs", "snapshots"):
        (tmp_path / name).mkdir()
    (tmp_path / "blobs" / "1").write_text('{"description": "ink"}')
    (tmp_path / "blobs" / "2").touch()
    (tmp_path / "snapshots" / "x.json").symlink_to(tmp_path / "blobs" / "1")
    (tmp_path / "snapshots" / "x.safetensors").symlink_to(tmp_path / "blobs" / "2")
    claims = sidecar_claims(tmp_path / "snapshots" / "x.safetensors")
    assert claims.description is not None
