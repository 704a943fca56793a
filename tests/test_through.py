"""Measuring with a ComfyUI that runs: a stand-in server of its API, which renders with the fakes, good and bad ones."""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from fakes import COLOURS, three, tint
from PIL import Image
from test_sites import Answer, plain, site
from test_weight import call_unchecked

from lorascope.adapters import Names, load_delta
from lorascope.cli.through import _hashes, _model_folders
from lorascope.errors import ModelError, ProtocolError, UsageError
from lorascope.generators.comfyui import IN_MEMORY, ComfyServer
from lorascope.generators.fake import FakeGenerator
from lorascope.generators.workflow import Fill, Workflow
from lorascope.library import Library
from lorascope.measure import Worker, index
from lorascope.measure.through import hashes_of, worker_through
from lorascope.protocol import Preset

WORKFLOW: dict[str, Any] = {
    "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "base.safetensors"}},
    "2": {"class_type": "LoraLoader", "inputs": {
        "lora_name": "none", "strength_model": 1.0, "strength_clip": 1.0, "model": ["1", 0], "clip": ["1", 1]}},
    "3": {"class_type": "CLIPTextEncode", "inputs": {"text": "anything", "clip": ["2", 1]}},
    "4": {"class_type": "CLIPTextEncode", "inputs": {"text": "blurry", "clip": ["2", 1]}},
    "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 8, "height": 8, "batch_size": 4}},
    "6": {"class_type": "KSampler", "inputs": {
        "seed": 1, "steps": 2, "cfg": 1.0, "model": ["2", 0], "positive": ["3", 0], "negative": ["4", 0],
        "latent_image": ["5", 0]}},
    "7": {"class_type": "VAEDecode", "inputs": {"samples": ["6", 0], "vae": ["1", 2]}},
    "8": {"class_type": "SaveImage", "inputs": {"images": ["7", 0], "filename_prefix": "mine"}},
}  # fmt: skip
FAILURES = {
    "fail": ["execution_error", {"node_type": "LoraLoader", "exception_message": "shapes differ"}],
    "no memory": ["execution_error", {
        "node_type": "KSampler", "exception_message": "out of memory", "exception_type": "torch.OutOfMemoryError"}],
    "interrupt": ["execution_interrupted", {"node_type": "KSampler"}],
}  # fmt: skip


