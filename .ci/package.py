"""Build sdist and wheel that are the same to the bit each time, check what is in them, and try the wheel.

    python .ci/package.py FOLDER            # build into FOLDER and check
    python .ci/package.py FOLDER --try      # also install the wheel into an empty environment, and search
    python .ci/package.py FOLDER --twice    # also build again, and compare

The date of everything in them is that of the last commit, or ``SOURCE_DATE_EPOCH``.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import venv
import zipfile
from email.parser import Parser
from io import BytesIO
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MOST_BYTES = 80_000_000
NEEDED = (
    "lorascope/py.typed", "lorascope/presets/miniature.toml", "lorascope/prompts/index.toml",
    "lorascope/server/pages/templates/frame.html.jinja", "lorascope/server/pages/static/vendor/",
    "lorascope/miniature/adapters/", "lorascope/miniature/flux/", "licenses/LICENSE",
)  # fmt: skip
UNWANTED = ("tests/", "benchmarks/", "docs/", ".pyc", ".db", "integrations/")


def main() -> None:
    """Build, check, and try."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--try", action="store_true", dest="tried")
    parser.add_argument("--twice", action="store_true")
    options = parser.parse_args()
    os.environ.setdefault("SOURCE_DATE_EPOCH", last_commit())
    built = build(options.folder)
    if problems := [problem for path in built for problem in check(path)]:
        sys.exit("\n".join(problems))
    if options.twice:
        with tempfile.TemporaryDirectory() as again:
            other = build(Path(again))
            if [digest(path) for path in other] != [digest(path) for path in built]:
                sys.exit("building twice gives different files")
    if options.tried:
        attempt(next(path for path in built if path.suffix == ".whl"))
    for path in built:
        print(f"{digest(path)}  {path}")


def last_commit() -> str:
    """The time of the last commit, in seconds since 1970."""
    found = subprocess.run(["git", "log", "-1", "--format=%ct"], cwd=ROOT, capture_output=True, text=True, check=False)
    return found.stdout.strip() or "315532800"


def build(folder: Path) -> list[Path]:
    """Build an sdist, make it reproducible, and build the wheel from that one."""
    run(sys.executable, "-m", "build", "--sdist", "--outdir", str(folder), str(ROOT))
    sdist = next(folder.glob("*.tar.gz"))
    sdist.write_bytes(normalised(sdist.read_bytes(), int(os.environ["SOURCE_DATE_EPOCH"])))
    with tempfile.TemporaryDirectory() as place, tarfile.open(sdist) as archive:
        archive.extractall(place, filter="data")
        run(sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(next(Path(place).iterdir())))
    return [sdist, next(folder.glob("*.whl"))]


def normalised(data: bytes, date: int) -> bytes:
    """A gzipped tar archive with its members in order, all of one date and nobody's in particular."""
    packed = BytesIO()
    with (
        tarfile.open(fileobj=BytesIO(data)) as before,
        gzip.GzipFile(fileobj=packed, mode="wb", filename="", mtime=date) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT) as after,
    ):
        for member in sorted(before.getmembers(), key=lambda one: one.name):
            member.mtime, member.uid, member.gid, member.uname, member.gname = date, 0, 0, "", ""
            member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
            member.pax_headers = {}
            after.addfile(member, before.extractfile(member) if member.isfile() else None)
    return packed.getvalue()


def check(path: Path) -> list[str]:
    """What is wrong with a file: its size, its metadata, what it lacks or should not hold."""
    problems = [f"{path.name} has {path.stat().st_size} bytes, over {MOST_BYTES}"] * (path.stat().st_size > MOST_BYTES)
    if path.suffix != ".whl":
        with tarfile.open(path) as archive:  # some tests without what they need are no use
            return problems + [f"{path.name} holds {name}" for name in archive.getnames() if "/tests/" in name]
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        metadata = Parser().parsestr(archive.read(next(n for n in names if n.endswith("/METADATA"))).decode())
    problems += [f"{path.name} lacks {part}" for part in NEEDED if not any(part in name for name in names)]
    problems += [f"{path.name} holds {name}" for name in names for part in UNWANTED if part in name]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = {"Name": project["name"], "Version": project["version"], "License-Expression": project["license"]}
    for field, value in wanted.items():
        if metadata[field] != value:
            problems.append(f"{path.name}: {field} is {metadata[field]!r}, not {value!r}")
    return problems


def attempt(wheel: Path) -> None:
    """Install the wheel into an empty environment, without torch: search the shipped world, and a library of 0.1.0."""
    with tempfile.TemporaryDirectory() as place:
        venv.create(place, with_pip=True)
        programs = Path(place) / ("Scripts" if sys.platform == "win32" else "bin")
        python, constraints = str(programs / "python"), str(ROOT / "constraints.txt")
        run(python, "-m", "pip", "install", "--quiet", "--constraint", constraints, f"{wheel.resolve()}[parquet]")
        library = Path(place) / "library.db"
        library.write_bytes((ROOT / "tests" / "data" / "library-0.1.0.db").read_bytes())
        adapters = str(ROOT / "src" / "lorascope" / "miniature" / "adapters" / "pencil_sketch_v1.safetensors")
        world = ["--library", str(Path("demo") / "library.db")]
        for words in (
            ["--version"], ["inspect", adapters], ["similar", "redder", "--library", str(library)],
            ["demo", "--ready", "--no-serve"], ["search", "pencil drawing", *world], ["list", *world],
        ):  # fmt: skip
            run(str(programs / "lorascope"), *words, cwd=place)


def digest(path: Path) -> str:
    """The SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def run(*command: str, cwd: str | Path = ROOT) -> None:
    """Run a command that must not fail."""
    subprocess.run(command, cwd=cwd, check=True)


if __name__ == "__main__":
    main()
