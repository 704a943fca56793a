"""Health: what Curves, trigger words and the sizes of changes say of how an adapter is used."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fakes import tint
from test_duplicates import DIM, drawn
from test_weight import call
from typer.testing import CliRunner

from lorascope.analysis import Curve, CurvePoint
from lorascope.analysis.triggers import TriggerMeasurement
from lorascope.analysis.usage import (
    TRIGGER_CELLS,
    is_tried,
    known_shares,
    prompts_lost,
    share_without,
    sizes_out_of_line,
    triggers,
)
from lorascope.cli.app import app
from lorascope.errors import LibraryError
from lorascope.library import AdapterFacts, Library, StoredAdapter
from lorascope.measure import Worker, index
from lorascope.protocol import Preset, Protocol
from lorascope.signature import Estimate

NOTHING = Estimate(0.0, 0.0, 0.0)


def known(library: Library, preset: Preset) -> Protocol:
    protocol = preset.protocol(base_digest="b", encoder="fake", encoder_digest="fake-encoder")
    library.protocols.add(protocol, preset)
    return protocol


def test_a_change_ten_times_as_large_as_usual_is_a_scale_error(library: Library, preset: Preset) -> None:
    known(library, preset)
    sizes = {f"a{n:02}": 0.1 * 1.1 ** (n % 5) for n in range(20)} | {"large": 4.0, "small": 0.002, "stronger": 0.5}
    adapters = {
        name: StoredAdapter(name, name, "fake", (), AdapterFacts(kinds={"lora": 9}, spectra={"b x 1": {"norm": size}}))
        for name, size in sizes.items()
    }
    found = sizes_out_of_line(library.protocols.find(""), adapters)
    assert found.keys() == {"large", "small"}
    assert "more than the middle of 23 lora adapters" in found["large"][1]
    assert sizes_out_of_line(library.protocols.find(""), dict(list(adapters.items())[-6:])) == {}


def test_an_adapter_that_loses_the_prompt_is_named_with_a_better_weight(library: Library, preset: Preset) -> None:
    protocol = known(library, preset)

    def curve(kept: float) -> str:
        """Full effect at every scale; the prompt is kept as given at 1.0."""
        shares = {0.4: 0.95, 1.0: kept}
        points = (
            CurvePoint(scale, 64, NOTHING, NOTHING, None, Estimate(1.0, 0.9, 1.1), Estimate(k, k - 0.05, k + 0.05))
            for scale, k in shares.items()
        )
        return Curve(tuple(points)).to_json()

    names = ("lost", "kept")
    library.adapters.add([StoredAdapter(name, name, "fake", (), AdapterFacts()) for name in names], {})
    for name, kept in (("lost", 0.2), ("kept", 0.9)):
        library.curves.put(protocol.digest, name, curve(kept))
    found = prompts_lost(library, library.protocols.find(""), names)
    assert found.keys() == {"lost"}
    assert found["lost"][1] == "20% (15%–25%) of what prompts ask for is kept"


def test_trigger_words_are_needed_or_not(library: Library, preset: Preset) -> None:
    protocol = known(library, preset)
    without = replace(protocol, triggers="none")
    library.protocols.add(without, replace(preset, triggers="none"))
    library.protocols.add(protocol, preset)
    size = preset.grid().block_size
    effects = drawn(0)
    shares = {"needed": 0.1, "idle": 1.0}
    for one in (protocol, without):
        library.evidence.put_floor(one.digest, "e", 0.0)
        for block in range(len(effects) // size):
            library.evidence.put_baseline(one.digest, "e", "", block, np.zeros((size, DIM), np.float16))
    adapters: dict[str, StoredAdapter] = {}
    for name, share in shares.items():
        facts = AdapterFacts(measured_words={protocol.scene: ", zxq"})
        adapters[name] = StoredAdapter(name, name, "fake", (), facts)
        for one, rows in ((protocol, effects), (without, share * effects)):
            for block, part in enumerate(np.split(rows.astype(np.float16), len(rows) // size)):
                library.evidence.put_block(name, block, "e", "", [(one.digest, part)], np.ones(size, np.float32))
    found = triggers(library, library.protocols.find(protocol.digest), adapters)
    assert {name: said[0] for name, said in found.items()} == {"needed": "trigger-needed", "idle": "trigger-idle"}
    assert "without 'zxq' it does 10%" in found["needed"][1]
    with library.evidence.database.transaction() as db:
        db.execute("UPDATE blocks SET embeddings = x'010203'")
    with pytest.raises(LibraryError, match="damaged"):
        triggers(library, library.protocols.find(protocol.digest), adapters)


def with_words(worker: Worker, library: Library, path: Path, words: str) -> StoredAdapter:
    """An adapter that was measured with trigger words."""
    tint(path, red=0.3)
    path.with_suffix(".json").write_text(json.dumps({"activation text": words}), "utf-8")
    index([path], worker, library, precision="glance")
    return library.adapters.find(path.stem)


def test_what_each_trigger_word_adds_is_measured_once_and_told(
    worker: Worker, library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter = with_words(worker, library, tmp_path / "redder.safetensors", "zxq, red coat")
    stored = library.protocols.find()
    measurement = TriggerMeasurement(worker, library, stored)
    blocks: list[int] = []

    def stop(_: StoredAdapter, images: int) -> None:
        blocks.append(images)
        if len(blocks) == 4:  # a block with all words, two without any, and those without the first word
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(measurement.measure([adapter], stop))
    assert known_shares(library.adapters.find("redder"), stored.protocol).keys() == {"zxq"}
    assert not is_tried(library, stored, library.adapters.find("redder"))
    again: list[int] = []
    list(measurement.measure([library.adapters.find("redder")], lambda _, images: again.append(images)))
    adapter = library.adapters.find("redder")
    assert again == [TRIGGER_CELLS]
    assert is_tried(library, stored, adapter)
    assert measurement.cost([adapter]).images == 0
    assert share_without(library, stored, adapter) is not None
    (said,) = triggers(library, stored, {adapter.key: adapter}).values()
    assert "; without 'zxq' alone " in said[1]
    index([tmp_path], worker, library, precision="quick")
    assert known_shares(library.adapters.find("redder"), stored.protocol).keys() == {"zxq", "red coat"}


def test_the_command_says_how_much_is_left_without_each_word(worker: Worker, tmp_path: Path) -> None:
    path = tmp_path / "library.db"
    with Library(path, create=True) as library:
        with_words(worker, library, tmp_path / "redder.safetensors", "zxq, red coat")
        index([tint(tmp_path / "plain.safetensors", blue=0.3)], worker, library, precision="glance")
    assert "1 adapter to measure: about 112 images" in call("triggers", "--all", "--dry-run", "-l", path).stderr
    (told,) = json.loads(call("triggers", "redder", "--json", "-l", path).stdout)["triggers"]
    assert [one["words"] for one in told["without"]] == ["zxq, red coat", "zxq", "red coat"]
    again = call("triggers", "--all", "-l", path)
    assert "to measure" not in again.stderr
    assert len(again.stdout.splitlines()) == 4
    refused = CliRunner().invoke(app, ["triggers", "plain", "-l", str(path)])
    assert "plain was measured without trigger words" in str(refused.exception)


def test_words_on_both_sides_are_not_tried(library: Library, preset: Preset, worker: Worker) -> None:
    known(library, replace(preset, triggers="both"))
    with pytest.raises(LibraryError, match="appends trigger words to the prompts of both sides"):
        TriggerMeasurement(worker, library, library.protocols.find())
