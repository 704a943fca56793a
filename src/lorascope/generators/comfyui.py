"""A ComfyUI that runs somewhere, as a generator: whatever family and quantisation it can render can be measured."""

from __future__ import annotations

import time
import uuid
from base64 import b64decode
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from io import BytesIO
from typing import Any, final

import httpx2
import numpy as np
import torch
from PIL import Image, UnidentifiedImageError

from lorascope.adapters import Delta
from lorascope.errors import ModelError, UnreadableAdapter
from lorascope.generators.base import Shapes
from lorascope.generators.memory import MemoryPlan
from lorascope.generators.workflow import Fill, Workflow
from lorascope.protocol import Execution, Preset

_PENDING = 2
"""The most jobs of this run that wait at the server at once: a person's own come in between."""
_BATCH = 4
"""Cells that are asked for together, so that the server renders one while the picture before is fetched."""
_PATIENCE = 600.0
"""Seconds that a server may be away, as while it restarts."""
_SLOWEST = 3600.0
"""Seconds that one picture may take."""
_LONGEST_PAUSE = 1.0
_AWAY = (502, 503, 504)
"""What a proxy answers while the server behind it restarts."""
IN_MEMORY = "LorascopeSendPicture"
"""The node of ``integrations/comfyui`` that gives a picture away without writing a file."""


class RenderingFailed(Exception):
    """The server could not render one picture, and said why."""


