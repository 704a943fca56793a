"""What is released: built alike each time, with all that is needed and no more; workflows that fit the project."""

from __future__ import annotations

import importlib.util
import io
import re
import tarfile
import tomllib
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
VERSIONS = ["3.11", "3.12", "3.13", "3.14"]


@pytest.fixture(scope="module")
def package() -> ModuleType:
    spec = importlib.util.spec_from_file_location("package", ROOT / ".ci" / "package.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def archive(date: int, owner: str, *names: str) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as made:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size, member.mtime, member.uname = 1, date, owner
            made.addfile(member, io.BytesIO(b"x"))
    return packed.getvalue()


def test_two_archives_of_the_same_files_become_the_same(package: ModuleType) -> None:
    one = package.normalised(archive(1, "me", "a/b", "a/c"), 1_700_000_000)
    assert one == package.normalised(archive(2, "you", "a/c", "a/b"), 1_700_000_000)
    with tarfile.open(fileobj=io.BytesIO(one)) as found:
        assert [(member.name, member.mtime) for member in found] == [("a/b", 1_700_000_000), ("a/c", 1_700_000_000)]


def test_what_a_wheel_lacks_or_should_not_hold_is_named(package: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "lorascope.whl"
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("lorascope.dist-info/METADATA", "Name: lorascope\nVersion: 9\nLicense-Expression: Apache-2.0\n")
        made.writestr("lorascope/py.typed", "")
        made.writestr("tests/test_x.py", "")
    problems = package.check(path)
    assert "lorascope.whl lacks lorascope/presets/miniature.toml" in problems
    assert "lorascope.whl holds tests/test_x.py" in problems
    assert f"lorascope.whl: Version is '9', not {PROJECT['version']!r}" in problems
    assert not any("py.typed" in problem for problem in problems)


def test_a_source_distribution_holds_no_half_of_the_tests(package: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "lorascope.tar.gz"
    path.write_bytes(archive(1, "me", "lorascope/tests/test_x.py", "lorascope/src/lorascope/grid.py"))
    assert package.check(path) == ["lorascope.tar.gz holds lorascope/tests/test_x.py"]


def test_what_a_wheel_needs_is_in_the_source(package: ModuleType) -> None:
    ours = [part for part in package.NEEDED if part.startswith("lorascope/")]
    assert [part for part in ours if not (ROOT / "src" / part).exists()] == []


def workflow(name: str) -> Any:
    return yaml.safe_load((ROOT / ".github" / "workflows" / f"{name}.yml").read_text("utf-8"))


def test_every_supported_python_is_tested_on_every_system() -> None:
    matrix = workflow("check")["jobs"]["test"]["strategy"]["matrix"]
    assert matrix["python"] == VERSIONS
    assert [re.match(r"\w+", system)[0] for system in matrix["system"]] == ["ubuntu", "macos", "windows"]  # type: ignore[index]
    named = re.findall(r":: (3\.\d+)$", "\n".join(PROJECT["classifiers"]), re.MULTILINE)
    assert named == VERSIONS
    assert PROJECT["requires-python"] == f">={VERSIONS[0]}"


def test_only_the_publishing_job_may_write_and_it_holds_no_secret() -> None:
    for name in ("check", "release"):
        assert workflow(name)["permissions"] == {"contents": "read"}
    jobs = workflow("release")["jobs"]
    assert [name for name, job in jobs.items() if "permissions" in job] == ["publish"]
    assert jobs["publish"]["permissions"]["id-token"] == "write"
    assert "secrets." not in (ROOT / ".github" / "workflows" / "release.yml").read_text("utf-8")


def test_nothing_is_published_that_was_not_tested() -> None:
    jobs = workflow("release")["jobs"]
    assert jobs["check"]["uses"] == "./.github/workflows/check.yml"
    assert (jobs["build"]["needs"], jobs["publish"]["needs"]) == ("check", "build")
    assert "--try --twice" in str(jobs["build"]["steps"])


def test_workflows_run_programs_that_are_there() -> None:
    steps = [
        step
        for name in ("check", "release")
        for job in workflow(name)["jobs"].values()
        for step in job.get("steps", [])
    ]
    lines = "\n".join(str(step.get("run", "")) for step in steps)
    programs = re.findall(r"(?:^|\s)(\.ci/[\w.]+)", lines)
    assert len(programs) == 2
    assert [name for name in programs if not (ROOT / name).is_file()] == []


def test_the_container_copies_what_is_there_and_runs_as_nobody_special() -> None:
    lines = (ROOT / "Containerfile").read_text("utf-8").splitlines()
    copies = [line.split()[1:-1] for line in lines if line.startswith("COPY ") and "--from" not in line]
    copied = [name for names in copies for name in names]
    assert [name for name in copied if not (ROOT / name).exists()] == []
    assert "USER 1000" in lines
