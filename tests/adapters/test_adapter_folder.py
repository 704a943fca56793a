"""Every candidate in a tree is found once, in order, whatever the tree is like."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from lorascope.adapters import scan
from lorascope.errors import UnreadableAdapter


def lay(folder: Path, *names: object) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def found(folder: Path, report: Callable[[UnreadableAdapter], None] | None = None) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in scan([folder], report)]


def test_adapters_and_pickles_are_found_and_other_files_are_not(tmp_path: Path) -> None:
    lay(tmp_path, "b.safetensors", "a.SAFETENSORS", "old.pt", "old.ckpt", "old.bin", "old.pth", "a.png", "a.json")
    assert found(tmp_path) == ["a.SAFETENSORS", "b.safetensors", "old.bin", "old.ckpt", "old.pt", "old.pth"]


def test_files_of_a_folder_come_before_those_below_it(tmp_path: Path) -> None:
    lay(tmp_path, "z.safetensors", "b/y.safetensors", "a/x.safetensors", "a/deep/er/w.safetensors")
    assert found(tmp_path) == ["z.safetensors", "a/x.safetensors", "a/deep/er/w.safetensors", "b/y.safetensors"]


def test_hidden_files_and_folders_are_left_out(tmp_path: Path) -> None:
    lay(tmp_path, ".hidden.safetensors", ".trash/x.safetensors", "seen.safetensors")
    assert found(tmp_path) == ["seen.safetensors"]


def test_links_are_followed_and_loops_survived(tmp_path: Path) -> None:
    lay(tmp_path, "real/x.safetensors")
    (tmp_path / "real" / "back").symlink_to(tmp_path)
    (tmp_path / "file.safetensors").symlink_to(tmp_path / "real" / "x.safetensors")
    (tmp_path / "self.safetensors").symlink_to("self.safetensors")
    (tmp_path / "selfdir").symlink_to("selfdir")
    (tmp_path / "again").symlink_to(tmp_path / "real")
    # a link that leads nowhere is yielded, so that opening it can say so
    assert found(tmp_path) == ["file.safetensors", "self.safetensors", "again/x.safetensors"]


def test_a_pipe_is_yielded_so_that_opening_it_can_say_what_it_is(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.safetensors")
    assert found(tmp_path) == ["pipe.safetensors"]


def test_a_folder_that_cannot_be_read_is_reported_and_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay(tmp_path, "locked/x.safetensors", "open/y.safetensors")
    true_scandir = os.scandir

    def scandir(path: str) -> object:
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied")
        return true_scandir(path)

    monkeypatch.setattr(os, "scandir", scandir)
    reported: list[UnreadableAdapter] = []
    assert found(tmp_path, reported.append) == ["open/y.safetensors"]
    assert [(error.path.name, error.reason) for error in reported] == [("locked", "cannot be read: Permission denied")]
    assert found(tmp_path) == ["open/y.safetensors"]


def test_files_that_are_named_are_yielded_once_whatever_they_are(tmp_path: Path) -> None:
    lay(tmp_path, "x.safetensors")
    missing = tmp_path / "missing.txt"
    assert list(scan([tmp_path / "x.safetensors", tmp_path, missing, missing])) == [tmp_path / "x.safetensors", missing]


def test_a_folder_with_the_name_of_an_adapter_is_searched(tmp_path: Path) -> None:
    lay(tmp_path, "folder.safetensors/x.safetensors")
    assert found(tmp_path) == ["folder.safetensors/x.safetensors"]


@pytest.mark.parametrize("name", ["ÿ雪.safetensors", "a b\n.safetensors", "x.y.z.safetensors"])
def test_odd_names_are_found(name: str, tmp_path: Path) -> None:
    lay(tmp_path, name)
    assert [path.name for path in scan([tmp_path])] == [name]


def test_a_very_deep_tree_is_searched(tmp_path: Path) -> None:
    deep = tmp_path
    for _ in range(300):
        deep = deep / "d"
    lay(deep, "x.safetensors")
    assert len(list(scan([tmp_path]))) == 1


def test_links_out_of_the_named_folders_are_reported_and_not_followed(tmp_path: Path) -> None:
    lay(tmp_path, "mine/x.safetensors", "other/y.safetensors", "other/deep/z.safetensors")
    (tmp_path / "mine" / "folder").symlink_to(tmp_path / "other" / "deep")
    (tmp_path / "mine" / "file.safetensors").symlink_to(tmp_path / "other" / "y.safetensors")
    (tmp_path / "mine" / "notes.txt").symlink_to("/etc/hostname")
    reported: list[UnreadableAdapter] = []
    assert found(tmp_path / "mine", reported.append) == ["x.safetensors"]
    assert sorted(error.path.name for error in reported) == ["file.safetensors", "folder"]
    for error in reported:
        target = error.path.resolve()
        assert str(error).endswith(
            f"it links to {target}, outside of the folders that are named. Name that place, too, or use --follow-links"
        )
    both = [path.name for path in scan([tmp_path / "mine", tmp_path / "other" / "deep"])]
    assert both == ["x.safetensors", "z.safetensors"]


def test_links_out_of_the_folders_are_followed_where_that_is_asked(tmp_path: Path) -> None:
    lay(tmp_path, "mine/x.safetensors", "other/y.safetensors", "other/deep/z.safetensors")
    (tmp_path / "mine" / "folder").symlink_to(tmp_path / "other" / "deep")
    (tmp_path / "mine" / "file.safetensors").symlink_to(tmp_path / "other" / "y.safetensors")
    (tmp_path / "other" / "deep" / "back").symlink_to(tmp_path / "mine")
    reported: list[UnreadableAdapter] = []
    files = scan([tmp_path / "mine"], reported.append, follow_links=True)
    assert [path.name for path in files] == ["file.safetensors", "x.safetensors", "z.safetensors"]
    assert reported == []


def test_sft_is_an_ending_of_adapters(tmp_path: Path) -> None:
    lay(tmp_path, "a.sft", "b.SFT")
    assert found(tmp_path) == ["a.sft", "b.SFT"]
