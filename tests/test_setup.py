"""setup finds the image tools of a machine, tells their models apart, and remembers what measures what."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import homes
import pytest
from fakes import tint
from typer.testing import CliRunner

from lorascope.adapters import read_adapter
from lorascope.cli.app import app
from lorascope.cli.plans import plans
from lorascope.encoders.fake import FakeEncoder
from lorascope.errors import ConfigError, LorascopeError, UsageError
from lorascope.generators.fake import FakeGenerator
from lorascope.installations import (
    Assignment,
    Checkpoint,
    UserConfig,
    find_installations,
    kind_of,
    open_installation,
    propose,
    read_checkpoint,
    usual_places,
)
from lorascope.library import Library
from lorascope.measure.local import LocalWorker
from lorascope.models import config_file
from lorascope.protocol import Preset


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home, beside which nothing of this machine is looked at."""
    place = tmp_path / "home"
    place.mkdir()
    monkeypatch.setattr("lorascope.cli.inventory.usual_places", lambda *_: [place])
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return place


def run(*argv: str | Path, answer: str = "", status: int = 0) -> Any:
    ended = CliRunner().invoke(app, list(map(str, argv)), input=answer)
    if isinstance(ended.exception, LorascopeError):
        raise ended.exception
    assert ended.exit_code == status, ended.output
    return ended


def found(home: Path) -> dict[str, Any]:
    return json.loads(run("setup", "--json").stdout)


def names(paths: Sequence[Path]) -> list[str]:
    return sorted(path.stem for path in paths)


def every_tool(home: Path) -> Path:
    """One installation of each tool; returns ComfyUI's."""
    homes.webui(home / "stable-diffusion-webui")
    homes.webui(home / "forge", "modules_forge/shared.py")
    homes.webui(home / "sdnext", "installer.py")
    homes.invokeai(home / "invokeai")
    homes.swarmui(home / "SwarmUI")
    homes.stability_matrix(home / "StabilityMatrix" / "Data")
    homes.fooocus(home / "Fooocus_win64" / "Fooocus", home / "elsewhere")
    return homes.comfyui(home / "ComfyUI")


def test_every_tool_is_found_by_its_layout(home: Path) -> None:
    every_tool(home)
    tools = {one["tool"]: one for one in found(home)["tools"] if "Packages" not in one["folder"]}
    assert {name: (one["adapters"], one["checkpoints"], one["vaes"]) for name, one in tools.items()} == {
        "ComfyUI": (8, 5, 1), "A1111": (1, 1, 1), "Forge": (1, 1, 1), "SD.Next": (1, 1, 1), "InvokeAI": (1, 1, 0),
        "SwarmUI": (1, 1, 0), "Stability Matrix": (1, 1, 0), "Fooocus": (1, 1, 0),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("system", "place"),
    [
        ("Linux", ".local/share"),
        ("Darwin", "Library/Application Support"),
        ("Windows", "AppData/Roaming"),
        ("Windows", "Documents"),
    ],
)
def test_the_usual_places_of_each_system_are_looked_at(tmp_path: Path, system: str, place: str) -> None:
    root = homes.comfyui(tmp_path / place / "ComfyUI")
    environ = {"APPDATA": str(tmp_path / "AppData" / "Roaming")}
    places = [one for one in usual_places(tmp_path, environ, system) if one.is_relative_to(tmp_path)]
    assert [one.root for one in find_installations(places)] == [root]


def test_each_lineage_is_measured_by_its_preset_on_its_root(home: Path, tmp_path: Path) -> None:
    root = homes.comfyui(home / "ComfyUI")
    homes.cached(tmp_path / "hub")
    proposed = {one["preset"]: (Path(one["base"]), one["adapters"]) for one in found(home)["measure"]}
    checkpoints = root / "models" / "checkpoints"
    assert proposed == {
        "sd15": (checkpoints / "dreamshaper_8.safetensors", ["sd15"]),
        "illustrious": (checkpoints / "Illustrious-XL-v1.0.safetensors", ["sdxl/illustrious", "sdxl"]),
        "pony": (checkpoints / "cyberrealisticPony_v8.safetensors", ["sdxl/pony"]),
        "noobai-vpred": (checkpoints / "merge.safetensors", ["sdxl/noobai"]),
    }


def test_without_other_lineages_sdxl_is_measured_on_what_is_cached(home: Path, tmp_path: Path) -> None:
    homes.lora(home / "ComfyUI" / "models" / "loras" / "one.safetensors")
    (home / "ComfyUI" / "custom_nodes").mkdir()
    homes.cached(tmp_path / "hub")
    base = "stabilityai/stable-diffusion-xl-base-1.0"
    kinds = ["sdxl/sdxl-1.0", "sdxl"]
    assert found(home)["measure"] == [{"preset": "sdxl-paper", "base": base, "adapters": kinds}]


