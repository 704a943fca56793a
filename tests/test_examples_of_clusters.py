"""The examples for clusters are what Kubernetes and a shell can read, and call lorascope as it can be called."""

from __future__ import annotations

import re
import shlex
import subprocess
from typing import Any

import kubernetes_validate
import pytest
import yaml
from documents import ROOT, commands

EXAMPLES = ROOT / "examples"


FIELDS = {
    "": ({"apiVersion", "kind", "metadata", "spec"}, set()),
    "spec": (
        {"rayClusterSpec", "entrypoint"},
        {"shutdownAfterJobFinishes", "backoffLimit", "activeDeadlineSeconds", "ttlSecondsAfterFinished", "suspend"},
    ),
    "spec.rayClusterSpec": ({"headGroupSpec", "workerGroupSpecs"}, {"rayVersion"}),
    "spec.rayClusterSpec.headGroupSpec": ({"template", "rayStartParams"}, {"serviceType"}),
    "spec.rayClusterSpec.workerGroupSpecs.0": (
        {"groupName", "minReplicas", "maxReplicas", "template", "rayStartParams"},
        {"replicas", "numOfHosts"},
    ),
}
"""Fields of RayJob (ray.io/v1) that are needed, and some that may be given, as KubeRay 1.1 to 1.6 have them."""


def job() -> dict[str, Any]:
    return yaml.safe_load((EXAMPLES / "kuberay.yaml").read_text("utf-8"))


@pytest.mark.parametrize("group", ["headGroupSpec", "workerGroupSpecs"])
def test_pods_of_the_manifest_are_valid(group: str) -> None:
    """The schema of RayJob itself is the operator's; what is in it is pods, whose schema is Kubernetes' own."""
    found = job()["spec"]["rayClusterSpec"][group]
    for one in found if isinstance(found, list) else [found]:
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, **one["template"]}
        kubernetes_validate.validate(pod, "1.31", strict=True)


@pytest.mark.parametrize("path", FIELDS)
def test_the_manifest_has_the_fields_that_the_operator_knows(path: str) -> None:
    found: Any = job()
    for step in filter(None, path.split(".")):
        found = found[int(step) if step.isdecimal() else step]
    needed, allowed = FIELDS[path]
    assert needed <= found.keys() <= needed | allowed
    starts = [value for name, value in found.items() if name == "rayStartParams"]
    assert all(isinstance(value, str) for start in starts for value in start.values())


def test_only_the_head_can_write_and_every_claim_is_mounted() -> None:
    spec = job()["spec"]["rayClusterSpec"]
    head, worker = (one["template"]["spec"] for one in (spec["headGroupSpec"], spec["workerGroupSpecs"][0]))
    for pod in (head, worker):
        mounts = {one["name"]: one for one in pod["containers"][0]["volumeMounts"]}
        assert mounts.keys() == {one["name"] for one in pod["volumes"]}
        writable = [name for name, one in mounts.items() if not one.get("readOnly")]
        assert writable == (["library"] if pod is head else [])


def test_a_pod_that_is_wrong_is_noticed() -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": {"container": []}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(pod, "1.31", strict=True)


def test_the_script_for_slurm_is_valid_shell() -> None:
    assert subprocess.run(["bash", "-n", EXAMPLES / "slurm.sh"], check=False).returncode == 0


def test_the_examples_call_lorascope_as_it_can_be_called() -> None:
    script = (EXAMPLES / "slurm.sh").read_text("utf-8").replace("\\\n", " ")
    (line,) = re.findall(r"^srun .*(lorascope index .*?)(?: &)?$", script, re.MULTILINE)
    for call in (line, job()["spec"]["entrypoint"]):
        _, verb, *arguments = shlex.split(call)
        commands()[verb].make_context(verb, arguments)
