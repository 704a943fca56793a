"""The documents say what is true: commands exist, examples run, links lead somewhere, docs/cli.md is up to date."""

from __future__ import annotations

import hashlib
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from documents import CLI_PAGE, FAMILIES_PAGE, ROOT, cli_page, commands, families_page
from fakes import three

import lorascope
from lorascope import errors
from lorascope.encoders.fake import FakeEncoder
from lorascope.encoders.suffix import QueryEncoder
from lorascope.grid import PromptSet
from lorascope.library.schema import EVIDENCE, LIBRARY
from lorascope.protocol import Preset
from lorascope.search import phrases

PAGES = sorted(page for folder in (".", "docs", "miniature", "benchmarks") for page in (ROOT / folder).glob("*.md"))
FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`(lorascope [^`]+)`")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
IMAGE = re.compile(r"""<img[^>]*src=["']([^"']+)""")


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a page in one language."""
    return [body for found, body in FENCE.findall(page.read_text("utf-8")) if found == language]


def prose(page: Path) -> str:
    """A page without its fenced blocks and comments."""
    text = FENCE.sub("", page.read_text("utf-8"))
    return re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text("utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def command_lines() -> Iterator[tuple[str, str]]:
    """Every call of lorascope in a shell block or in a span of code, with the name of its page."""
    for page in PAGES:
        if page == CLI_PAGE:
            continue
        for block in blocks(page, "sh"):
            for line in block.splitlines():
                if line.strip().startswith("lorascope "):
                    yield page.name, line.strip()
        for span in SPAN.findall(prose(page)):
            yield page.name, span.replace("\n", " ")


@pytest.mark.parametrize(("page", "line"), list(command_lines()))
def test_commands_in_the_documents_can_be_parsed(page: str, line: str) -> None:
    _, verb, *arguments = shlex.split(line, comments=True)
    if verb.startswith("-"):
        assert verb in ("--help", "--version")
        return
    known = commands()
    assert verb in known, f"{page}: no verb {verb!r}"
    if arguments:
        known[verb].make_context(verb, arguments)  # complains about unknown options and missing arguments


def test_the_documents_call_lorascope() -> None:
    """The patterns above find something."""
    assert len(list(command_lines())) > 20


def test_make_targets_in_the_documents_exist() -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    named = {
        name
        for page in PAGES
        for text in (*blocks(page, "sh"), *re.findall(r"`(make [^`]+)`", prose(page)))
        for name in re.findall(r"^make (\w+)", text, re.MULTILINE)
    }
    assert {"demo", "test"} <= named <= targets


def test_every_public_name_is_on_the_page_of_the_api() -> None:
    page = (ROOT / "docs" / "api.md").read_text("utf-8")
    documented = re.findall(r"^::: lorascope\.(?:\w+\.)+(\w+)$", page, re.MULTILINE)
    assert sorted(documented) == lorascope.__all__


def test_every_page_is_in_the_navigation_of_the_site() -> None:
    navigation = re.findall(r": (\w+\.md)$", (ROOT / "mkdocs.yml").read_text("utf-8"), re.MULTILINE)
    assert sorted(navigation) == sorted(page.name for page in (ROOT / "docs").glob("*.md"))


def test_the_page_of_commands_is_up_to_date() -> None:
    assert CLI_PAGE.read_text("utf-8") == cli_page(), "run `make docs`"


def test_the_page_of_the_architectures_is_up_to_date() -> None:
    assert FAMILIES_PAGE.read_text("utf-8") == families_page(), "run `make docs`"


@pytest.mark.parametrize("code", blocks(ROOT / "README.md", "python"))
def test_python_examples_run(
    code: str, preset: Preset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As they are, in a folder with three adapters, the fake models standing in for SDXL and CLIP."""
    three(tmp_path / "loras")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Preset, "load", classmethod(lambda cls, source: preset))
    queries = QueryEncoder(FakeEncoder(), PromptSet.load("query"))
    monkeypatch.setattr(phrases, "load_query_encoder", lambda stored, **_: queries)
    exec(compile(code, "README.md", "exec"), {"__name__": "__main__"})
    assert capsys.readouterr().out.strip()


@pytest.mark.parametrize("text", [block for page in PAGES for block in blocks(page, "toml")])
def test_presets_in_the_documents_load(text: str, tmp_path: Path) -> None:
    fields: dict[str, Any] = tomllib.loads(text)
    path = tmp_path / "preset.toml"
    path.write_text(text, "utf-8")
    assert Preset.load(path).name == fields["name"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_resolve(page: Path) -> None:
    text = prose(page)
    for link in (*LINK.findall(text), *IMAGE.findall(text)):
        if "://" in link or link.startswith("mailto:"):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), f"{page.name}: {link} leads nowhere"
        if anchor:
            assert anchor in anchors(target), f"{page.name}: {link} names no heading"


def test_source_files_that_are_named_exist() -> None:
    """Modules are moved and merged, and a page keeps their old names."""
    folders = ("src", "tests", "benchmarks", "miniature", "examples", "integrations")
    known = {path.as_posix() for folder in folders for path in (ROOT / folder).rglob("*.*")}
    named = {
        (page.name, name)
        for page in PAGES
        for name in re.findall(r"`([\w./-]+\.(?:py|toml|npz|sh))`", prose(page))
        if name != "pyproject.toml"
    }
    assert len(named) > 60
    assert [one for one in sorted(named) if not any(path.endswith("/" + one[1]) for path in known)] == []


def test_keys_in_the_examples_of_the_server_are_whole_and_of_adapters_that_ship() -> None:
    """They once were cut, and of adapters that nobody had."""
    shipped = (ROOT / "src" / "lorascope" / "miniature" / "adapters").glob("*.safetensors")
    digests = {hashlib.sha256(path.read_bytes()).hexdigest() for path in shipped}
    named = [key for block in blocks(ROOT / "docs" / "server.md", "sh") for key in re.findall(r"sha256:(\w+)", block)]
    assert len(named) >= 2
    assert set(named) <= digests


def test_the_layers_that_are_described_are_those_that_are_checked() -> None:
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"][0]
    layers: list[str] = contract["layers"]
    assert "\n".join(layers) + "\n" in blocks(ROOT / "CONTRIBUTING.md", "")
    rooms = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", _section("The rooms"), re.MULTILINE)
    assert [room.replace("`", "").split(", ") for room in rooms] == [layer.split(" | ") for layer in layers]


def test_the_tables_that_are_described_are_those_that_are_made() -> None:
    rows = set(re.findall(r"^\| `(\w+)` \|", _section("The store"), re.MULTILINE))
    assert rows == set(re.findall(r"CREATE TABLE IF NOT EXISTS (\w+)", LIBRARY + EVIDENCE))


def _section(heading: str) -> str:
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    return text.split(f"\n## {heading}\n")[1].split("\n## ")[0]


@pytest.mark.parametrize("name", ["index", "index-tags", "query", "reference"])
def test_prompt_sets_are_as_described(name: str) -> None:
    text = (ROOT / "docs" / "prompts.md").read_text("utf-8")
    found = PromptSet.load(name)
    row = next(line for line in text.splitlines() if line.startswith(f"| `{name}.toml` |"))
    assert f"`{found.name}`" in row
    assert f"`{found.digest}`" in row
    assert f"| {len(found)} " in row
    for category in set(found.categories) - {"phrases"}:
        count = found.categories.count(category)
        assert re.search(rf"^\| {category.replace('_', ' ')} \| {count} \| {count} \|", text, re.MULTILINE)


def test_every_reason_to_leave_a_file_out_is_explained() -> None:
    text = (ROOT / "docs" / "troubleshooting.md").read_text("utf-8")
    classes = [value for value in vars(errors).values() if isinstance(value, type)]
    codes = {one.code for one in classes if issubclass(one, errors.AdapterError)} - {errors.AdapterError.code}
    explained = set(re.findall(r"^\| `([\w-]+)` \|", text, re.MULTILINE))
    assert codes | {"unexpected"} <= explained
    kinds = [one.__name__ for one in classes if one.__base__ is errors.LorascopeError]
    assert [kind for kind in kinds if f"`{kind}`" not in text and kind != "AdapterError"] == []


def test_messages_that_are_explained_are_in_the_program() -> None:
    """A message that was reworded has to be reworded on the page, too."""
    program = "\n".join(path.read_text("utf-8") for path in (ROOT / "src").rglob("*.py"))
    program = _plain(re.sub(r'"\n *f?"', "", program))
    page = (ROOT / "docs" / "troubleshooting.md").read_text("utf-8").replace("\n", " ")
    messages = re.findall(r"\*\*`([^`]+)`", page)
    parts = [_plain(part).strip() for message in messages for part in message.split("...")]
    assert len(messages) > 60
    assert [part for part in parts if len(part) > 2 and part not in program] == []


def _plain(text: str) -> str:
    return re.sub(r"['\"]", "", text)