def test_after_setup_index_sorts_every_file_without_a_path(home: Path, tmp_path: Path) -> None:
    homes.comfyui(home / "ComfyUI")
    homes.cached(tmp_path / "hub")
    run("setup", "--yes")
    planned = plans((), "", "", {})
    assert {plan.preset.name: names(plan.paths) for plan in planned.each} == {
        "illustrious": ["dots", "ink", "quiet"], "pony": ["foal"], "noobai-vpred": ["noob"], "sd15": ["old"],
    }  # fmt: skip
    reasons = {Path(one.path).stem: one.reason for one in planned.refused}
    assert reasons["flux"] == "made for FLUX.1: no checkpoint of FLUX.1 was found: give --preset flux-dev and --base"
    assert reasons["rain"] == "made for SDXL (animagine): no preset ships for animagine: give --preset and --base"
    assert sorted(reasons) == ["flux", "rain"]


def test_a_dry_run_without_a_path_names_the_preset_for_every_file_of_every_tool(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    comfyui = every_tool(home)
    homes.denoiser(comfyui / "models" / "diffusion_models" / "flux1-dev.safetensors")
    run("setup", "--yes")

    def loaded(preset: Preset, **_: Any) -> LocalWorker:
        assert Path(preset.base).is_file()
        return LocalWorker(preset, FakeGenerator(preset), [FakeEncoder()])

    monkeypatch.setattr("lorascope.cli.checks.check_models", lambda *_, **__: None)
    monkeypatch.setattr("lorascope.cli.runs.loaded", loaded)
    (quick, *_) = json.loads(run("index", "--dry-run", "--json").stdout)
    presets = {Path(one["path"]).stem: one["preset"] for one in quick["each"]}
    of_sd15 = ["old", "stable-diffusion-webui", "forge", "sdnext", "invoked", "swarm", "matrix", "placed"]
    assert presets == {
        "dots": "illustrious", "ink": "illustrious", "quiet": "illustrious", "foal": "pony", "noob": "noobai-vpred",
        "flux": "flux-dev", **dict.fromkeys(of_sd15, "sd15"),
    }  # fmt: skip
    told = run("index", "--dry-run").output
    assert "made for SDXL (animagine): no preset ships for animagine" in " ".join(told.split())


def test_an_adapter_in_the_names_of_a_denoiser_is_no_checkpoint(tmp_path: Path) -> None:
    module = "double_blocks.3.img_attn.qkv"
    for prefix in ("", "diffusion_model.", "model.diffusion_model."):
        shapes = {f"{prefix}{module}.lora_A.weight": (4, 3072), f"{prefix}{module}.lora_B.weight": (9216, 4)}
        assert read_checkpoint(homes.write(tmp_path / "lora.safetensors", shapes)) is None
        assert read_checkpoint(homes.write(tmp_path / "whole.safetensors", {f"{prefix}{module}.weight": (9216, 3072)}))


def test_a_denoiser_alone_is_proposed_where_there_is_no_whole_model(tmp_path: Path) -> None:
    adapter = read_adapter(homes.lora(tmp_path / "flux.safetensors", "flux"))
    single = Checkpoint(str(tmp_path / "flux1-dev.safetensors"), "flux", "dev")
    folder = Checkpoint(str(tmp_path / "FLUX.1-dev"), "flux", "dev")
    (found,) = propose([adapter], [single])
    assert (found.preset, found.base) == ("flux-dev", single.location)
    (found,) = propose([adapter], [single, folder])
    assert (found.preset, found.base) == ("flux-dev", folder.location)


def test_what_the_command_names_goes_before_the_config_file(home: Path, tmp_path: Path) -> None:
    root = homes.comfyui(home / "ComfyUI")
    run("setup", "--yes")
    (one,) = plans((), "pony", "", {"steps": 3}).each
    assert (one.preset.steps, Path(one.preset.base).stem) == (3, "cyberrealisticPony_v8")
    assert one.paths == [root / "models" / "loras"]
    (one,) = plans([tmp_path], "", "mine/model", {}).each
    assert (one.preset.name, one.preset.base, one.paths) == ("sdxl-paper", "mine/model", [tmp_path])


def test_a_run_without_a_path_measures_each_group_and_stores_the_reasons(tmp_path: Path) -> None:
    fake = Path(__file__).parent / "fake.toml"
    tint(tmp_path / "loras" / "red.safetensors", red=0.2)
    homes.lora(tmp_path / "loras" / "flux.safetensors", "flux")
    kind = kind_of(read_adapter(tmp_path / "loras" / "red.safetensors"))
    UserConfig((tmp_path / "loras",), (Assignment(str(fake), "", (kind,)),)).save(config_file())
    costs = json.loads(run("index", "--dry-run", "--json").stdout)
    assert [cost["adapters"] for cost in costs] == [1, 1, 1, 1]
    told = json.loads(run("index", "--precision", "glance", "--json", status=1).stdout)
    assert (told["measured"], told["refused"]) == (1, 1)
    with Library() as library:
        assert [Path(one.path).stem for one in library.refusals.all()] == ["flux"]
    assert json.loads(run("index", "--precision", "glance", "--json").stdout)["unchanged"] == 1


def test_folders_that_two_tools_share_are_counted_once(home: Path) -> None:
    homes.stability_matrix(home / "StabilityMatrix")
    told = found(home)
    assert [(one["tool"], one["adapters"]) for one in told["tools"]] == [("Stability Matrix", 1), ("A1111", 0)]
    assert "is also a folder of Stability Matrix" in told["notes"][0]
    assert len(told["folders"]) == 1


def test_extra_model_paths_lead_to_further_folders(home: Path, tmp_path: Path) -> None:
    root = homes.comfyui(home / "ComfyUI")
    homes.lora(tmp_path / "more" / "loras" / "one.safetensors")
    homes.lora(tmp_path / "more" / "styles" / "two.safetensors")
    (root / "extra_model_paths.yaml").write_text(
        f"mine:\n  base_path: {tmp_path / 'more'}\n  is_default: true\n  loras: |\n    loras\n    styles\n"
        "dead:\n  base_path: /mnt/unplugged\n  checkpoints: models\nempty:\n",
        "utf-8",
    )
    told = found(home)
    assert told["tools"][0]["adapters"] == 10
    assert told["notes"] == [f"{root / 'extra_model_paths.yaml'} names /mnt/unplugged/models, which is not there: is"
                             " its drive connected?"]  # fmt: skip


@pytest.mark.parametrize("text", ["a: [1, 2", "\ta: b", "- 1\n- 2", "base_path: 3", ""])
def test_a_broken_yaml_costs_only_what_it_names(home: Path, text: str) -> None:
    root = homes.comfyui(home / "ComfyUI")
    (root / "extra_model_paths.yaml").write_text(text, "utf-8")
    told = found(home)
    assert told["tools"][0]["adapters"] == 8
    assert [note.count("extra_model_paths.yaml cannot be read (line 1: ") for note in told["notes"]] in ([], [1])


def test_folders_of_swarmuis_settings_are_found(home: Path) -> None:
    root, other = homes.swarmui(home / "SwarmUI"), home / "comfy models"
    homes.lora(other / "loras" / "shared.safetensors", "sdxl")
    homes.checkpoint(other / "checkpoints" / "base.safetensors", "sdxl")
    (root / "Data" / "Settings.fds").write_text(
        f"#Settings\nIsInstalled: true\nPaths:\n\t#Where models are\n\tModelRoot: Models;{other}\n"
        "\tSDLoraFolder: Lora;loras\n\tSDModelFolder: Stable-Diffusion;checkpoints\nNetwork:\n\tModelRoot: nowhere\n"
    )
    (tool,) = found(home)["tools"]
    assert (tool["adapters"], tool["checkpoints"]) == (2, 2)


@pytest.mark.parametrize("text", ["", "Paths:", "Paths:\n\tModelRoot:\n", "\x00\n\tPaths\n:::\n"])
def test_settings_of_swarmui_that_say_nothing_harm_nothing(text: str, home: Path) -> None:
    (homes.swarmui(home / "SwarmUI") / "Data" / "Settings.fds").write_text(text)
    (tool,) = found(home)["tools"]
    assert (tool["adapters"], tool["checkpoints"]) == (1, 1)


def test_a_root_of_swarmui_that_is_gone_is_named(home: Path) -> None:
    settings = homes.swarmui(home / "SwarmUI") / "Data" / "Settings.fds"
    settings.write_text(f"Paths:\n\tModelRoot: {home}/gone\n")
    assert found(home)["notes"] == [f"{settings} names {home}/gone, which is not there: is its drive connected?"]


def test_a_folder_without_permission_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    locked = homes.comfyui(home / "ComfyUI") / "models" / "loras" / "animagine"
    scandir = os.scandir

    def guarded(path: Any) -> Any:  # root may read every folder, whatever its mode
        if str(path) == str(locked):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return scandir(path)

    monkeypatch.setattr("os.scandir", guarded)
    remedy = "Check that it exists and that you may read it"
    assert found(home)["notes"] == [f"{locked}: cannot be read: Permission denied. {remedy}"]


def test_a_checkpoint_that_cannot_be_read_is_named(home: Path) -> None:
    root = homes.comfyui(home / "ComfyUI")
    (root / "models" / "checkpoints" / "half.safetensors").write_bytes(b"\x00\x01\x00\x00\x00\x00\x00\x00{")
    assert "half.safetensors" in found(home)["notes"][0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        ("", "cannot be read (No such file or directory): name the folder of a tool"),
        ("empty", "is empty: name the folder of the tool"),
        ("other", "is not the folder of Stability Matrix, SwarmUI,"),
    ],
)
def test_a_tool_that_is_none_is_refused(tmp_path: Path, make: str, message: str) -> None:
    folder = tmp_path / "tool"
    if make:
        folder.mkdir()
    if make == "other":
        (folder / "letter.txt").touch()
    with pytest.raises(UsageError) as caught:
        open_installation(folder)
    assert message in str(caught.value)


