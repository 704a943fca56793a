"""The nodes for ComfyUI, against a stand-in of its API and a real server over fakes."""

from __future__ import annotations

import json
import re
import socket
import tomllib
from base64 import b64decode
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from comfyui import PACKAGE, comfyui
from fakes import three, tint
from PIL import Image
from serving import awaited, listening, measured, start_thread

from lorascope.families import ARCHITECTURES
from lorascope.server import ServerSettings, create_app

TOKEN = "correct horse battery staple"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = three(tmp_path_factory.mktemp("comfyui") / "loras" / "colours")
    tint(folder / "weighted.safetensors", red=0.25, green=0.02, preferred_weight=0.6, trigger_words="glow")
    return folder.parent


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    """A server that has measured the folder, and asks for a token."""
    place = measured(folder.parent / "library.db", folder)
    with listening(create_app(ServerSettings(library=place, token=TOKEN), start=start_thread)) as address:
        yield address


@pytest.fixture
def pack(folder: Path, address: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.setenv("LORASCOPE_URL", address)
    monkeypatch.setenv("LORASCOPE_TOKEN", TOKEN)
    with comfyui(folder) as package:
        yield package


def nodes(pack: ModuleType) -> dict[str, Any]:
    found = awaited(awaited(pack.comfy_entrypoint).get_node_list)
    return {node.define_schema().node_id: node for node in found}


def find(pack: ModuleType, words: str = "red", **changes: Any) -> Any:
    asked = {"words": words, "count": 2, "least": "any", "weights": "advised", "weight": 0.5} | changes
    return nodes(pack)["LorascopeFindLora"].execute(**asked).args


def model(name: str) -> Any:
    """A model of ComfyUI, by the class of its configuration."""
    return SimpleNamespace(model=SimpleNamespace(model_config=type(name, (), {})()))


def test_every_node_fits_its_schema_and_has_a_help_page(pack: ModuleType) -> None:
    found = nodes(pack)
    assert {node.checked().display_name for node in found.values()} == {
        "Find LoRA", "Describe LoRA", "LoRA weight", "Apply found LoRAs", "Send picture to lorascope",
    }  # fmt: skip
    pages = {page.stem for page in (PACKAGE / "web" / "docs").glob("*.md")}
    assert pages == set(found)


def test_words_become_a_stack_at_weights_with_pictures(pack: ModuleType) -> None:
    stack, names, pictures = find(pack)
    assert [(Path(name).name, weight, clip) for name, weight, clip in stack] == [
        ("redder.safetensors", 1.0, 1.0), ("weighted.safetensors", 0.6, 0.6),
    ]  # fmt: skip
    assert stack[0][0] == str(Path("colours") / "redder.safetensors")
    assert names.splitlines()[0].startswith(stack[0][0])
    assert pictures.dtype == torch.float32
    assert pictures.shape[0] == 2
    assert pictures.shape[2] == 2 * pictures.shape[1]  # without and with, side by side
    assert 0 <= float(pictures.min()) < float(pictures.max()) <= 1


def test_a_fixed_weight_is_the_same_for_all_and_earlier_loras_stay(pack: ModuleType) -> None:
    stack, *_ = find(pack, weights="fixed", lora_stack=[("before.safetensors", 1.0, 1.0)])
    assert [weight for _, weight, _ in stack] == [1.0, 0.5, 0.5]


def test_only_loras_of_the_connected_model_s_architecture_are_found(pack: ModuleType) -> None:
    with pytest.raises(RuntimeError, match="no LoRAs for sdxl are measured yet: run `lorascope index`"):
        find(pack, model=model("SDXL"))
    with pytest.raises(ValueError, match=r"an architecture \(Novel\) whose LoRAs lorascope does not know"):
        find(pack, model=model("Novel"))
    assert len(find(pack, model=model("Novel"), family="unknown")[0]) == 2


def test_every_architecture_that_is_named_is_one_of_lorascope_s(pack: ModuleType) -> None:
    families = set(pack.nodes.family_of.__globals__["FAMILIES"].values())
    assert families <= {row.name for row in ARCHITECTURES}


def test_where_nothing_matches_the_node_says_so(pack: ModuleType) -> None:
    with pytest.raises(RuntimeError, match="no LoRA clearly does 'nothing at all' among 4 LoRAs: use other words"):
        find(pack, "nothing at all", least="clear")


def test_the_node_finds_again_when_the_library_has_changed(pack: ModuleType) -> None:
    assert nodes(pack)["LorascopeFindLora"].fingerprint_inputs(words="red") == str(
        pack.nodes.CLIENT.get("/health")["revision"]
    )


def test_a_lora_is_described_and_weighed_by_comfyui_s_name(pack: ModuleType) -> None:
    name = str(Path("colours") / "weighted.safetensors")
    text, triggers, picture = nodes(pack)["LorascopeDescribeLora"].execute(name).args
    assert text.startswith("weighted\n")
    assert triggers == "glow"
    assert picture.shape[0] == 1
    assert nodes(pack)["LorascopeLoraWeight"].execute(name).args == (0.6, "not measured; as its author says")


def test_a_lora_that_was_not_measured_is_named_with_the_remedy(pack: ModuleType) -> None:
    with pytest.raises(RuntimeError, match=r"new.safetensors was not measured: run `lorascope index` on its folder"):
        nodes(pack)["LorascopeDescribeLora"].execute("new.safetensors")


def test_a_stack_is_loaded_in_order_at_its_weights(pack: ModuleType) -> None:
    stack, *_ = find(pack)
    loaded = nodes(pack)["LorascopeApplyFoundLoras"].execute("model", [*stack, ("unused", 0.0, 0.0)], "clip").args
    assert loaded == ("model++", "clip++")
    assert pack.loaded == [("redder.safetensors", 1.0, 1.0), ("weighted.safetensors", 0.6, 0.6)]


def test_pictures_are_sent_without_a_file(pack: ModuleType) -> None:
    image = torch.linspace(0, 1, 2 * 3 * 3).reshape(1, 2, 3, 3)
    (file,) = nodes(pack)["LorascopeSendPicture"].execute(image).ui["lorascope"]
    sent = np.asarray(Image.open(BytesIO(b64decode(file))))
    assert np.array_equal(sent, (image[0].numpy() * 255).astype(np.uint8))  # as PreviewImage rounds


def test_files_on_another_machine_are_known_by_their_only_name(pack: ModuleType) -> None:
    file_name = pack.nodes.file_name
    assert file_name(["D:\\loras\\ink.safetensors"], ["styles/ink.safetensors"], []) == "styles/ink.safetensors"
    assert file_name(["/other/ink.safetensors"], ["a/ink.safetensors", "b/ink.safetensors"], []) is None


# --- the server -------------------------------------------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def test_without_a_server_the_node_says_how_to_start_one(pack: ModuleType) -> None:
    client = pack.nodes.CLIENT.__class__(f"http://127.0.0.1:{free_port()}")
    with pytest.raises(RuntimeError, match=r"does not answer at .*Start it with `lorascope serve`, or install"):
        client.get("/health")


def test_a_wrong_token_is_said(pack: ModuleType, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORASCOPE_TOKEN", "")
    with pytest.raises(RuntimeError, match=r"this server needs a token: .*Set LORASCOPE_TOKEN for ComfyUI"):
        pack.nodes.CLIENT.__class__(address).get("/health")


def test_a_server_of_something_else_is_recognised(pack: ModuleType) -> None:
    async def other(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 404, "headers": []})
        await send({"type": "http.response.body", "body": b"<html>"})

    with listening(other) as address, pytest.raises(RuntimeError, match=r"is no lorascope \(status 404\)"):
        pack.nodes.CLIENT.__class__(address).get("/health")


def test_a_server_is_started_where_the_package_is_installed(
    pack: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a free port instead of the usual one, which may be taken on the machine of whoever runs this."""
    port = free_port()
    module = __import__("sys").modules["comfyui_pack.client"]
    monkeypatch.delenv("LORASCOPE_URL")
    monkeypatch.setenv("LORASCOPE_TOKEN", "")
    monkeypatch.setenv("LORASCOPE_LIBRARY", str(folder.parent / "library.db"))
    monkeypatch.setattr(module, "USUAL", f"http://127.0.0.1:{port}")
    popen = module.subprocess.Popen
    monkeypatch.setattr(
        module.subprocess, "Popen", lambda command, **how: popen([*command, "--port", str(port)], **how)
    )
    client = module.Client()
    try:
        assert client.get("/health")["adapters"] == 4
        client._process.stdin.close()  # as when ComfyUI ends, be it killed
        assert client._process.wait(timeout=30) in (0, 130)
    finally:
        client._process.kill()
        client._process.wait()


# --- the sidebar ------------------------------------------------------------------------------------------------


def asked(query: dict[str, str]) -> Any:
    """A request of ComfyUI's page to ComfyUI."""
    return SimpleNamespace(query=query, scheme="http", host="127.0.0.1:8188")


def answer(pack: ModuleType, path: str, **query: str) -> Any:
    return awaited(lambda: pack.routes[f"/lorascope/{path}"](asked(query)))


def test_the_sidebar_s_hits_have_comfyui_s_names_and_weights(pack: ModuleType) -> None:
    hits = answer(pack, "search", q="red").data["hits"]
    assert [(hit["file"], hit["use"]) for hit in hits[:2]] == [
        (str(Path("colours") / "redder.safetensors"), 1.0), (str(Path("colours") / "weighted.safetensors"), 0.6),
    ]  # fmt: skip
    picture = answer(pack, "picture", address=hits[0]["details"]["pictures"][0]["url"])
    assert picture.content_type == "image/webp"
    found = answer(pack, "file", key=hits[1]["adapter"]["key"]).data
    assert found == {"file": hits[1]["file"], "use": 0.6}
    assert "does not know" in answer(pack, "file", key="sha256:00").data["error"]


@pytest.mark.parametrize(
    "path", ["/api/v1/runs", "http://evil.example/", "/api/v1/adapters/a/previews/0", "/api/v1/adapters/../runs", ""]
)
def test_the_sidebar_fetches_pictures_only(pack: ModuleType, path: str) -> None:
    with pytest.raises(Exception, match="^$") as refused:
        answer(pack, "picture", address=path)
    assert type(refused.value).__name__ == "HTTPNotFound"


def test_problems_reach_the_sidebar_in_words(pack: ModuleType) -> None:
    found = answer(pack, "search", q="red:x:")
    assert (found.status, list(found.data)) == (502, ["error"]) or found.status == 200
    pack.nodes.CLIENT._url = f"http://127.0.0.1:{free_port()}"
    found = answer(pack, "health")
    assert found.status == 502
    assert "does not answer" in found.data["error"]


def test_the_package_has_the_registry_s_form() -> None:
    project = tomllib.loads((PACKAGE / "pyproject.toml").read_text("utf-8"))
    assert re.fullmatch(r"[a-z][a-z0-9-]+", project["project"]["name"])
    assert re.fullmatch(r"\d+\.\d+\.\d+", project["project"]["version"])
    assert project["project"]["dependencies"] == []
    assert {"PublisherId", "DisplayName", "Icon"} <= project["tool"]["comfy"].keys()
    assert (PACKAGE / project["tool"]["comfy"]["Icon"]).is_file()


def test_example_workflows_use_the_nodes_as_they_are(pack: ModuleType) -> None:
    found = nodes(pack)
    examples = list((PACKAGE / "example_workflows").glob("*.json"))
    assert examples
    for example in examples:
        workflow = json.loads(example.read_text("utf-8"))
        ours = [node for node in workflow["nodes"] if node["type"].startswith("Lorascope")]
        assert {node["type"] for node in ours} == {"LorascopeFindLora", "LorascopeApplyFoundLoras"}
        for node in ours:
            schema = found[node["type"]].define_schema()
            assert [one["name"] for one in node["outputs"]] == [one.options["display_name"] for one in schema.outputs]
            assert {one["name"] for one in node["inputs"]} <= {one.id for one in schema.inputs}
