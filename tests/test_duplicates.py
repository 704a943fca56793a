"""Copies are found by their files, by what they change and by what they do; adapters that need a look are named."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from test_cli import answer, call
from test_search import known_signature

from lorascope.adapters import sha256
from lorascope.analysis import Duplicates, Finding, compare, duplicates, findings, flagged, health
from lorascope.analysis.duplicates import base_names, cosine_of_changes
from lorascope.errors import LibraryError, QueryError
from lorascope.library import AdapterFacts, Library, StoredAdapter
from lorascope.library.recomputation import add_block, recomputed
from lorascope.miniature import adapters_path
from lorascope.protocol import Preset
from lorascope.signature import CategoryProfile, Signature

DIM = 16


def drawn(seed: int, cells: int = 64, noise: float = 1.0) -> np.ndarray:
    """Effects of an adapter that does one thing with some noise, (cells, DIM)."""
    draw = np.random.default_rng(seed)
    return 3.0 * draw.normal(size=DIM) / np.sqrt(DIM) + noise * draw.normal(size=(cells, DIM)) / np.sqrt(DIM)


def near(effects: np.ndarray, seed: int, by: float) -> np.ndarray:
    """Almost the same effects."""
    return effects + by * np.random.default_rng(seed).normal(size=effects.shape) / np.sqrt(DIM)


def measured(library: Library, preset: Preset, effects: dict[str, np.ndarray], files: Path | None = None) -> None:
    """Keep the evidence and the signatures of known effects; ``files`` is where the adapters' files are."""
    protocol = preset.protocol(base_digest="b", encoder="fake", encoder_digest="fake-encoder")
    library.protocols.add(protocol, preset)
    grid, size = preset.grid(), preset.grid().block_size
    library.evidence.put_floor(protocol.digest, "e", 0.0)
    for block in range(max(map(len, effects.values())) // size):
        library.evidence.put_baseline(protocol.digest, "e", "", block, np.zeros((size, DIM), np.float16))
    for name, rows in effects.items():
        key = f"sha256:{name}"
        paths = tuple(str(path) for path in sorted(files.glob(f"{name}*"))) if files else ()
        stamps = {path: (Path(path).stat().st_size, Path(path).stat().st_mtime_ns) for path in paths}
        facts = AdapterFacts(size=len(name), read_from=paths[-1] if paths else "")
        library.adapters.add([StoredAdapter(key, name, "fake", paths, facts)], stamps)
        for block, part in enumerate(np.split(rows.astype(np.float16), len(rows) // size)):
            library.evidence.put_block(key, block, "e", "", [(protocol.digest, part)], np.ones(size, np.float32))
        moments = None
        for block in library.evidence.blocks(key, protocol.digest):
            moments = add_block(moments, block, grid)
        assert moments is not None
        library.signatures.put(protocol.digest, "quick", {key: recomputed(moments, grid, None)})


def named(found: Duplicates) -> list[tuple[str, list[tuple[str, str]]]]:
    return [(group.name, [(copy.name, copy.kind) for copy in group.copies]) for group in found.groups]


def test_adapters_that_do_the_same_are_one_group(library: Library, preset: Preset) -> None:
    one, other = drawn(0), drawn(1)
    measured(library, preset, {"one": one, "one-again": near(one, 2, 0.1), "other": other, "half": 0.5 * one})
    found = duplicates(library)
    assert named(found) == [("one", [("one-again", "behaviour")])]
    assert "as far as 64 images can tell" in found.groups[0].copies[0].seen
    assert (found.undecided, found.unbacked) == ((), ())


def test_a_more_consistent_copy_is_kept_and_of_equal_ones_the_smaller(library: Library, preset: Preset) -> None:
    one, other = drawn(0), drawn(1)
    clear, vague = drawn(3, noise=0.9), drawn(3, noise=1.05)  # the same direction, the same draws of noise
    effects = {"one-large": one, "one": near(one, 2, 0.02), "vague": vague, "clear-large": clear, "other": other}
    measured(library, preset, effects)
    assert [group.name for group in duplicates(library).groups] == ["clear-large", "one"]


def test_few_images_leave_a_likely_pair_undecided(library: Library, preset: Preset) -> None:
    one = drawn(0, cells=16)
    measured(library, preset, {"one": one, "again": near(one, 2, 0.1), "other": drawn(1, cells=16)})
    found = duplicates(library)
    assert found.groups == ()
    assert [(pair.cells, pair.comparison) for pair in found.undecided] == [(16, None)]


def test_adapters_without_evidence_are_named_and_not_judged(library: Library, preset: Preset) -> None:
    one = drawn(0)
    measured(library, preset, {"one": one, "again": near(one, 2, 0.1)})
    library.evidence.remove("sha256:again")
    found = duplicates(library)
    assert (found.groups, found.undecided, found.unbacked) == ((), (), ("sha256:again",))


def test_one_adapter_at_two_places_is_a_copy(library: Library, preset: Preset, tmp_path: Path) -> None:
    for name in ("one.a", "one.b"):
        (tmp_path / name).write_bytes(b"the same")
    measured(library, preset, {"one": drawn(0)}, tmp_path)
    (group,) = duplicates(library).groups
    assert (group.path, [copy.path for copy in group.copies]) == (str(tmp_path / "one.b"), [str(tmp_path / "one.a")])
    assert [copy.seen for copy in group.copies] == ["equal tensors and settings"]


def file_of(path: Path) -> StoredAdapter:
    return StoredAdapter(f"sha256:{sha256(path)}", path.stem, "miniature", (str(path),), AdapterFacts())


def test_a_file_saved_again_is_found_from_few_images(library: Library, preset: Preset, tmp_path: Path) -> None:
    tensors = load_file(adapters_path() / "winter_wonder.safetensors")
    save_file(tensors, tmp_path / "one.safetensors")
    save_file({name: values.astype(np.float32) for name, values in tensors.items()}, tmp_path / "wide.safetensors")
    one = drawn(0, cells=16)
    effects = {sha256(tmp_path / "one.safetensors"): one, sha256(tmp_path / "wide.safetensors"): near(one, 2, 0.01)}
    measured(library, preset, effects)
    library.adapters.add([file_of(tmp_path / "one.safetensors"), file_of(tmp_path / "wide.safetensors")], {})
    (group,) = duplicates(library).groups
    assert {group.name, *(copy.name for copy in group.copies)} == {"one", "wide"}
    assert [copy.seen for copy in group.copies] == ["same change of the base model: cosine 1.0000"]


def test_a_stronger_copy_changes_the_base_in_the_same_way(tmp_path: Path) -> None:
    path = adapters_path() / "winter_wonder.safetensors"
    changed = {name: values * 2 if "lora_up" in name else values for name, values in load_file(path).items()}
    save_file(changed, tmp_path / "stronger.safetensors")
    one, stronger = file_of(path), file_of(tmp_path / "stronger.safetensors")
    names = base_names(Preset.load("miniature"))
    assert cosine_of_changes(one, stronger, names) == pytest.approx(1.0)
    assert cosine_of_changes(one, stronger, None) is None
    other = cosine_of_changes(one, file_of(adapters_path() / "winter_wonder_retrain.safetensors"), names)
    assert other is not None
    assert abs(other) < 0.9
    (tmp_path / "stronger.safetensors").unlink()
    assert cosine_of_changes(one, stronger, names) is None


def test_only_adapters_in_the_folder_are_compared(library: Library, preset: Preset, tmp_path: Path) -> None:
    one = drawn(0)
    measured(library, preset, {"one": one, "again": near(one, 2, 0.1)})
    with pytest.raises(LibraryError, match="no adapter of .* is in .*: `lorascope index .*` measures those there"):
        duplicates(library, folder=tmp_path)


def test_pairs_at_the_limit_are_seldom_called_the_same() -> None:
    """The promise is an error rate: at a true cosine of 0.95 the lower limit of its interval is rarely above it."""
    draw = np.random.default_rng(0)
    direction, across = np.eye(DIM)[:2]
    said = 0
    for _ in range(200):
        noise = draw.normal(size=(64, DIM)) / np.sqrt(DIM)
        apart = draw.normal(size=(64, DIM)) / np.sqrt(DIM)
        two = 0.95 * direction + np.sqrt(1 - 0.95**2) * across
        found = compare(np.arange(64), direction + noise, two + noise + 0.5 * apart)
        said += found is not None and found.agreement.lower >= 0.95
    assert said <= 13  # of 200 at 2.5%, a binomial count exceeds this in one case of a thousand


def test_what_cannot_be_compared_is_not_compared() -> None:
    effects = drawn(0)
    assert compare(np.arange(16), effects[:16], effects[:16]) is None
    to_and_fro = np.repeat([[1.0], [-1.0]], 32, axis=0) * np.eye(DIM)[0]
    assert compare(np.arange(64), effects, to_and_fro) is None
    assert compare(np.arange(64), effects, np.zeros_like(effects)) is None


# --- health -------------------------------------------------------------------------------------------------------


def kept(library: Library, preset: Preset, signatures: dict[str, Signature], **facts: Any) -> list[Finding]:
    """The findings of a library of known signatures, whose adapters have some facts; there are no files."""
    protocol = preset.protocol(base_digest="b", encoder="fake", encoder_digest="fake-encoder")
    library.protocols.add(protocol, preset)
    library.adapters.add(
        [StoredAdapter(f"civitai:{n}@1", n, "fake", (), AdapterFacts(**facts)) for n in signatures], {}
    )
    library.signatures.put(protocol.digest, "quick", {f"civitai:{n}@1": s for n, s in signatures.items()})
    return health(library)


def said(found: list[Finding]) -> list[tuple[str, str]]:
    return [(one.name, one.flag) for one in found]


def test_an_adapter_far_weaker_than_all_others_has_no_effect(library: Library, preset: Preset) -> None:
    usual = {f"a{n}": known_signature(np.eye(DIM)[n]) for n in range(5)}
    found = kept(library, preset, usual | {"nothing": known_signature(np.eye(DIM)[0], 0.01)})
    assert said(found) == [("nothing", "no-effect")]


def test_what_thresholds_hide_is_said_with_the_reason(library: Library, preset: Preset) -> None:
    limits = preset.thresholds
    strong = known_signature(np.eye(DIM)[0], limits.strength_max + 1, s_low=limits.strength_max - 1)
    erratic = known_signature(np.eye(DIM)[1], consistency=limits.consistency_min - 0.01)
    found = kept(library, preset, {"strong": strong, "erratic": erratic, "good": known_signature(np.eye(DIM)[2])})
    assert said(found) == [("erratic", "erratic"), ("strong", "overpowering")]
    assert "though more images may show less" in found[1].seen
    assert "though" not in found[0].seen


def test_an_adapter_that_acts_on_some_content_is_said_to(library: Library, preset: Preset) -> None:
    def profile(**strengths: float) -> tuple[CategoryProfile, ...]:
        return tuple(CategoryProfile(name, 6, value, 0.2, 0.9) for name, value in strengths.items())

    bound = dataclasses.replace(known_signature(np.eye(DIM)[0]), categories=profile(animals=6.0, sky=1.0))
    even = dataclasses.replace(known_signature(np.eye(DIM)[1]), categories=profile(animals=6.0, sky=3.0))
    found = kept(library, preset, {"bound": bound, "even": even})
    assert said(found) == [("bound", "content-bound")]
    assert found[0].seen == "acts on animals (Strength 6.0–6.0); hardly on sky (Strength 1.0–1.0)"


def test_what_its_file_says_is_said(library: Library, preset: Preset) -> None:
    facts = {"modules_matched": 2, "modules_total": 5, "prompts_cut": 3, "notes": ("no alpha is stated",)}
    found = kept(library, preset, {"odd": known_signature(np.eye(DIM)[0])}, **facts)
    assert said(found) == [("odd", flag) for flag in ("partial", "prompts-cut", "note")]
    library.adapters.add(
        [StoredAdapter("sha256:lost", "lost", "fake", ("/nowhere/lost.safetensors",), AdapterFacts())], {}
    )
    assert [(one.flag, one.seen) for one in health(library) if one.name == "lost"] == [
        ("gone", "no file: /nowhere/lost.safetensors")
    ]


def test_findings_are_commands_and_filters(library: Library, preset: Preset) -> None:
    one = drawn(0)
    measured(library, preset, {"one": one, "again": near(one, 2, 0.1), "weak": drawn(1) / 100})
    assert flagged(library, "duplicate") == {"sha256:again"}
    with pytest.raises(QueryError, match="there is no flag 'odd': use one of no-effect, overpowering,"):
        flagged(library, "odd")
    path = ("--library", str(library.path))
    assert [group["name"] for group in answer("duplicates", *path)["groups"]] == ["one"]
    assert "same behaviour" in call("duplicates", *path).stdout
    findings = answer("health", *path)["findings"]
    assert ("weak", "no-effect") in [(one["name"], one["flag"]) for one in findings]
    assert "no-effect" in call("health", *path).stdout
    assert [row["name"] for row in answer("list", "--flag", "no-effect", *path)] == ["weak"]


def test_show_lists_what_was_found(library: Library, preset: Preset) -> None:
    one = drawn(0)
    measured(library, preset, {"one": one, "again": near(one, 2, 0.1), "weak": drawn(1) / 100})
    path = ("--library", str(library.path))
    (found,) = answer("show", "weak", *path)["findings"].values()
    assert [one["flag"] for one in found] == ["no-effect"]
    assert "same behaviour" in call("show", "again", *path).stdout


def test_findings_of_some_adapters_are_those_of_all(library: Library, preset: Preset) -> None:
    one = drawn(0)
    measured(library, preset, {"one": one, "again": near(one, 2, 0.1), "weak": drawn(1) / 100})
    every = findings(library)
    for key in ("sha256:one", "sha256:again", "sha256:weak"):
        assert findings(library, keys=[key]) == [finding for finding in every if finding.key == key]