class ComfyUI:
    """The endpoints that are asked, as documented; each fault of ``faults`` is done once, in order."""

    def __init__(self, preset: Preset, loras: Path, *faults: str) -> None:
        self.generator, self.loras, self.faults = FakeGenerator(preset), loras, list(faults)
        self.jobs: dict[str, dict[str, Any]] = {}
        self.in_memory = False
        self.unasked: set[str] = set()
        self.most_pending = 0
        self.number = 0

    def fault(self, *names: str) -> bool:
        """Whether one of these is next; then it is done."""
        return bool(self.faults) and self.faults[0] in names and bool(self.faults.pop(0))

    def __call__(self, path: str, body: bytes, headers: dict[str, str]) -> Answer | None:
        """Answer a request."""
        address = urlsplit(path)
        if self.fault("cut"):
            return None
        if self.fault("restart"):
            return 502, {}, b"a proxy"
        if self.fault("forget"):  # as after a restart
            self.jobs.clear()
        if address.path == "/prompt":
            return self.submit(json.loads(body)["prompt"])
        if body:  # to /queue or /history
            return self.delete(address.path, json.loads(body)["delete"])
        if address.path.startswith("/history/"):
            return self.history(address.path.rpartition("/")[2])
        if address.path == "/view":
            return self.view(parse_qs(address.query)["filename"][0])
        return plain(self.facts()[address.path])

    def facts(self) -> dict[str, Any]:
        """What is answered by addresses that depend on nothing."""
        files = {str(one.relative_to(self.loras)): one for one in self.loras.rglob("*.safetensors")}
        sizes = [{"name": name.replace("\\", "/"), "size": file.stat().st_size} for name, file in files.items()]
        return {
            "/system_stats": {"system": {"comfyui_version": "0.9"}},
            "/object_info/LoraLoader": {"LoraLoader": {"input": {"required": {"lora_name": [list(files), {}]}}}},
            f"/object_info/{IN_MEMORY}": {IN_MEMORY: {}} if self.in_memory else {},
            "/experiment/models/loras": sizes,
            "/queue": {"queue_running": [], "queue_pending": [[0, job] for job in self.unasked]},
        }

    def submit(self, workflow: dict[str, Any]) -> Answer:
        """Take a job."""
        if self.fault("refuse"):
            node = {"class_type": "KSampler", "errors": [{"message": "Value not in list", "details": "sampler"}]}
            return plain({"error": {"message": "bad"}, "node_errors": {"6": node}}, 400)
        self.number += 1
        job = f"job-{self.number}"
        self.jobs[job] = workflow
        self.unasked.add(job)
        self.most_pending = max(self.most_pending, len(self.unasked))
        return plain({"prompt_id": job, "number": self.number})

    def delete(self, path: str, jobs: list[str]) -> Answer:
        """Take jobs out of the queue or the history."""
        for job in jobs:
            if path == "/queue":
                self.unasked.discard(job)
            elif job not in self.unasked:
                self.jobs.pop(job, None)
        return 200, {}, b""

    def history(self, job: str) -> Answer:
        """What became of a job."""
        if job not in self.jobs:
            self.unasked.discard(job)
            return plain({})
        if self.fault("slow"):
            return plain({})
        self.unasked.discard(job)
        if message := next((message for fault, message in FAILURES.items() if self.fault(fault)), None):
            return plain({job: {"status": {"status_str": "error", "messages": [message]}, "outputs": {}}})
        if self.in_memory:
            file = b64encode(self.view(job)[2]).decode()
            return plain({job: {"status": {"status_str": "success"}, "outputs": {"8": {"lorascope": [file]}}}})
        count = 2 if self.fault("two pictures") else 1
        images = [{"filename": job, "subfolder": "", "type": "temp"}] * count
        return plain({job: {"status": {"status_str": "success"}, "outputs": {"8": {"images": images}}}})

    def view(self, job: str) -> Answer:
        """The picture of a job."""
        if self.fault("no picture"):
            return 200, {}, b"<html>"
        nodes = self.jobs[job]
        assert nodes["8"]["class_type"] == (IN_MEMORY if self.in_memory else "PreviewImage")
        sampler = nodes["6"]["inputs"]
        text = nodes[sampler["positive"][0]]["inputs"]["text"]
        if "2" in nodes:
            inputs = nodes["2"]["inputs"]
            delta = load_delta(self.loras / inputs["lora_name"], Names(self.generator.shapes))
            with self.generator.with_component(delta, inputs["strength_model"]):
                pixels = self.generator.render([text], [sampler["seed"]])
        else:
            assert sampler["model"] == ["1", 0]
            pixels = self.generator.render([text], [sampler["seed"]])
        array = (pixels[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
        if self.fault("wrong size"):
            array = array[:4]
        written = BytesIO()
        Image.fromarray(array).save(written, "PNG")
        return 200, {"Content-Type": "image/png"}, written.getvalue()


@pytest.fixture
def loras(tmp_path: Path) -> Path:
    return three(tmp_path / "loras")


@pytest.fixture
def workflow(tmp_path: Path) -> Path:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(WORKFLOW), "utf-8")
    return path


@contextmanager
def through(
    preset: Preset, loras: Path, workflow: Path, *faults: str, patience: float = 5.0, in_memory: bool = False
) -> Iterator[Any]:
    """A worker, and the stand-in behind it."""
    server = ComfyUI(preset, loras)
    server.in_memory = in_memory
    with site(server) as (address, _):
        worker = worker_through(
            preset, address, workflow, {},
            connect=lambda place: ComfyServer(place, patience=patience, sleep=lambda seconds: None),
        )  # fmt: skip
        server.faults = list(faults)
        yield worker, server


def test_signatures_are_those_of_measuring_directly(
    preset: Preset, loras: Path, workflow: Path, worker: Worker, tmp_path: Path
) -> None:
    """But for the eight bits of a picture's file."""
    with Library(tmp_path / "direct.db", create=True) as direct, Library(tmp_path / "through.db", create=True) as other:
        index([loras], worker, direct, precision="glance")
        with through(preset, loras, workflow) as (remote, server):
            outcome = index([loras], remote, other, precision="glance")
        assert (len(outcome.measured), outcome.refused) == (3, [])
        assert server.most_pending <= 2
        for one in direct.adapters.all():
            mine = direct.signatures.get(worker.protocols[0].digest, [one])[one].signature
            theirs = other.signatures.get(remote.protocols[0].digest, [one])[one].signature
            cosine = (
                mine.direction @ theirs.direction / np.linalg.norm(mine.direction) / np.linalg.norm(theirs.direction)
            )
            assert cosine > 0.999
            assert theirs.strength == pytest.approx(mine.strength, rel=0.02)


@pytest.mark.parametrize(
    "faults", [("cut", "restart"), ("slow", "slow", "slow"), ("forget",), ("slow", "forget", "cut"), ("interrupt",)]
)
def test_a_server_that_is_slow_away_restarted_or_interrupted_changes_nothing(
    preset: Preset, loras: Path, workflow: Path, faults: tuple[str, ...]
) -> None:
    with through(preset, loras, workflow) as (worker, _):
        expected = worker.images(["a street", "a field"], [1, 2])
    with through(preset, loras, workflow, *faults) as (worker, server):
        assert np.array_equal(worker.images(["a street", "a field"], [1, 2]), expected)
        assert server.faults == []
        assert (server.unasked, server.jobs) == (set(), {})  # neither queue nor history has anything of ours


def test_pictures_are_taken_from_memory_where_the_nodes_are_installed(
    preset: Preset, loras: Path, workflow: Path
) -> None:
    with through(preset, loras, workflow) as (worker, _):
        expected = worker.images(["a street"], [1])
    with through(preset, loras, workflow, in_memory=True) as (worker, _):
        assert np.array_equal(worker.images(["a street"], [1]), expected)


def test_a_run_that_is_stopped_goes_on_where_it_was(
    preset: Preset, loras: Path, workflow: Path, library: Library
) -> None:
    with through(preset, loras, workflow) as (worker, server):
        index([loras / "redder.safetensors"], worker, library, precision="glance")
        before = server.number
    with through(preset, loras, workflow) as (worker, server):
        assert index([loras], worker, library, precision="glance").finished
        assert server.number < 3 * before
    assert len(library.adapters.all()) == len(COLOURS)


@pytest.mark.parametrize(
    ("fault", "problem"),
    [
        ("no picture", r"sent something else than a picture \(6 bytes\)"),
        ("two pictures", "2 pictures instead of one"),
        ("wrong size", r"a picture of \(8, 4\) instead of \(8, 8\)"),
        ("fail", r"LoraLoader: shapes differ\), and that without a LoRA: mend the workflow"),
        ("no memory", r"no memory left \(KSampler: out of memory\): end what else uses it"),
    ],
)  # fmt: skip
def test_a_server_that_lies_or_fails_is_found_out(
    preset: Preset, loras: Path, workflow: Path, fault: str, problem: str
) -> None:
    with through(preset, loras, workflow, fault) as (worker, _), pytest.raises(ModelError, match=problem):
        worker.images(["a street"], [1])


def test_an_adapter_that_the_server_cannot_load_is_left_out_and_the_others_go_on(
    preset: Preset, loras: Path, workflow: Path, library: Library
) -> None:
    with through(preset, loras, workflow) as (worker, server):
        index([loras / "redder.safetensors"], worker, library, precision="glance")
        server.faults = ["fail"]
        outcome = index([loras], worker, library, precision="glance")
    (refused,) = outcome.refused
    assert "LoraLoader: shapes differ" in refused.reason
    assert len(outcome.measured) == 1


def test_a_file_that_comfyui_does_not_have_is_left_out(
    preset: Preset, loras: Path, workflow: Path, library: Library, tmp_path: Path
) -> None:
    """Neither one of another name, nor one that only has the same name."""
    elsewhere = three(tmp_path / "elsewhere")
    (elsewhere / "redder.safetensors").rename(elsewhere / "new.safetensors")
    tint(elsewhere / "darker.safetensors", red=-0.2, preferred_weight=0.6)
    with through(preset, loras, workflow) as (worker, _):
        outcome = index([elsewhere / "new.safetensors", elsewhere / "darker.safetensors"], worker, library)

    assert all("does not have this file, or several times" in one.reason for one in outcome.refused)


def test_a_server_that_stays_away_ends_the_run_with_the_remedy(preset: Preset, workflow: Path) -> None:
    with pytest.raises(ModelError, match="does not answer at .*: start it; what was measured is kept"):
        worker_through(
            preset, "http://127.0.0.1:9", workflow, {}, connect=lambda place: ComfyServer(place, patience=0.0)
        )  # fmt: skip


def test_something_else_at_the_address_is_recognised(preset: Preset, workflow: Path) -> None:
    with site(lambda *_: (200, {}, b"<html>")) as (address, _), pytest.raises(ModelError, match="is no ComfyUI"):
        worker_through(preset, address, workflow, {})


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--through", "http://127.0.0.1:9", "--dry-run"), "--dry-run does nothing with --through"),
        (("--through", "http://127.0.0.1:9", "--ray", "local"), "--ray does nothing with --through"),
        (("--through", "http://127.0.0.1:9", "--workers", "2"), "--workers does nothing with --through"),
        (("--workflow", "mine.json"), "--workflow does nothing without --through: leave it out"),
        (("--family", "flux"), "--family does nothing without --through"),
    ],
)
def test_options_that_would_be_passed_over_are_refused(tmp_path: Path, options: tuple[str, ...], problem: str) -> None:
    error = call_unchecked("index", tmp_path, "-l", tmp_path / "library.db", *options).exception
    assert isinstance(error, UsageError)
    assert problem in str(error)
    assert not (tmp_path / "library.db").exists()


