"""Versions: which epochs belong together, in which order, and what each adds."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from fakes import tint
from typer.testing import CliRunner

from lorascope.analysis import VersionSeries, versions
from lorascope.analysis.cells import PromptTexts
from lorascope.analysis.versions import parted
from lorascope.cli.app import app
from lorascope.library import AdapterFacts, Library, StoredAdapter
from lorascope.measure import index, load_worker
from lorascope.protocol import Execution, Preset

DIM, BLOCKS = 32, 4


@pytest.mark.parametrize(
    ("stem", "expected"),
    [
        ("inkwell-000008", ("inkwell", "epoch", (8,))),
        ("inkwell_e12", ("inkwell", "epoch", (12,))),
        ("Inkwell epoch 3", ("Inkwell", "epoch", (3,))),
        ("inkwell-step00001500", ("inkwell", "step", (1500,))),
        ("inkwell_v2", ("inkwell", "version", (2,))),
        ("Inkwell-V1.5", ("Inkwell", "version", (1, 5))),
        ("inkwellv3", ("inkwellv3", None, ())),
        ("sdxl_style", ("sdxl_style", None, ())),
        ("house2", ("house2", None, ())),
        ("v2", ("v2", None, ())),
    ],
)
def test_names_are_parted_from_their_numbers(stem: str, expected: object) -> None:
    assert parted(stem) == expected


class Rows:
    """A text encoder with a vector of its own for each prompt."""

    name = digest = "rows"

    def texts(self, texts: list[str]) -> np.ndarray:
        """Known by the text alone."""
        return np.stack([np.random.default_rng([*text.encode()]).normal(size=DIM) for text in texts]).astype(np.float32)


def series_of(library: Library, preset: Preset, members: Mapping[str, tuple[float, float]]) -> list[VersionSeries]:
    """Adapters by name: so much of one effect, and so much of the scene kept."""
    protocol = preset.protocol(base_digest="b", encoder="rows", encoder_digest="rows")
    library.protocols.add(protocol, preset)
    execution = Execution(
        device="d", dtype="float32", batch=1, block_size=preset.block_size, threads=1, compiled=False, versions=""
    )
    library.protocols.add_execution(execution)
    library.adapters.add([StoredAdapter(name, name, "fake", (), AdapterFacts()) for name in members], {})
    grid, encoder = preset.grid(), Rows()
    library.evidence.put_floor(protocol.digest, execution.digest, 0.0)
    effect = 12 * np.eye(DIM)[0]
    for block in range(BLOCKS):
        draw = np.random.default_rng(block)
        scenes = encoder.texts([grid.prompts.texts[cell.prompt] for cell in grid.block(block)])
        bare = scenes + 0.3 * draw.normal(size=scenes.shape)
        library.evidence.put_baseline(protocol.digest, execution.digest, "", block, bare.astype(np.float16))
        for name, (share, kept) in members.items():
            noise = 0.3 * draw.normal(size=scenes.shape)
            adapted = (share * effect + kept * bare + noise).astype(np.float16)
            moved = np.zeros(len(bare), np.float32)
            library.evidence.put_block(name, block, execution.digest, "", [(protocol.digest, adapted)], moved)
    return versions(library, PromptTexts(encoder, grid))


def test_an_earlier_epoch_that_does_as_much_and_keeps_more_is_preferred(library: Library, preset: Preset) -> None:
    members = {"oil-000001": (0.3, 1.0), "oil-000002": (1.0, 1.0), "oil-000003": (1.0, 0.7), "oil": (1.0, 0.2)}
    (series,) = series_of(library, preset, members)
    assert [one.label for one in series.versions] == ["epoch 1", "epoch 2", "epoch 3", "the last epoch"]
    assert series.sentence.startswith("epoch 2 does all that the last epoch does and keeps the scene better (0.")
    assert series.versions[1].change.startswith("grew: ")
    assert "keeps less of the prompt" in series.versions[3].change


def test_versions_follow_each_other_and_the_plain_name_is_the_first(library: Library, preset: Preset) -> None:
    (series,) = series_of(library, preset, {"oil_v10": (1.0, 1.0), "oil_v2": (0.5, 1.0), "oil": (0.2, 1.0)})
    assert [one.label for one in series.versions] == ["the first version", "version 2", "version 10"]
    assert series.sentence.startswith("only version 10 does all of it")


def test_equal_epochs_are_not_called_better(library: Library, preset: Preset) -> None:
    (series,) = series_of(library, preset, {"oil-000001": (1.0, 0.9), "oil-000002": (1.0, 0.9)})
    assert series.sentence == "epoch 1 already does all that epoch 2 does, and keeps the scene as well"
    assert series.versions[1].change == "no difference beyond chance"


def test_other_names_are_no_series(library: Library, preset: Preset) -> None:
    assert series_of(library, preset, {"oil": (1.0, 1.0), "ink_v2": (1.0, 1.0), "house2": (1.0, 1.0)}) == []


@pytest.mark.parametrize(
    ("block", "said"), [(48, "only epoch 3 does all of it"), (16, "too few images of all of them")]
)
def test_the_command_lists_what_changed(preset: Preset, tmp_path: Path, block: int, said: str) -> None:
    path, folder = tmp_path / "library.db", tmp_path / "loras"
    for epoch, red in enumerate((0.1, 0.2, 0.3), 1):
        tint(folder / f"red-{epoch:06d}.safetensors", red=red)
    with Library(path, create=True) as library:
        index([folder], load_worker(dataclasses.replace(preset, block_size=block)), library, precision="glance")
    told = CliRunner().invoke(app, ["versions", str(folder), "-l", str(path)])
    assert told.exit_code == 0, told.output
    assert "red-000001" in told.stdout
    assert said in told.stdout
