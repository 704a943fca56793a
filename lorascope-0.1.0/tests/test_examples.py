"""The examples in docstrings run, and every public name has one."""

from __future__ import annotations

import doctest
import inspect
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from documents import ROOT
from fakes import three

import lorascope
from lorascope import Library, Preset, Worker, index, load_worker
from lorascope.encoders.fake import FakeEncoder
from lorascope.encoders.suffix import QueryEncoder
from lorascope.grid import PromptSet
from lorascope.search import phrases

SOURCE = ROOT / "src"
FILES = sorted(path for path in (SOURCE / "lorascope").rglob("*.py") if ">>> " in path.read_text("utf-8"))
MODULES = [".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__") for path in FILES]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Library, Worker]]:
    """A folder with three adapters in ``loras``, and a library of them: what examples may use."""
    folder = tmp_path_factory.mktemp("examples")
    three(folder / "loras")
    with Library(folder / "loras.db", create=True) as library, pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        worker = load_worker(Preset.load(Path(__file__).parent / "fake.toml"))
        index(["loras"], worker, library, precision="glance")
        yield folder, library, worker


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_run(
    name: str, measured: tuple[Path, Library, Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    queries = QueryEncoder(FakeEncoder(), PromptSet.load("query"))
    monkeypatch.setattr(phrases, "load_query_encoder", lambda stored, **_: queries)
    folder, library, worker = measured
    monkeypatch.chdir(folder)
    results = doctest.testmod(import_module(name), extraglobs={"library": library, "worker": worker})
    assert results.failed == 0


@pytest.mark.parametrize("name", lorascope.__all__)
def test_every_public_name_has_an_example(name: str) -> None:
    assert ">>> " in (inspect.getdoc(getattr(lorascope, name)) or "")
