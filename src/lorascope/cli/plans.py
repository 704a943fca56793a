"""What a run measures with which preset: as the command says, or else as the config file does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lorascope.adapters import read_adapter, scan
from lorascope.cli.checks import chosen_preset
from lorascope.cli.output import counted, print_note
from lorascope.cli.progress import counted_files
from lorascope.errors import AdapterError, UsageError, WrongBase, printable
from lorascope.families import title_of
from lorascope.installations import Assignment, UserConfig, kind_of, reason_against
from lorascope.library import Library, Refusal, default_path
from lorascope.library.refusals import left_out, refusal
from lorascope.models import config_file
from lorascope.protocol import Preset

DEFAULT = "sdxl-paper"


@dataclass(frozen=True)
class Plan:
    """A preset, and the files and folders that it measures."""

    preset: Preset
    paths: Sequence[Path]


@dataclass(frozen=True)
class Plans:
    """What a run does, one preset after the other.

    Attributes:
        each: The presets with their files.
        refused: Files that no preset is for.
        notes: Lines for folders that are not there.
        follow_links: Whether links that lead out of the folders are followed.
    """

    each: Sequence[Plan]
    refused: Sequence[Refusal] = ()
    notes: Sequence[str] = ()
    follow_links: bool = False


def configured_folders() -> tuple[list[Path], list[str]]:
    """The folders of the config file that are there, and a line for each of the others."""
    config = UserConfig.load(config_file())
    there: list[Path] = []
    notes: list[str] = []
    for folder in config.folders if config else ():
        if folder.is_dir():
            there.append(folder)
        else:
            notes.append(f"{printable(str(folder))}, which {config_file()} names, is not there: left out")
    return there, notes


def plans(
    paths: Sequence[Path],
    preset: str,
    base: str,
    changes: Mapping[str, Any],
    *,
    follow_links: bool = False,
    library: Path | None = None,
) -> Plans:
    """Choose presets for files: the one that is named, or by the config file for each kind of adapter.

    Args:
        paths: Files and folders; none for the folders of the config file.
        preset: A shipped name or a file; "" if the command names none.
        base: A base model; "" if the command names none.
        changes: Other fields of the preset, as for `chosen_preset`.
        follow_links: Follow links that lead out of the folders, too.
        library: Whose files need not be read again; the default one if None.

    Raises:
        UsageError: No path is given, and no config file names one that is there.
        ConfigError: The config file cannot be read.
        ProtocolError: There is no such preset, or a value is out of range.
    """
    config = UserConfig.load(config_file()) or UserConfig()
    notes: list[str] = []
    if not paths:
        paths, notes = configured_folders()
        if not paths:
            raise UsageError("no folder is named: give one, or run `lorascope setup` once, which looks for yours")
        if not (preset or base or config.assignments):
            raise UsageError("setup found no base model for your LoRAs: give --preset and --base, or run setup again")
    if preset or base or not config.assignments:
        base = base or next((one.base for one in config.assignments if one.preset == preset), "")
        only = Plan(chosen_preset(preset or DEFAULT, base=base, **changes), paths)
        return Plans([only], notes=notes, follow_links=follow_links)
    chosen = {one: chosen_preset(one.preset, base=one.base, **changes) for one in config.assignments}
    sorted_files, refused = _sorted(paths, config.assignments, _known_kinds(library), follow_links=follow_links)
    return Plans(
        [Plan(chosen[one], files) for one, files in sorted_files.items() if files], refused, notes, follow_links
    )


def check_files(plans: Plans, place: Path | None) -> None:
    """Make sure that a new library would hold something; one that is there may have to forget files.

    Raises:
        UsageError: there is neither a library nor a file that may be an adapter.
    """
    problems: list[AdapterError] = []
    paths = [path for plan in plans.each for path in plan.paths]
    found = next(scan(paths, problems.append, follow_links=plans.follow_links), None)
    if found is None and not problems and not plans.refused and not (place or default_path()).exists():
        where = ", ".join(map(str, paths)) or f"the folders of {config_file()}"
        raise UsageError(printable(f"no adapter file is in {where}: name the folder that yours are in"))


def print_plans(plans: Plans) -> None:
    """Say which preset measures how many files, if there are several, and which folders are not there."""
    for note in plans.notes:
        print_note(note, "yellow")
    for plan in plans.each if len(plans.each) > 1 else ():
        print_note(f"{plan.preset.name} on {plan.preset.base}: {counted(len(plan.paths), 'file')}")


def _known_kinds(place: Path | None) -> Callable[[Path], str | None]:
    """What tells the kind of a file that the library knows by size and time; None for any other."""
    from lorascope.measure.queue import known_key

    if not (place or default_path()).exists():
        return lambda _: None
    with Library(place) as library:
        stamps, kinds = library.adapters.stamps(), library.adapters.kinds()
    return lambda path: kinds.get(known_key(path, stamps) or "")


def _sorted(
    paths: Iterable[Path],
    assignments: Sequence[Assignment],
    known: Callable[[Path], str | None],
    *,
    follow_links: bool,
) -> tuple[dict[Assignment, list[Path]], list[Refusal]]:
    """Each file goes to the assignment of its kind; what cannot be read goes to the first, which says why."""
    by_kind = {kind: one for one in reversed(assignments) for kind in one.adapters}
    found: dict[Assignment, list[Path]] = {one: [] for one in assignments}
    refused: list[Refusal] = []
    with counted_files() as step:
        for path in scan(paths, lambda error: refused.append(refusal(error)), follow_links=follow_links):
            step(path)
            try:
                kind = known(path) or kind_of(read_adapter(path))
            except AdapterError:
                found[assignments[0]].append(path)
                continue
            if kind in by_kind:
                found[by_kind[kind]].append(path)
            else:
                refused.append(_unassigned(path, kind))
    return found, refused


def _unassigned(path: Path, kind: str) -> Refusal:
    name, _, lineage = kind.partition("/")
    reason = f"made for {title_of(name)}{f' ({lineage})' if lineage else ''}: {reason_against(kind)}"
    return left_out(path, WrongBase.code, reason, f"Or add {kind!r} to a [[measure]] table of {config_file()}")
