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


def job() -> dict[str, Any]:
    return yaml.safe_load((EXAMPLES / "kuberay.yaml").read_text("utf-8"))


@pytest.mark.parametrize("group", ["headGroupSpec", "workerGroupSpecs"])
def test_pods_of_the_manifest_are_valid(group: str) -> None:
    """The schema of RayJob itself is the operator's; what is in it is pods, whose schema is Kubernetes' own."""
    found = job()["spec"]["rayClusterSpec"][group]
    for one in found if isinstance(found, list) else [found]:
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, **one["template"]}
        kubernetes_validate.validate(pod, "1.31", strict=True)


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