# --- workflows --------------------------------------------------------------------------------------------------


def test_a_bare_workflow_bypasses_the_loader() -> None:
    nodes = Workflow.read(WORKFLOW, {}).filled(Fill("a street", 7))
    assert "2" not in nodes
    assert nodes["6"]["inputs"]["model"] == ["1", 0]
    assert nodes["3"]["inputs"] == {"text": "a street", "clip": ["1", 1]}
    assert nodes["6"]["inputs"]["seed"] == 7
    assert nodes["5"]["inputs"]["batch_size"] == 1


def test_only_what_the_output_needs_is_rendered() -> None:
    """A second output would save files of its own."""
    other = {"9": WORKFLOW["8"], "10": {"class_type": "ControlNetLoader", "inputs": {"name": "pose.safetensors"}}}
    workflow = Workflow.read(WORKFLOW | other, {"output": "8"})
    assert workflow.filled(Fill("a street", 7)).keys() == WORKFLOW.keys() - {"2"}
    assert workflow.models == ("base.safetensors",)
    assert workflow.digest("0.9") == Workflow.read(WORKFLOW, {}).digest("0.9")
    with pytest.raises(ProtocolError, match="nothing leads from node 10 to the output, node 8: name another"):
        Workflow.read(WORKFLOW | other, {"output": "8", "lora": "10"})


