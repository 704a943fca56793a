"""The table of architectures is complete, free of contradictions, and agrees with diffusers."""

import diffusers
import pytest

from lorascope.families import ARCHITECTURES, architecture, lineage_in, named, title_of


def test_every_row_is_found_by_its_name() -> None:
    assert [architecture(row.name) for row in ARCHITECTURES] == list(ARCHITECTURES)
    assert architecture("no such") is None
    assert (title_of("sdxl"), title_of("no such")) == ("SDXL", "no such")


def test_rows_point_at_rows_and_at_classes_of_diffusers() -> None:
    for row in ARCHITECTURES:
        assert all(architecture(other) for other in row.like)
        assert all(hasattr(diffusers, name) for name in row.pipelines)
        assert row.components[0] in {"unet", "transformer"}


def test_no_spelling_means_two_architectures() -> None:
    spellings = [(text, row.name) for row in ARCHITECTURES for text in row.spellings]
    spellings += [(text, row.name) for row in ARCHITECTURES for one in row.lineages for text in one.spellings]
    assert len({text for text, _ in spellings}) == len(set(spellings))


@pytest.mark.parametrize(
    ("text", "family", "lineage"),
    [
        ("sd_v1", "sd15", None), ("SD 1.5 LCM", "sd15", None), ("SD 2.1 768", "sd2", None), ("SDXL", "sdxl", None),
        ("SDXL 1.0", "sdxl", "sdxl-1.0"), ("stable-diffusion-xl-v1-base/lora", "sdxl", None),
        ("Illustrious", "sdxl", "illustrious"), ("NoobAI", "sdxl", "noobai"), ("Pony", "sdxl", "pony"),
        ("Pony V7", "auraflow", "pony-v7"), ("waiNSFWIllustrious_v140.safetensors", "sdxl", "illustrious"),
        ("ponyDiffusionV6XL_v6.safetensors", "sdxl", "pony"), ("Flux.1 D", "flux", "dev"), ("flux1", "flux", None),
        ("Flux.2 Klein 9B", "flux2", "klein-9b"), ("stable-diffusion-v3/lora", "sd3", None), ("SVD XT", "svd", None),
        ("Hunyuan 1", "hunyuan-dit", None), ("Hunyuan Video", "hunyuan-video", None), ("LTXV2", "ltx", "ltx-2"),
        ("Wan Video 14B t2v", "wan", "14b"), ("ZImageTurbo", "z-image", "turbo"), ("qwen_image", "qwen-image", None),
        ("miniature-v1/lora", "miniature", None), ("PixArt a", "pixart", None), ("Lumina", "lumina2", None),
    ],
)  # fmt: skip
def test_what_headers_and_sites_write_is_understood(text: str, family: str, lineage: str | None) -> None:
    found = named(text)
    assert found is not None
    assert (found[0].name, found[1] and found[1].name) == (family, lineage)


@pytest.mark.parametrize(
    "text", ["", "Unknown", "Other", "None", "ODOR", "my merge", "ponytail", "Wanderlust", "AnimateDiff", "chromatic"]
)
def test_what_names_no_architecture_is_none(text: str) -> None:
    assert named(text) is None


@pytest.mark.parametrize(
    ("text", "lineage"),
    [
        ("cyberrealisticPony_v8.safetensors", "pony"), ("ponyxl_v6", "pony"), ("ponytail_v2", ""),
        ("/models/hassakuXL-illustrious.ckpt", "illustrious"), ("animaPencilXL_v5", ""),
        ("stabilityai/stable-diffusion-xl-base-1.0", "sdxl-1.0"),
    ],
)  # fmt: skip
def test_the_lineage_is_found_in_the_name_of_a_checkpoint(text: str, lineage: str) -> None:
    assert lineage_in(text) == lineage
