"""Controls after a change of version, a reset, and presets of img2vid and of the user."""

from pathlib import Path
from typing import Any

import pytest

from img2vid.errors import BadInput, ConfigError
from img2vid.presets import (
    KEPT,
    delete_preset,
    find_preset,
    load_presets,
    own_presets,
    reset,
    save_preset,
    switched,
)
from img2vid.settings import SampleSettings
from img2vid.versions import ModelVersion, find_version, load_versions

SHIPPED = ["Reference", "Fast", "Draft"]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("IMG2VID_HOME", str(tmp_path))
    return tmp_path


def controls(version: str = "svd_tiny", **changed: Any) -> dict[str, Any]:
    return find_version(version).settings(changed).model_dump()


# Versions


def test_untouched_controls_become_the_other_versions_defaults() -> None:
    for old in load_versions().values():
        for new in load_versions().values():
            assert switched(controls(old.name), old, new) == new.settings({}).model_dump()


@pytest.mark.parametrize(
    ("old", "new", "changed", "expected"),
    [
        ("svd", "svd_xt", {"num_frames": 10}, {"num_frames": 25}),
        ("svd", "svd_xt", {"num_steps": 50, "max_scale": 4.0}, {"num_steps": 30, "max_scale": 3.0}),
        ("svd", "svd_xt", {"decode_t": 1, "fps": 12, "seed": 5}, {"decode_t": 1, "fps": 12, "seed": 5}),
        ("svd", "svd_xt", {"height": 1024, "width": 576}, {"height": 1024, "width": 576}),
        ("svd", "svd_image_decoder", {"num_frames": 10, "num_steps": 50}, {"num_frames": 10, "num_steps": 50}),
        ("svd_tiny", "svd", {"height": 128, "width": 128}, {"height": 576, "width": 1024}),
        ("svd_tiny", "svd", {"sampler": "HeunEDMSampler"}, {"sampler": "HeunEDMSampler", "version": "svd"}),
    ],
)
def test_what_the_user_set_stays_where_both_versions_agree(
    old: str, new: str, changed: dict[str, Any], expected: dict[str, Any]
) -> None:
    values = switched(controls(old, **changed), find_version(old), find_version(new))
    assert {name: values[name] for name in expected} == expected
    find_version(new).settings(values)


def test_a_size_that_the_new_version_cannot_make_is_replaced() -> None:
    fine = find_version("svd_tiny")
    coarse: ModelVersion = fine.model_copy(update={"name": "coarse", "size_step": 32})
    values = switched(controls("svd_tiny", height=112), fine, coarse)
    assert (values["height"], values["width"]) == (96, 160)
    assert switched(controls("svd_tiny", height=128), fine, coarse)["height"] == 128


def test_a_reset_leaves_the_seed() -> None:
    values = reset(controls("svd_xt", seed=5, fps=12), find_version("svd_xt"))
    assert values == controls("svd_xt", seed=5)


# Presets


@pytest.mark.parametrize("version", load_versions())
@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_presets_suit_every_version(name: str, version: str) -> None:
    preset = find_preset(name)
    found = SampleSettings(**preset.applied(controls(version), find_version(version)))
    assert preset.about
    assert (found.model_dump() == controls(version)) == (name == "Reference")
    assert found.num_steps <= (find_version(version).settings({}).num_steps if name == "Reference" else 10)


def test_reference_is_the_versions_defaults() -> None:
    changed = controls("svd_xt", num_steps=3, sampler="HeunEDMSampler", max_scale=1.0)
    assert find_preset("Reference").applied(changed, find_version("svd_xt")) == controls("svd_xt")


def test_a_preset_never_changes_picture_seed_or_file() -> None:
    kept: dict[str, Any] = {"seed": 9, "num_samples": 3, "saving_fps": 12.0, "watermark": False}
    kept |= {"fitting": "object", "crop_offset": 0.2, "object_share": 0.5}
    kept |= {"elevation": 30.0, "trajectory": "dynamic", "elevations": "", "azimuths": ""}
    assert {*kept, "version"} == {*KEPT}
    found = find_preset("Draft").applied(controls(**kept), find_version("svd_tiny"))
    assert kept == {name: found[name] for name in kept}


