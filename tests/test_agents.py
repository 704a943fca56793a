"""Agents: what they can call, over a connection in memory, over HTTP and over pipes."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fakes import three, tint
from mcp import Client, StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from serving import HERE, awaited, measured, serving, small_world, start_thread

from lorascope.server import ServerSettings, agents, create_app
from lorascope.server.encoders import Encoders
from lorascope.server.shared_state import SharedState

TOKEN = "correct horse battery staple"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = three(tmp_path_factory.mktemp("agents") / "loras")
    tint(folder / "glaring.safetensors", red=0.5, green=0.5, blue=0.5, preferred_weight=0.4)
    return folder


@pytest.fixture(scope="module")
def place(folder: Path) -> Path:
    return measured(folder.parent / "library.db", folder)


@pytest.fixture(scope="module")
def state(place: Path, folder: Path) -> Iterator[SharedState]:
    settings = ServerSettings(library=place, folders=(folder,), agents="index", preset=str(small_world(place.parent)))
    state = SharedState(settings, Encoders(), start_thread)
    yield state
    state.close()


def call(state: SharedState, tool: str, **arguments: Any) -> Any:
    """Call a tool as an agent does."""

    async def ask() -> Any:
        async with Client(agents.server(state)) as client:
            return await client.call_tool(tool, arguments)

    return awaited(ask)


def found(state: SharedState, tool: str, **arguments: Any) -> Any:
    answer = call(state, tool, **arguments)
    assert not answer.is_error, answer.content
    return answer.structured_content


def refused(state: SharedState, tool: str, **arguments: Any) -> str:
    answer = call(state, tool, **arguments)
    assert answer.is_error
    return answer.content[0].text


def test_words_find_loras_with_what_is_needed_to_use_them(state: SharedState) -> None:
    result = found(state, "search", query="red", limit=1)
    assert result["matched"]
    (hit,) = result["hits"]
    assert (hit["name"], hit["tag"]) == ("redder", "<lora:redder:1>")
    assert Path(hit["path"]).is_file()


def test_loras_are_examples_by_name(state: SharedState) -> None:
    assert [hit["name"] for hit in found(state, "search", unlike=["redder"], limit=2)["hits"]][0] != "redder"
    assert "Did you mean redder" in refused(state, "search", like=["redde"])


def test_a_description_says_what_is_measured_and_what_is_claimed(state: SharedState) -> None:
    told = found(state, "describe", lora="glaring")
    assert told["warnings"][0].startswith("overpowering: ")
    assert told["claims"]["weight"] == 0.4
    assert told["figures"]["strength"]["value"] > 0
    assert len(told["nearest"]) == 3


def test_two_loras_are_compared(state: SharedState) -> None:
    assert found(state, "compare", one="redder", two="redder")["cosine"] == pytest.approx(1, abs=1e-3)
    assert found(state, "compare", one="redder", two="blueder")["cosine"] < 0.5
    assert "no adapter 'nothing'" in refused(state, "compare", one="redder", two="nothing")


def test_a_weight_that_was_not_measured_is_the_author_s(state: SharedState) -> None:
    advice = found(state, "weight", lora="glaring")
    assert (advice["weight"], advice["claimed"]) == (0.4, 0.4)
    assert advice["reason"].startswith("not measured")


def test_pictures_are_images_without_and_with(state: SharedState) -> None:
    content = call(state, "pictures", lora="redder", count=1).content
    assert [one.type for one in content] == ["text", "image", "text", "image"]
    assert content[1].mime_type == "image/webp"
    assert content[1].data != content[3].data


def test_the_library_is_told_of(state: SharedState, place: Path) -> None:
    facts = found(state, "library")
    assert (facts["path"], facts["adapters"], facts["families"]) == (str(place), 4, {"unknown": 4})


def tools(state: SharedState) -> dict[str, Any]:
    async def ask() -> Any:
        async with Client(agents.server(state)) as client:
            return (await client.list_tools()).tools

    return {tool.name: tool for tool in awaited(ask)}


def test_agents_only_read_unless_they_are_allowed_more(state: SharedState, place: Path) -> None:
    assert {name for name, tool in tools(state).items() if not tool.annotations.read_only_hint} == {"index"}
    reader = SharedState(ServerSettings(library=place, agents="read"), Encoders(), start_thread)
    try:
        assert all(tool.annotations.read_only_hint for tool in tools(reader).values())
        assert "Unknown tool" in refused(reader, "index")
    finally:
        reader.close()


def test_every_tool_and_every_argument_is_explained(state: SharedState) -> None:
    for name, tool in tools(state).items():
        assert tool.description, name
        assert [key for key, one in tool.input_schema["properties"].items() if not one.get("description")] == [], name


def test_agents_are_answered_over_http_with_the_server_s_token(place: Path, folder: Path) -> None:
    preset = str(small_world(place.parent))
    settings = ServerSettings(library=place, folders=(folder,), agents="index", token=TOKEN, preset=preset)
    app = create_app(settings, start=start_thread)

    async def ask() -> Any:
        http = httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app), headers={"Authorization": f"Bearer {TOKEN}"}, base_url=HERE
        )
        async with app.router.lifespan_context(app), http:
            async with Client(streamable_http_client(f"{HERE}/mcp", http_client=http)) as client:
                found = await client.call_tool("search", {"query": "red"})
                run = await client.call_tool("index", {"precision": "glance"})
            while (await http.get("/api/v1/runs/1")).json()["state"] != "done":
                await asyncio.sleep(0.02)
            return found, run

    found, run = awaited(ask)
    assert found.structured_content["hits"][0]["name"] == "redder"
    assert json.loads(run.content[0].text)["precision"] == "glance"


def test_agents_are_answered_over_pipes(place: Path) -> None:
    """By the command itself; what a library prints to standard output does not reach the agent."""
    command = StdioServerParameters(
        command=sys.executable, args=["-m", "lorascope", "mcp", "--library", str(place)], env=dict(os.environ)
    )

    async def ask() -> Any:
        async with Client(stdio_client(command)) as client:
            return await client.call_tool("library", {})

    assert awaited(ask).structured_content["adapters"] == 4


def test_agents_without_the_token_are_refused(place: Path) -> None:
    with serving(place, agents="read", token=TOKEN) as client:
        answer = client.post("/mcp", json={})
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "no-token")


def test_a_server_answers_no_agents_unless_it_is_asked_to(place: Path) -> None:
    with serving(place) as client:
        assert client.post("/mcp", json={}).status_code == 404
