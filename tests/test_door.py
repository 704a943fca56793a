"""The public door: names, errors, Protocols and presets."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
from pathlib import Path
from typing import Any

import pytest

import lorascope
from lorascope import errors
from lorascope.errors import AdapterError, LorascopeError, ProtocolError
from lorascope.precision import PRECISIONS, Precision
from lorascope.protocol import Execution, Preset, Protocol, presets

FAKE = Path(__file__).parent / "fake.toml"


def test_the_door_is_sorted_complete_and_open() -> None:
    assert list(lorascope.__all__) == sorted(lorascope.__all__)
    assert set(lorascope.__all__) == lorascope._HOMES.keys()
    for name in lorascope.__all__:
        found = getattr(lorascope, name)
        assert getattr(found, "__name__", name) == name
        assert found.__doc__
    with pytest.raises(AttributeError, match="module 'lorascope' has no attribute 'nothing'"):
        lorascope.nothing  # noqa: B018


def test_the_door_is_what_it_was() -> None:
    assert lorascope.__all__ == [
        "Adapter", "Answer", "Example", "Grid", "Hit", "Library", "LorascopeError", "Moments", "Outcome",
        "Preset", "PromptSet", "Protocol", "Query", "Request", "Searcher", "Signature", "Worker", "index",
        "load_worker", "read_adapter",
    ]  # fmt: skip


def test_every_error_is_drawn_under_its_parent() -> None:
    drawn: dict[str, str] = {}
    parents: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        if found := re.match(r" {4}((?:[│ ] {3})*)(?:[├└]── )?([A-Z]\w+)", line):
            depth = line.index(found[2]) // 4 - 1
            del parents[depth:]
            drawn[found[2]] = parents[-1] if parents else "Exception"
            parents.append(found[2])
    classes = {
        name: kind for name, kind in vars(errors).items() if inspect.isclass(kind) and issubclass(kind, Exception)
    }
    assert drawn == {name: kind.__base__.__name__ for name, kind in classes.items() if kind.__base__ is not None}
    assert set(errors.__all__) == set(drawn)
    assert list(errors.__all__) == sorted(errors.__all__)
    assert all(issubclass(kind, LorascopeError) for kind in classes.values())


def test_adapter_errors_have_codes_of_their_own_which_are_drawn() -> None:
    kinds = AdapterError.__subclasses__()
    codes = [kind.code for kind in kinds]
    assert len(set(codes)) == len(codes)
    for kind in kinds:
        assert re.search(rf"{kind.__name__} +{kind.code} ", errors.__doc__ or ""), kind


# --- Protocols ----------------------------------------------------------------------------------------------------


@pytest.fixture
def protocol(preset: Preset) -> Protocol:
    return preset.protocol(base_digest="b", encoder="openai/clip", encoder_digest="e")


def test_a_protocol_s_name_and_the_places_of_its_models_do_not_count(protocol: Protocol) -> None:
    for name in ("name", "base", "encoder"):
        other = dataclasses.replace(protocol, **{name: "another"})
        assert other.digest == protocol.digest
        assert other.differences(protocol) == [f"{name}: another / {getattr(protocol, name)}"]
    assert re.fullmatch(r"fake-[0-9a-f]{10}", str(protocol))


@pytest.mark.parametrize(
    "name", [f.name for f in dataclasses.fields(Protocol) if f.name not in ("name", "base", "encoder")]
)
def test_everything_else_in_a_protocol_counts(protocol: Protocol, name: str) -> None:
    value: Any = getattr(protocol, name)
    changes: dict[type, Any] = {str: f"{value}x", int: 77, float: 0.77, tuple: (1, 2)}
    other = dataclasses.replace(
        protocol,
        **{name: {"triggers": "both", "alternatives": "first", "noise": "batch-4"}.get(name) or changes[type(value)]},
    )
    assert other.digest != protocol.digest
    assert len(other.differences(protocol)) == 1
    assert (other.scene == protocol.scene) == (name == "encoder_digest")


def test_a_protocol_from_before_a_field_was_there_is_still_the_same(protocol: Protocol) -> None:
    fields = json.loads(protocol.to_json())
    older = {name: value for name, value in fields.items() if name not in ("quality", "guidance_rescale")}
    assert Protocol.from_json(json.dumps(older)).digest == protocol.digest


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_guidance_is_rescaled_by_a_share(preset: Preset, value: float) -> None:
    with pytest.raises(ProtocolError, match=f"guidance_rescale is {value}: it must be 0, for none, to 1"):
        dataclasses.replace(preset, guidance_rescale=value)


def test_models_known_by_name_only_count_by_name(protocol: Protocol) -> None:
    unknown = dataclasses.replace(protocol, base_digest="", encoder_digest="")
    assert dataclasses.replace(unknown, base="another").digest != unknown.digest
    assert dataclasses.replace(unknown, encoder="another").digest != unknown.digest


def test_protocols_and_presets_survive_json(protocol: Protocol, preset: Preset) -> None:
    assert Protocol.from_json(protocol.to_json()) == protocol
    assert Protocol.from_json(protocol.to_json()).digest == protocol.digest
    assert Preset.from_json(preset.to_json()) == preset


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Execution)])
def test_an_execution_is_all_of_its_fields(field: str) -> None:
    one = Execution(device="cpu", dtype="float32", batch=4, block_size=16, threads=1, compiled=False, versions="1")
    value: Any = getattr(one, field)
    changes: dict[type, Any] = {str: "other", int: 9, bool: True}
    assert dataclasses.replace(one, **{field: changes[type(value)]}).digest != one.digest


# --- presets ------------------------------------------------------------------------------------------------------


def test_every_preset_loads_and_is_called_what_its_file_is() -> None:
    assert presets() == [
        "carlos-2025", "chroma", "flux-dev", "flux-schnell", "flux2-klein", "illustrious", "miniature",
        "miniature-flux", "noobai", "noobai-vpred", "pony", "qwen-image", "sd15", "sd35-large", "sd35-medium",
        "sdxl-fast", "sdxl-lightning", "sdxl-paper", "z-image-turbo",
    ]  # fmt: skip
    for name in presets():
        preset = Preset.load(name)
        assert preset.name == name
        assert len(preset.seeds) == 16
        assert len(preset.grid()) == len(preset.grid().prompts) * 16
        protocol = preset.protocol(base_digest="b", encoder=preset.encoders[0], encoder_digest="e")
        assert Protocol.from_json(protocol.to_json()) == protocol
    digests = {Preset.load(n).protocol(base_digest="b", encoder="", encoder_digest="e").digest for n in presets()}
    assert len(digests) == len(presets())


def test_the_paper_s_preset_is_the_paper_s() -> None:
    preset = Preset.load("sdxl-paper")
    assert (preset.steps, preset.guidance, preset.width, preset.scale, preset.triggers) == (
        25,
        5.0,
        1024,
        1.0,
        "adapter",
    )
    assert (preset.thresholds.strength_max, preset.thresholds.consistency_min) == (9.8, 0.041)
    assert len(preset.grid()) == 4480


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("steps = 0", "preset 'fake': steps is 0: it must be 1 or more"),
        ("batch = -4", "preset 'fake': batch is -4: it must be 1 or more"),
        ("steps = 'many'", "preset 'fake': steps is 'many': give a whole number"),
        ("steps = 2.5", "preset 'fake': steps is 2.5: give a whole number"),
        ("steps = true", "preset 'fake': steps is True: give a whole number"),
        ("guidance = 'high'", "preset 'fake': guidance is 'high': give a number"),
        ("encoders = 'openai/clip'", "preset 'fake': encoders is 'openai/clip': give a list of texts"),
        ("encoders = []", "preset 'fake': encoders is empty: name at least one"),
        ("seeds = 5", "preset 'fake': seeds is 5: give a list of whole numbers"),
        ("seeds = ['a']", "preset 'fake': seeds is .*: give a list of whole numbers"),
        ("seeds = [1, 18446744073709551616]", "preset 'fake': seeds holds 18446744073709551616: each must fit into 64"),
        ("seeds = [-9223372036854775809]", "seeds holds -9223372036854775809: each must fit into 64 bits"),
        ("threads = -4", "preset 'fake': threads is -4: it must be 0, for all there are, to 4096"),
        ("threads = 1000000000000", "threads is 1000000000000: it must be 0, for all there are, to 4096"),
        ("triggers = 'all'", "preset 'fake': triggers is 'all': use one of adapter, both, none"),
        ("noise = 'pink'", "preset 'fake': noise is 'pink': use one of cell, batch-4"),
        ("colour = 'red'", "preset 'fake': unknown field 'colour': compare it with sdxl-paper.toml"),
        ("scale = 0", "preset 'fake': scale is 0.0: give a finite number other than 0"),
        ("= 3", "cannot be used .*line"),
    ],
)
def test_a_wrong_value_is_named(tmp_path: Path, line: str, message: str) -> None:
    name = line.split("=")[0].strip()
    lines = [kept for kept in FAKE.read_text("utf-8").splitlines() if not name or kept.split(" =")[0] != name]
    (tmp_path / "mine.toml").write_text("\n".join([*lines, line]), "utf-8")
    with pytest.raises(ProtocolError, match=f"(?s){message}"):
        Preset.load(tmp_path / "mine.toml")


def test_a_missing_value_or_file_is_named(tmp_path: Path) -> None:
    lines = [line for line in FAKE.read_text("utf-8").splitlines() if not line.startswith("steps")]
    (tmp_path / "mine.toml").write_text("\n".join(lines), "utf-8")
    with pytest.raises(ProtocolError, match="preset 'fake': field 'steps' is missing: compare it with"):
        Preset.load(tmp_path / "mine.toml")
    with pytest.raises(
        ProtocolError,
        match="no preset 'sdxl': use carlos-2025, chroma, .*, sdxl-paper, .*, or the path of a .toml file",
    ):
        Preset.load("sdxl")


def test_5_and_5_0_are_the_same_guidance(tmp_path: Path, preset: Preset) -> None:
    """They once were two Protocols."""
    (tmp_path / "mine.toml").write_text(FAKE.read_text("utf-8").replace("guidance = 1.0", "guidance = 1"), "utf-8")
    one = Preset.load(tmp_path / "mine.toml").protocol(base_digest="b", encoder="", encoder_digest="e")
    assert one.digest == preset.protocol(base_digest="b", encoder="", encoder_digest="e").digest


def test_precisions_are_named_from_coarse_to_fine() -> None:
    assert list(PRECISIONS) == ["glance", "quick", "standard", "full"]
    agreements = [precision.agreement for precision in PRECISIONS.values()]
    assert agreements == sorted(agreements)
    assert Precision.named("quick") is PRECISIONS["quick"]
    with pytest.raises(ProtocolError, match="no precision 'best': use one of glance, quick, standard, full"):
        Precision.named("best")