def test_a_folder_of_models_without_a_tool_can_be_named_from_anywhere(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    homes.lora(tmp_path / "models" / "loras" / "one.safetensors")
    monkeypatch.chdir(tmp_path)
    told = json.loads(run("setup", "--tool", "models", "--json").stdout)
    assert told["folders"] == [str(tmp_path / "models" / "loras")]


def test_a_lora_among_base_models_is_named(home: Path) -> None:
    root = homes.comfyui(home / "ComfyUI")
    stray = root / "models" / "checkpoints" / "stray.safetensors"
    homes.lora(stray)
    assert found(home)["notes"] == [f"{stray} is no base model (lora): move it to where your LoRAs are"]


def test_a_tool_that_is_named_and_found_is_counted_once(home: Path) -> None:
    root = homes.comfyui(home / "ComfyUI")
    told = json.loads(run("setup", "--tool", root, "--json").stdout)
    assert (len(told["tools"]), told["notes"]) == (1, [])


def test_nothing_is_written_unless_it_is_wanted(home: Path) -> None:
    with pytest.raises(UsageError, match="no folder of LoRAs was found"):
        run("setup", "--yes")
    homes.comfyui(home / "ComfyUI")
    assert "Nothing was written" in run("setup", answer="n\n").stdout
    assert found(home)["written"] is False
    run("setup", status=1)  # no answer
    assert not config_file().exists()
    assert "Written: " in run("setup", answer="y\n").stdout
    assert f"Replace {config_file()}?" in run("setup", answer="n\n").stdout


def test_nothing_of_a_tool_is_changed(home: Path) -> None:
    homes.comfyui(home / "ComfyUI")
    before = {path: path.stat().st_mtime_ns for path in home.rglob("*")}
    run("setup", "--yes")
    assert {path: path.stat().st_mtime_ns for path in home.rglob("*")} == before


def test_a_config_file_says_what_was_saved(tmp_path: Path) -> None:
    config = UserConfig(
        (Path('C:\\Lo"RAs'), Path("/home/é 😀\x7f/loras")), (Assignment("sdxl-paper", "", ("sdxl", "sdxl/pony")),)
    )
    config.save(tmp_path / "new" / "config.toml")
    assert UserConfig.load(tmp_path / "new" / "config.toml") == config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("folders = [", "cannot be read"),
        ("folders = 3", "folders is 3: write texts in quotes"),
        ("folder = []", "unknown field 'folder'"),
        ("[measure]\npreset = 'x'", "write [[measure]] tables"),
        ("[[measure]]\npreset = 'x'", "needs preset, base and adapters"),
        ("[[measure]]\npreset = 1\nbase = ''\nadapters = []", "preset and base is [1, '']: write texts in quotes"),
    ],
)
def test_a_broken_config_file_is_named_with_a_remedy(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "config.toml"
    path.write_text(text, "utf-8")
    with pytest.raises(ConfigError) as caught:
        UserConfig.load(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_index_without_a_path_needs_a_config_file() -> None:
    with pytest.raises(UsageError, match="give one, or run `lorascope setup` once"):
        run("index")


def test_without_any_base_model_index_says_so(home: Path) -> None:
    """Presets for SDXL 1.0 were taken for LoRAs of any architecture."""
    homes.lora(home / "ComfyUI" / "models" / "loras" / "one.safetensors")
    (home / "ComfyUI" / "custom_nodes").mkdir()
    run("setup", "--yes")
    with pytest.raises(UsageError, match="setup found no base model for your LoRAs"):
        run("index", "--dry-run")


def test_folders_of_the_config_file_that_are_gone_are_named(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    UserConfig((tmp_path / "here", tmp_path / "gone")).save(config_file())
    planned = plans((), "miniature", "", {})
    assert [plan.paths for plan in planned.each] == [[tmp_path / "here"]]
    assert planned.notes == [f"{tmp_path / 'gone'}, which {config_file()} names, is not there: left out"]