def test_a_place_for_the_prompt_keeps_the_words_around_it() -> None:
    changed = WORKFLOW | {"3": {"class_type": "CLIPTextEncode", "inputs": {"text": "best, {prompt}", "clip": ["2", 1]}}}
    assert Workflow.read(changed, {}).filled(Fill("a street", 7))["3"]["inputs"]["text"] == "best, a street"


def test_only_what_is_not_varied_counts_for_the_protocol() -> None:
    def digest(**changes: Any) -> str:
        nodes = json.loads(json.dumps(WORKFLOW))
        for place, value in changes.items():
            _, node, name = place.split("_", 2)
            nodes[node]["inputs"][name] = value
        return Workflow.read(nodes, {}).digest("0.9")

    same = digest()
    assert (
        digest(n_3_text="other", n_6_seed=5, n_2_lora_name="x", n_2_strength_model=0.5, n_8_filename_prefix="y") == same
    )
    for change in ({"n_6_steps": 3}, {"n_1_ckpt_name": "other"}, {"n_4_text": "ugly"}, {"n_3_text": "best, {prompt}"}):
        assert digest(**change) != same
    assert Workflow.read(WORKFLOW, {}).digest("1.0") != same


def test_a_model_counts_by_its_hash_where_its_file_is_at_hand(tmp_path: Path) -> None:
    workflow, models = Workflow.read(WORKFLOW, {}), tmp_path / "models"
    assert workflow.models == ("base.safetensors",)
    (models / "checkpoints").mkdir(parents=True)
    checkpoint = models / "checkpoints" / "base.safetensors"
    checkpoint.write_bytes(b"weights")
    hashes = hashes_of(workflow.models, [models])
    assert hashes == {"base.safetensors": hashlib.sha256(b"weights").hexdigest()}
    digest = workflow.digest("0.9", hashes)
    renamed = json.loads(json.dumps(WORKFLOW).replace("base.safetensors", "sub\\\\other.safetensors"))
    (models / "checkpoints" / "sub").mkdir()
    checkpoint.rename(models / "checkpoints" / "sub" / "other.safetensors")
    other = Workflow.read(renamed, {})
    assert other.digest("0.9", hashes_of(other.models, [models])) == digest
    (models / "checkpoints" / "sub" / "other.safetensors").write_bytes(b"replaced")
    assert other.digest("0.9", hashes_of(other.models, [models])) != digest
    assert hashes_of(workflow.models, [models]) == {}


