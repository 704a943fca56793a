"""Checks the nodes and `lorascope index --through` against a ComfyUI that runs, as before a release.

python -m benchmarks.comfyui http://127.0.0.1:8188 --workflow mine.json

The nodes have to be installed there, and the workflow's models and LoRA. Few steps and a small size will do.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import numpy as np

from lorascope.generators.comfyui import IN_MEMORY, ComfyServer
from lorascope.generators.workflow import Fill, Workflow

PACKAGE = Path(__file__).parents[1] / "integrations" / "comfyui"


def main() -> int:
    """Print a line for each promise; returns how many are broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("address", help="of ComfyUI")
    parser.add_argument("--workflow", type=Path, required=True, help="in the API's format, with a LoRA loader")
    parser.add_argument("--words", default="pencil drawing", help="what to search in lorascope's library")
    given = parser.parse_args()
    with httpx2.Client(base_url=given.address, timeout=60.0) as client:
        stats = client.get("/system_stats").json()["system"]
        print(f"ComfyUI {stats['comfyui_version']}, frontend {stats.get('required_frontend_version', 'unknown')}")
        checks = [
            *of_files(client), *of_the_sidebar(client, given.words),
            *of_rendering(client, ComfyServer(given.address), given.workflow),
        ]  # fmt: skip
    for well, promise in checks:
        print(f"{'ok   ' if well else 'WRONG'}  {promise}")
    return sum(not well for well, _ in checks)


def of_files(client: httpx2.Client) -> Iterator[tuple[bool, str]]:
    """Nodes, help pages, templates and scripts are served, and templates name nodes and inputs that exist."""
    known = client.get("/object_info").json()
    pages = sorted((PACKAGE / "web" / "docs").glob("*.md"))
    for page in pages:
        yield page.stem in known, f"{page.stem} is loaded"
        served = client.get(f"/extensions/lorascope/docs/{page.name}")
        yield served.text == page.read_text("utf-8"), f"{page.stem} has its help page"
    loaded = {name for name, node in known.items() if node["python_module"].endswith(".lorascope")}
    yield loaded == {page.stem for page in pages}, "every node has a help page"
    yield client.get("/extensions/lorascope/lorascope.js").is_success, "the sidebar's script is served"
    templates = client.get("/workflow_templates").json().get("lorascope", [])
    yield bool(templates), "templates are listed"
    for name in templates:
        for node in client.get(f"/api/workflow_templates/lorascope/{name}.json").json()["nodes"]:
            sections = known.get(node["type"], {}).get("input", {}).values()
            inputs = {one for section in sections for one in section}
            fits = node["type"] in known and {one["name"] for one in node["inputs"]} <= inputs
            yield fits, f"template {name}: {node['type']} is as ComfyUI has it"


def of_the_sidebar(client: httpx2.Client, words: str) -> Iterator[tuple[bool, str]]:
    """What the tab asks is answered by lorascope's server."""
    health = client.get("/lorascope/health")
    yield health.is_success, f"lorascope answers: {health.text:.200}"
    found = client.get("/lorascope/search", params={"q": words})
    hits = found.json().get("hits", [])
    yield bool(hits), f"{words!r} finds {len(hits)} LoRAs, {sum(bool(hit['file']) for hit in hits)} of them in ComfyUI"
    loadable = set(client.get("/object_info/LoraLoader").json()["LoraLoader"]["input"]["required"]["lora_name"][0])
    yield {hit["file"] for hit in hits if hit["file"]} <= loadable, "what is found can be loaded by its name"


def of_rendering(client: httpx2.Client, server: ComfyServer, path: Path) -> Iterator[tuple[bool, str]]:
    """Pictures of `index --through`: by memory and by file, the same ones again, other ones with the LoRA."""
    workflow, others = Workflow.load(path, {}), _jobs(client)

    def rendered(lora: str, output: str, seed: int = 1) -> np.ndarray:
        asked = [workflow.filled(Fill("a street at night", one, lora), output) for one in (seed, seed + 1)]
        return np.stack([np.asarray(one) for one in server.pictures(asked, workflow.roles["output"])]).astype(float)

    lora = json.loads(path.read_text("utf-8"))[workflow.roles["lora"]]["inputs"]["lora_name"]
    bare, again = rendered("", "PreviewImage"), rendered("", IN_MEMORY)
    yield np.array_equal(bare, again), "the same cells are the same pictures, from memory and from a file"
    yield not np.array_equal(bare[0], bare[1]), "another seed is another picture"
    yield not np.array_equal(rendered(lora, IN_MEMORY), bare), f"{lora} changes pictures"
    yield not _jobs(client) - others, "nothing is left in the queue and the history"


def _jobs(client: httpx2.Client) -> set[str]:
    queue = client.get("/queue").json()
    return {*(job[1] for part in queue.values() for job in part), *client.get("/history").json()}


if __name__ == "__main__":
    sys.exit(main())
