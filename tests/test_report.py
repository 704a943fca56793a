"""The report on a library: one page without network that says what adapters do, which are copies, and what may go."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_analysis import library_of, unit
from test_cli import answer
from test_duplicates import drawn, measured, near

from lorascope.analysis import report
from lorascope.analysis.description import FEWEST
from lorascope.grid import PromptSet
from lorascope.library import BARE, Library, Preview
from lorascope.protocol import Preset
from lorascope.report.library import write_report
from lorascope.search import Searcher


def picture(shade: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (200, 200), (shade, shade, shade)).save(file, "WEBP")
    return file.getvalue()


def test_adapters_are_grouped_by_their_first_word(
    library: Library, preset: Preset, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = unit(np.random.default_rng(0).normal(size=(len(PromptSet.load(preset.vocabulary)), 64)))
    directions = unit(np.random.default_rng(1).normal(size=(FEWEST, 64)))
    directions[:30] = unit(directions[:30] + 20 * vectors[np.arange(30) // 2 * 2])
    searcher = library_of(library, preset, directions)
    monkeypatch.setattr(Searcher, "vectors", lambda self, phrases: vectors)
    found = report(searcher)
    assert [len(group.adapters) for group in found.groups].count(2) == 15
    assert set(found.facets) == {group.facet for group in found.groups}
    assert sum(len(group.adapters) for group in found.groups) + len(found.wordless) == FEWEST
    assert found.places.keys() == found.adapters.keys()


def test_a_report_is_one_page_without_network(library: Library, preset: Preset, tmp_path: Path) -> None:
    one = drawn(0)
    measured(library, preset, {"one": one, "again": near(one, 2, 0.1), "<weak>": drawn(1) / 100, "other": drawn(3)})
    protocol = library.protocols.find("").protocol
    for place, key in enumerate((BARE, "sha256:one", "sha256:other")):
        scene = library.previews.scene(protocol, key)
        library.previews.put(scene, key, [Preview(0, "a hill", 1, picture(60 * place))])
    told = answer("report", tmp_path / "page.html", "--library", library.path)
    page = (tmp_path / "page.html").read_text("utf-8")
    assert (told["adapters"], told["findings"]["no-effect"]) == (4, 1)
    assert page.count("data:image/webp") == 3
    assert "http" not in page
    assert "&lt;weak&gt;" in page
    assert "copy of one" in page
    assert "no effect" in page


def test_pictures_for_adults_are_not_shown(library: Library, preset: Preset, tmp_path: Path) -> None:
    from dataclasses import replace

    from lorascope.adapters import Claim

    measured(library, preset, {"one": drawn(0)})
    (adapter,) = library.adapters.all().values()
    claims = {"nsfw_level": Claim(8, "sidecar")}
    library.adapters.add([replace(adapter, facts=replace(adapter.facts, claims=claims))], {})
    stored = library.protocols.find("")
    library.previews.put(stored.protocol.scene, "sha256:one", [Preview(0, "a hill", 1, picture(9))])
    write_report(tmp_path / "page.html", report(Searcher(library)), library, stored)
    assert "data:image/webp" not in (tmp_path / "page.html").read_text("utf-8")