def test_a_saved_preset_has_what_differs_and_suits_other_versions() -> None:
    save_preset(
        "  Slow   pan ", controls("svd_tiny", motion_bucket_id=20, seed=9, num_steps=40), find_version("svd_tiny")
    )
    preset = load_presets()[0]["Slow pan"]
    assert (preset.own, preset.settings) == (True, {"motion_bucket_id": 20, "num_steps": 40})
    found = preset.applied(controls("svd_xt", seed=7), find_version("svd_xt"))
    assert found == controls("svd_xt", motion_bucket_id=20, num_steps=40, seed=7)


def test_saving_again_replaces_and_deleting_removes() -> None:
    version = find_version("svd_tiny")
    save_preset("A", controls(fps=7), version)
    save_preset("B", controls(fps=8), version)
    save_preset("A", controls(fps=9), version)
    assert {name: one.settings for name, one in load_presets()[0].items() if one.own} == {
        "A": {"fps": 9},
        "B": {"fps": 8},
    }
    delete_preset("A")
    delete_preset("A")
    assert [*load_presets()[0]] == [*SHIPPED, "B"]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("", "must have 1 to 40 characters, got ''"),
        (" \n ", "must have 1 to 40 characters"),
        ("x" * 41, "must have 1 to 40 characters"),
        ("a\x00b", "must have 1 to 40 characters"),
        ("Fast", "^Fast is a preset of img2vid; choose another name$"),
    ],
)
def test_an_unusable_name_is_refused(name: str, sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        save_preset(name, controls(), find_version("svd_tiny"))
    assert not own_presets().exists()


def test_an_unknown_preset_is_refused_with_the_names() -> None:
    with pytest.raises(BadInput, match=r"^there is no preset 'Slow'; choose one of Reference, Fast, Draft$"):
        find_preset("Slow")


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("{settings: {seed: 3}}", "'seed' is not a setting that a preset can have"),
        ("{settings: {glow: 3}}", "'glow' is not a setting"),
        ("{settings: {fps: 0}}", "fps must be a whole number from 1 to 1000"),
        ("{settings: [1]}", "valid dictionary"),
        ("{fps: 3}", "Field required"),
        ("{1: 2}", "no settings"),
        ("3", "no settings"),
        ("{own: true, settings: {}}", "no settings"),
    ],
)
def test_an_invalid_preset_is_named_and_the_others_stay(row: str, said: str) -> None:
    own_presets().write_text(f"Bad: {row}\nGood: {{settings: {{fps: 7}}}}\n", encoding="utf-8")
    presets, (problem,) = load_presets()
    assert [*presets] == [*SHIPPED, "Good"]
    assert problem.startswith(f"the preset 'Bad' in {own_presets()} is not valid: ")
    assert said in problem
    with pytest.raises(BadInput, match=r"there is no preset 'Bad'; the preset 'Bad' in .* is not valid"):
        find_preset("Bad")


@pytest.mark.parametrize("text", ["Good: [", "3", "- a", "\x00"])
def test_a_damaged_file_leaves_the_shipped_presets_and_is_not_overwritten(text: str) -> None:
    own_presets().write_text(text, encoding="utf-8")
    presets, problems = load_presets()
    assert [*presets] == SHIPPED
    assert len(problems) == 1
    with pytest.raises(ConfigError):
        save_preset("A", controls(), find_version("svd_tiny"))
    assert own_presets().read_text(encoding="utf-8") == text


def test_a_preset_that_the_version_cannot_make_is_refused() -> None:
    save_preset("Small", controls(height=80), find_version("svd_tiny"))
    with pytest.raises(BadInput, match="height must be a multiple of 64 for svd_xt, got 80"):
        find_preset("Small").applied(controls("svd_xt"), find_version("svd_xt"))
