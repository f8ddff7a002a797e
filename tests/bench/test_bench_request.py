"""Benchmark requests: sizes, lists of names, numbers."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from img2vid.bench.request import ENGINES, SIZES, choose_engines, choose_size, split_list
from img2vid.errors import BadInput


@pytest.mark.parametrize(
    ("size", "version", "width", "height", "frames"),
    [
        ("tiny", "svd_tiny", 160, 96, 14),
        ("middle", "svd", 512, 256, 14),
        ("full", "svd", 1024, 576, 14),
    ],
)
def test_each_size_has_a_model_and_a_clip(size: str, version: str, width: int, height: int, frames: int) -> None:
    found, settings = choose_size(size, None, {})
    assert (found.name, settings.width, settings.height, settings.num_frames) == (version, width, height, frames)


def test_the_full_size_allows_any_model_and_size() -> None:
    found, settings = choose_size("full", "svd_xt", {"width": "640", "decode_t": "3"})
    assert (found.name, settings.width, settings.height, settings.num_frames, settings.decode_t) == (
        "svd_xt",
        640,
        576,
        25,
        3,
    )


@pytest.mark.parametrize("size", [name for name in SIZES if name != "full"])
def test_only_the_full_size_has_a_choice_of_models(size: str) -> None:
    with pytest.raises(BadInput, match=f"got --size {size}; add --size full or omit --version"):
        choose_size(size, "svd_xt", {})


def test_an_unsupported_size_is_rejected() -> None:
    with pytest.raises(BadInput, match="width must be a multiple of 64 for svd, got 500; try 512"):
        choose_size("middle", None, {"width": "500"})


@given(st.permutations(ENGINES), st.integers(1, len(ENGINES)))
def test_a_list_keeps_its_order(names: list[str], count: int) -> None:
    assert split_list("--engines", ", ".join(names[:count]), ENGINES) == tuple(names[:count])


@pytest.mark.parametrize("text", ["", "native,", "native,comfy", "native sgm"])
def test_unknown_names_are_rejected_with_the_valid_ones(text: str) -> None:
    with pytest.raises(
        BadInput, match="--engines must be a comma-separated list of native, sgm, diffusers, comfyui; got"
    ):
        split_list("--engines", text, ENGINES)


def test_comfyui_takes_part_if_its_folder_is_given(tmp_path: Path) -> None:
    (tmp_path / "comfy").mkdir()
    (tmp_path / "comfy" / "supported_models.py").touch()
    assert choose_engines(None, None) == ("native", "sgm", "diffusers")
    assert choose_engines(None, tmp_path) == ENGINES
    assert choose_engines("comfyui,native", tmp_path) == ("comfyui", "native")
    with pytest.raises(BadInput, match="the engine comfyui needs ComfyUI's folder; add --comfyui FOLDER"):
        choose_engines("native,comfyui", None)
    with pytest.raises(BadInput, match="is not ComfyUI's folder"):
        choose_engines(None, tmp_path / "comfy")


def test_a_repeated_name_is_rejected() -> None:
    with pytest.raises(BadInput, match="--engines contains a name twice: native,native"):
        split_list("--engines", "native,native", ENGINES)