@final
class ComfyServer:
    """The few requests to ComfyUI's API that rendering needs. A server that is away is waited for."""

    def __init__(
        self, address: str, *, patience: float = _PATIENCE, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        """Ask nothing yet."""
        self.address = address.rstrip("/")
        self._client = httpx2.Client(base_url=self.address, timeout=60.0)
        self._patience, self._sleep = patience, sleep
        self._name = uuid.uuid4().hex

    def version(self) -> str:
        """The server's version."""
        return str(self._json("GET", "/system_stats").get("system", {}).get("comfyui_version", "unknown"))

    def has(self, node: str) -> bool:
        """Whether the server has a type of node."""
        return node in self._json("GET", f"/object_info/{node}")

    def sizes(self) -> dict[str, int]:
        """The bytes of the server's LoRAs by name; empty where it does not tell."""
        try:
            listed = self._asked("GET", "/experiment/models/loras").json()
            return {str(one["name"]): int(one["size"]) for one in listed}
        except (ModelError, ValueError, KeyError, TypeError):
            return {}

    def loras(self, loader: str) -> list[str]:
        """The names under which a loader knows LoRAs.

        Raises:
            ModelError: the server has no such node.
        """
        inputs = self._json("GET", f"/object_info/{loader}").get(loader, {}).get("input", {})
        choices = (inputs.get("required", {}) | inputs.get("optional", {})).get("lora_name", [None])
        names = choices[0] if isinstance(choices[0], list) else choices[1].get("options") if len(choices) > 1 else None
        if not isinstance(names, list):
            raise ModelError(f"ComfyUI at {self.address} has no node {loader} that loads LoRAs: install it there")
        return [str(name) for name in names]

    def pictures(self, workflows: Sequence[dict[str, Any]], output: str) -> list[Image.Image]:
        """Render workflows, in order, with at most two of them waiting. Nothing of them stays in queue or history.

        Args:
            workflows: in the API's format.
            output: the node that has the picture.

        Raises:
            RenderingFailed: the server refuses one, or fails at it.
            ModelError: it does not answer as documented, has no memory left, or is away for too long.
        """
        jobs: list[str] = []
        found: list[Image.Image] = []
        try:
            while len(found) < len(workflows):
                while len(jobs) < min(len(found) + _PENDING, len(workflows)):
                    jobs.append(self._submit(workflows[len(jobs)]))
                found.append(self._picture(self._entry(jobs, len(found), workflows), output))
        finally:
            self._remove(jobs, pending=len(found) < len(jobs))
        return found

    def _submit(self, workflow: dict[str, Any]) -> str:
        answer = self._json("POST", "/prompt", {"prompt": workflow, "client_id": self._name})
        if not isinstance(answer.get("prompt_id"), str):
            raise ModelError(f"ComfyUI at {self.address} took a job without saying its number: is it ComfyUI?")
        return answer["prompt_id"]

    def _remove(self, jobs: list[str], *, pending: bool) -> None:
        """Take these jobs out of the history and, if some may still wait, out of the queue. One that runs goes on."""
        for path in ("/queue", "/history") if pending else ("/history",):
            with suppress(httpx2.HTTPError):
                self._client.post(path, json={"delete": jobs})

    def _entry(self, jobs: list[str], place: int, workflows: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """What became of a job. One that somebody has interrupted, or that a restart made forgotten, is sent again."""
        end, pause = time.monotonic() + _SLOWEST, 0.05
        while time.monotonic() < end:
            entry = self._known(jobs[place])
            if entry is not None and not _interrupted(entry):
                return entry
            if entry is not None or (jobs[place] not in self._queued() and self._known(jobs[place]) is None):
                self._remove([jobs[place]], pending=False)
                jobs[place] = self._submit(workflows[place])
            self._sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
        raise ModelError(f"ComfyUI at {self.address} did not finish a picture within {_SLOWEST / 60:.0f} minutes")

    def _known(self, job: str) -> dict[str, Any] | None:
        """A finished job."""
        return self._json("GET", f"/history/{job}").get(job)

    def _queued(self) -> set[str]:
        """The jobs that wait or run, everybody's."""
        queue = self._json("GET", "/queue")
        return {job[1] for part in ("queue_running", "queue_pending") for job in queue.get(part, ()) if len(job) > 1}

    def _picture(self, entry: dict[str, Any], output: str) -> Image.Image:
        if (entry.get("status") or {}).get("status_str") == "error":
            raise self._failure(entry)
        shown = entry.get("outputs", {}).get(output, {})
        images = [*shown.get("images", ()), *shown.get("lorascope", ())]
        if len(images) != 1:
            raise ModelError(
                f"ComfyUI answered with {len(images)} pictures instead of one: check the workflow's output"
            )
        data = self._file(images[0])
        try:
            return Image.open(BytesIO(data)).convert("RGB")
        except (UnidentifiedImageError, OSError) as error:
            raise ModelError(
                f"ComfyUI sent something else than a picture ({len(data)} bytes): look at its console"
            ) from error

    def _file(self, image: dict[str, str] | str) -> bytes:
        """The bytes of a picture, which the history has in full or by its file's name."""
        if isinstance(image, str):
            return b64decode(image)
        where = {name: image.get(name, "") for name in ("filename", "subfolder", "type")}
        return self._asked("GET", "/view", params=where).content

    def _failure(self, entry: dict[str, Any]) -> Exception:
        """Why a job could not be done."""
        said = next((one[1] for one in _messages(entry) if one[0] == "execution_error"), {})
        text = f"{said.get('node_type')}: {said.get('exception_message')}" if said else "it does not say why"
        if "OutOfMemory" in str(said.get("exception_type")):
            return ModelError(
                f"ComfyUI at {self.address} has no memory left ({text.strip():.200}): end what else uses it, or render"
                " smaller pictures; what was measured is kept"
            )
        return RenderingFailed(f"ComfyUI could not render it ({text.strip():.300})")

    def _json(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        answer = self._asked(method, path, json=body)
        try:
            content = answer.json()
        except ValueError as error:
            raise ModelError(f"what answers at {self.address} is no ComfyUI: it sent no JSON for {path}") from error
        if not isinstance(content, dict):
            raise ModelError(f"what answers at {self.address} is no ComfyUI: it sent a list for {path}")
        return content

    def _asked(self, method: str, path: str, **how: Any) -> httpx2.Response:
        """One request; while the server is away it is made again."""
        end, pause = time.monotonic() + self._patience, 0.2
        while True:
            try:
                answer = self._client.request(method, path, **how)
                if answer.status_code not in _AWAY:
                    break
                raise httpx2.ReadError(f"status {answer.status_code}")
            except httpx2.TransportError as error:
                if time.monotonic() > end:
                    raise ModelError(
                        f"ComfyUI does not answer at {self.address} ({error}): start it; what was measured is kept"
                    ) from error
                self._sleep(pause)
                pause = min(2 * pause, 10.0)
        if answer.status_code == 400 and path == "/prompt":
            raise RenderingFailed(f"ComfyUI refuses the workflow: {_why(answer)}")
        if answer.status_code >= 400:
            raise ModelError(f"ComfyUI at {self.address} answered {answer.status_code} for {path}: look at its console")
        return answer


def _messages(entry: dict[str, Any]) -> list[Any]:
    return (entry.get("status") or {}).get("messages", [])


def _interrupted(entry: dict[str, Any]) -> bool:
    """Whether somebody pressed ComfyUI's button that ends the running job, whosever it was."""
    return any(one[0] == "execution_interrupted" for one in _messages(entry))


def _why(answer: httpx2.Response) -> str:
    """What the server finds wrong with a workflow, of each node."""
    try:
        said = answer.json()
        nodes = [
            f"{node.get('class_type')}: {one.get('message')} ({one.get('details')})"
            for node in said.get("node_errors", {}).values()
            for one in node.get("errors", ())
        ]
        return ("; ".join(nodes) or str(said.get("error", {}).get("message")))[:400]
    except (ValueError, AttributeError):
        return f"status {answer.status_code}"


@final
class ComfyGenerator:
    """Renders every cell as one job. Adapters are loaded by ComfyUI, from its own folders, by their file's name."""

    def __init__(
        self, preset: Preset, workflow: Workflow, server: ComfyServer, hashes: Mapping[str, str] | None = None
    ) -> None:
        """Ask the server for its version and its LoRAs.

        Args:
            preset: what is asked.
            workflow: how it is rendered.
            server: what renders it.
            hashes: the SHA-256 of the workflow's models by name, where their files are at hand.

        Raises:
            ModelError: it does not answer, or lacks the workflow's loader.
        """
        self._preset, self._workflow, self._server = preset, workflow, server
        self.family = preset.family
        self._version = server.version()
        self.digest = workflow.digest(self._version, hashes)
        self._names = server.loras(workflow.loader)
        self._sizes = {name.replace("\\", "/"): size for name, size in server.sizes().items()}
        self._output = IN_MEMORY if server.has(IN_MEMORY) else "PreviewImage"
        self._lora, self._strength = "", 1.0

    @property
    def shapes(self) -> Shapes:
        """None are known: ComfyUI matches adapters to its model."""
        return {}

    @property
    def execution(self) -> Execution:
        """A few cells at a time, on whatever the server has."""
        return Execution(
            device="comfyui", dtype="", batch=_BATCH, block_size=self._preset.block_size, threads=0, compiled=False,
            versions=f"ComfyUI {self._version}",
        )  # fmt: skip

    @property
    def memory(self) -> MemoryPlan:
        """Nothing of this process's: the server plans its own."""
        return MemoryPlan("none", copies=False, peak=0)

    def untouched(self, target: tuple[str, str]) -> torch.Tensor:
        """No weight is known.

        Raises:
            KeyError: always.
        """
        raise KeyError(target)

    def held(self, target: tuple[str, str]) -> torch.dtype:
        """No weight is known.

        Raises:
            KeyError: always.
        """
        raise KeyError(target)

    @contextmanager
    def with_component(self, delta: Delta, scale: float) -> Generator[None]:
        """Load an adapter in every workflow.

        Raises:
            UnreadableAdapter: its file is in none of ComfyUI's folders.
        """
        self._lora, self._strength = self._name_of(delta), scale
        try:
            yield
        finally:
            self._lora = ""

    def render(self, prompts: Sequence[str], seeds: Sequence[int]) -> torch.Tensor:
        """Render cells, float32 (n, 3, height, width) in 0..1.

        Raises:
            RenderingFailed: the server fails at one with an adapter.
            ModelError: it fails without one, too, or does not answer as documented.
        """
        texts = map(self._preset.text, prompts)
        fills = (Fill(text, seed, self._lora, self._strength) for text, seed in zip(texts, seeds, strict=True))
        workflows = [self._workflow.filled(fill, self._output) for fill in fills]
        try:
            images = self._server.pictures(workflows, self._workflow.roles["output"])
        except RenderingFailed as error:
            if self._lora:
                raise
            raise ModelError(
                f"{error}, and that without a LoRA: mend the workflow in ComfyUI; what was measured is kept"
            ) from error
        size = (self._preset.width, self._preset.height)
        if wrong := [image.size for image in images if image.size != size]:
            raise ModelError(
                f"ComfyUI sent a picture of {wrong[0]} instead of {size}: check the workflow's nodes of size"
            )
        pixels = np.stack([np.asarray(image, np.float32) / 255 for image in images])
        return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()

    def cut(self, prompts: Sequence[str]) -> int:
        """Not known."""
        return 0

    def with_batch(self, batch: int) -> ComfyGenerator:
        """The same: there are no batches."""
        return self

    def with_preset(self, preset: Preset) -> ComfyGenerator:
        """The same, if nothing changes.

        Raises:
            ModelError: size or negative prompt change, which the workflow holds.
        """
        if preset != self._preset:
            raise ModelError("the workflow holds size and negative prompt: change them there")
        return self

    def _name_of(self, delta: Delta) -> str:
        """ComfyUI's name of an adapter's file: the only one of its size that ends as its path does."""
        path = delta.source
        parts = path.parts if path else ()
        size = path.stat().st_size if path and path.is_file() else None
        found = [(name.replace("\\", "/"), name) for name in self._names]
        for count in range(1, len(parts) + 1):
            tail = "/" + "/".join(parts[-count:])
            found = [one for one in found if f"/{one[0]}".endswith(tail) and self._sizes.get(one[0], size) == size]
            if len(found) == 1:
                return found[0][1]
        place, reason = path or "memory", f"ComfyUI at {self._server.address} does not have this file, or several times"
        raise UnreadableAdapter(place, reason, "Put it into one of its folders of LoRAs")
