"""Health: what Curves, trigger words and the sizes of changes say of how an adapter is used."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from test_duplicates import DIM, drawn

from lorascope.analysis import Curve, CurvePoint
from lorascope.analysis.usage import prompts_lost, sizes_out_of_line, triggers
from lorascope.library import AdapterFacts, Library, StoredAdapter
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