def test_the_command_says_which_models_it_cannot_hash(
    preset: Preset, tmp_path: Path, workflow: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = three(tmp_path / "models" / "loras")
    assert _model_folders([folder]) == [tmp_path / "models"]
    assert _hashes(Workflow.load(workflow, {}), _model_folders([folder])) == {}
    assert "base.safetensors is not here, or several times: only its name counts" in capsys.readouterr().err
    (tmp_path / "models" / "base.safetensors").write_bytes(b"weights")
    assert list(_hashes(Workflow.load(workflow, {}), _model_folders([folder]))) == ["base.safetensors"]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"nodes": []}, r"not in the API's format: save it with Export \(API\)"),
        (
            {"1": WORKFLOW["2"], "9": WORKFLOW["1"]},
            r"has 2 nodes that may be lora \(1, 2\): name it with --node lora=ID",
        ),
        ({"8": {"class_type": "Other", "inputs": {}}}, "has no node for output"),
        (
            {"5": {"class_type": "VAEEncode", "inputs": {}}},
            r"has no node for size \(with width, height and batch_size,",
        ),
        ({"9": WORKFLOW["8"]}, r"has 2 nodes that may be output \(8, 9\): name it with --node output=ID"),
        ({"3": {"class_type": "Text", "inputs": {"text": ["4", 0]}}}, "has no node for prompt"),
    ],
)
def test_a_workflow_that_does_not_tell_its_roles_is_refused(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(ProtocolError, match=problem):
        Workflow.read(WORKFLOW | change, {})


def test_every_text_encoder_gets_the_prompt() -> None:
    """Nodes of SDXL, SD 3, FLUX.1 and the like have a field for each; what a region says is no prompt."""
    flux = {"class_type": "CLIPTextEncodeFlux", "inputs": {
        "clip_l": "x", "t5xxl": "best, {prompt}", "guidance": 3.5, "clip": ["2", 1]}}  # fmt: skip
    region = {"class_type": "GLIGENTextBoxApply", "inputs": {"text": "sun", "conditioning_to": ["3", 0]}}
    sampler = {"class_type": "KSampler", "inputs": WORKFLOW["6"]["inputs"] | {"positive": ["9", 0]}}
    preview = {"class_type": "PreviewImage", "inputs": {"images": ["7", 0]}}
    workflow = Workflow.read(WORKFLOW | {"3": flux, "6": sampler, "9": region, "10": preview}, {})
    assert (workflow.roles["prompt"], workflow.roles["output"]) == ("3", "8")
    filled = workflow.filled(Fill("a street", 7))
    assert [filled["3"]["inputs"][name] for name in ("clip_l", "t5xxl")] == ["a street", "best, a street"]
    assert filled["9"]["inputs"]["text"] == "sun"


def test_roles_can_be_named() -> None:
    assert Workflow.read(WORKFLOW | {"1": WORKFLOW["2"]}, {"lora": "2"}).roles["lora"] == "2"
    with pytest.raises(ProtocolError, match="the workflow has no node '77'"):
        Workflow.read(WORKFLOW, {"lora": "77"})
    for role, node, problem in (
        ("seed", "1", "has no seed of its own"), ("size", "6", "has no width and height of its own"),
        ("lora", "3", "loads no LoRA into a model"), ("output", "7", "shows no images"),
        ("prompt", "6", "has no text of its own"),
    ):  # fmt: skip
        with pytest.raises(ProtocolError, match=f"{problem}: name another with --node {role}=ID"):
            Workflow.read(WORKFLOW, {role: node})
    with pytest.raises(ProtocolError, match="--node model: the roles are prompt, seed, lora, output, size"):
        Workflow.read(WORKFLOW, {"model": "1"})
