"""Rows of versions.yaml: built-in and user rows, and messages for invalid rows and missing files."""

import hashlib
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from img2vid import paths
from img2vid.errors import BadInput, CheckpointError, ConfigError
from img2vid.orbit import dynamic, level
from img2vid.settings import ABOUT, SampleSettings
from img2vid.versions import ModelVersion, find_version, load_versions

FULL = ["svd", "svd_image_decoder", "svd_xt", "svd_xt_image_decoder", "svd_xt_1_1"]
SV3D = ["sv3d_u", "sv3d_p"]
SHIPPED = ["svd_tiny", "svd_tiny_xt", *FULL, *SV3D]
ROW: dict[str, Any] = {
    "num_frames": 14,
    "height": 576,
    "width": 1024,
    "downsampling": 8,
    "size_step": 64,
    "config": "svd.yaml",
    "checkpoint": "mine.safetensors",
    "licence": "my own",
    "source": "my training",
}


def row(**changes: object) -> str:
    """Return one version called `mine` as YAML."""
    fields = {**ROW, **changes}
    return yaml.safe_dump({"mine": {name: value for name, value in fields.items() if value is not ...}})


def without(name: str) -> str:
    return row(**{name: ...})


# Built-in versions


def test_the_versions_are_listed_in_the_order_of_the_file() -> None:
    assert list(load_versions())[: len(SHIPPED)] == SHIPPED


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_version_has_its_configuration_and_a_size_it_can_make(name: str) -> None:
    version = find_version(name)
    assert version.config_path.is_file()
    settings = version.settings({})
    assert (settings.version, settings.num_frames) == (name, version.num_frames)
    assert (settings.height, settings.width) == (version.height, version.width)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_version_agrees_with_its_configuration(name: str) -> None:
    from img2vid.engine.config import load_config

    version = find_version(name)
    config = load_config(version.config_path)
    assert version.downsampling == config.first_stage.downsampling
    assert version.size_step % config.size_step == 0


@pytest.mark.parametrize("name", FULL)
def test_the_full_models_start_with_the_reference_demos_defaults(name: str) -> None:
    settings = find_version(name).settings({})
    long = name.startswith("svd_xt")
    assert (settings.height, settings.width, settings.num_frames) == (576, 1024, 25 if long else 14)
    assert (settings.num_steps, settings.max_scale, settings.min_scale) == ((30, 3.0, 1.5) if long else (25, 2.5, 1.0))
    assert (settings.sampler, settings.guider) == ("EulerEDMSampler", "LinearPredictionGuider")
    assert (settings.sigma_min, settings.sigma_max, settings.rho) == (0.002, 700, 7)
    assert (settings.fps, settings.motion_bucket_id, settings.cond_aug) == (6, 127, 0.02)
    assert (settings.seed, settings.decode_t) == (23, 14)


@pytest.mark.parametrize("name", SV3D)
def test_sv3d_starts_with_the_reference_demos_defaults(name: str) -> None:
    settings = find_version(name).settings({})
    assert (settings.height, settings.width, settings.num_frames, settings.num_steps) == (576, 576, 21, 50)
    assert (settings.guider, settings.max_scale, settings.min_scale) == ("TrianglePredictionGuider", 2.5, 1.0)
    assert (settings.sigma_min, settings.sigma_max, settings.rho) == (0.002, 700, 7)
    assert (settings.cond_aug, settings.file_fps, settings.decode_t) == (1e-5, 10, 14)
    assert (settings.elevation, settings.trajectory, settings.fitting) == (5, "same elevation", "object")


def test_a_version_uses_the_settings_that_it_is_conditioned_on() -> None:
    orbit = ["elevation", "trajectory", "elevations", "azimuths"]
    names = ["fps", "motion_bucket_id", "cond_aug", *orbit]
    used = {name: [*filter(find_version(name).uses, names)] for name in ("svd", *SV3D)}
    assert used == {
        "svd": ["fps", "motion_bucket_id", "cond_aug"],
        "sv3d_u": ["cond_aug", "elevation"],
        "sv3d_p": ["cond_aug", *orbit],
    }


def test_the_camera_path_is_that_of_the_model() -> None:
    given = {"elevation": 20, "trajectory": "dynamic"}
    settings = find_version("sv3d_p").settings(given)
    assert find_version("sv3d_p").camera_path(settings) == settings.orbit == dynamic(21, 20, 23)
    assert find_version("sv3d_u").camera_path(settings) == level(21, 20)
    assert find_version("svd").camera_path(settings) is None


def test_lists_of_angles_have_one_for_each_view() -> None:
    with pytest.raises(BadInput, match=r"^elevations must have one number for each of 21 views, got 2$"):
        find_version("sv3d_p").settings({"elevations": "1 2"})
    assert find_version("sv3d_p").settings({"elevations": "1 2", "num_frames": 2}).orbit.elevations == (1, 2)


def test_settings_without_effect_are_named() -> None:
    (said,) = find_version("sv3d_u").warnings(find_version("sv3d_u").settings({"trajectory": "dynamic"}))
    assert said == "Trajectory has no effect with sv3d_u; sv3d_p takes camera angles."
    assert find_version("sv3d_p").warnings(find_version("sv3d_p").settings({"trajectory": "dynamic", "fps": 99})) == []


def test_the_small_checkpoint_is_the_one_that_the_row_describes() -> None:
    version = find_version("svd_tiny")
    path = paths.PROJECT / "checkpoints" / version.checkpoint
    if not path.is_file():
        pytest.skip("the small checkpoint is not there")
    assert path.stat().st_size < 20e6
    if version.bytes is not None:
        assert path.stat().st_size == version.bytes
    if version.sha256 is not None:
        assert hashlib.sha256(path.read_bytes()).hexdigest() == version.sha256


# Settings of a version


@pytest.mark.parametrize(("name", "side", "given", "near"), [("svd", "height", 600, 576), ("svd", "width", 1000, 1024)])
def test_a_size_that_the_model_cannot_make_is_refused_with_the_nearest(
    name: str, side: str, given: int, near: int
) -> None:
    version = find_version(name)
    with pytest.raises(BadInput, match=rf"^{side} must be a multiple of 64 for {name}, got {given}; try {near}$"):
        version.settings({side: given})
    assert getattr(version.settings({side: near}), side) == near


@pytest.mark.parametrize("step", [32, 48, 96, 640])
@pytest.mark.parametrize("side", [67, 2047])
def test_the_size_that_is_proposed_is_one_that_is_taken(configs: Callable[..., Path], step: int, side: int) -> None:
    """With a step of 48, the multiple nearest to 2047 is above the maximum size, and that of 67 below the minimum."""
    configs(row(height=step * 2, width=step * 2, size_step=step))
    version = find_version("mine")
    with pytest.raises(BadInput) as caught:
        version.settings({"height": side})
    proposed = int(str(caught.value).rpartition(" ")[2])
    assert version.settings({"height": proposed}).height == proposed
    assert ABOUT["height"].lowest <= proposed <= ABOUT["height"].highest


def test_overrides_win_over_the_rows_defaults_and_those_over_the_controls(configs: Callable[..., Path]) -> None:
    configs(row(defaults={"num_steps": 7, "fps": 9}))
    settings = find_version("mine").settings({"fps": "12"})
    assert (settings.num_steps, settings.fps) == (7, 12)
    assert settings.motion_bucket_id == SampleSettings().motion_bucket_id


def test_an_unknown_version_is_refused_with_the_names_that_there_are(configs: Callable[..., Path]) -> None:
    configs(row(), "yours:\n" + row().partition("\n")[2])
    with pytest.raises(BadInput, match=r"^there is no model version 'his'; choose one of mine, yours$"):
        find_version("his")


# Warnings


@pytest.mark.parametrize("name", SHIPPED)
def test_the_defaults_of_a_shipped_version_are_what_it_was_trained_for(name: str) -> None:
    version = find_version(name)
    assert version.warnings(version.settings({})) == []


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("svd", {"width": 576, "height": 1024}, r"^svd was trained at 1024 x 576; at 576 x 1024 it may move less"),
        ("svd_xt", {"num_frames": 26}, r"^svd_xt was trained on 25 frames; 26 frames may"),
        ("svd", {"fps": 4}, r"^Trained at 5 to 30 fps; 4 may look"),
        ("svd", {"fps": 31}, r"^Trained at 5 to 30 fps; 31 may look"),
        ("svd_xt_1_1", {"fps": 7}, r"^svd_xt_1_1 was tuned at fps 6 only; 7 may look"),
        ("svd_xt_1_1", {"motion_bucket_id": 126}, r"^svd_xt_1_1 was tuned at motion bucket id 127 only; 126 may"),
        ("svd", {"motion_bucket_id": 256}, r"^motion bucket id was trained up to 255; 256 may"),
        ("svd", {"cond_aug": 0.15}, r"^Conditioning augmentation was trained up to 0\.14; 0\.15 may"),
        ("svd", {"sigma_max": 79.0}, r"^sigma_max was trained at 80 to 1000; 79 may leave"),
        ("svd", {"discretization": "LegacyDDPMDiscretization"}, r"^LegacyDDPMDiscretization starts at"),
        ("svd", {"sampler": "ConsistencySampler"}, r"^ConsistencySampler is for models distilled .* svd is not,"),
    ],
)
def test_a_setting_outside_the_trained_range_gives_a_warning(name: str, values: dict[str, Any], said: str) -> None:
    version = find_version(name)
    (sentence,) = version.warnings(version.settings(values))
    assert re.match(said, sentence)
    assert sentence.endswith(".")


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("svd", {"fps": 5}),
        ("svd", {"fps": 30}),
        ("svd", {"motion_bucket_id": 255}),
        ("svd", {"cond_aug": 0.14}),
        ("svd", {"sigma_max": 1.0, "discretization": "LegacyDDPMDiscretization"}),
    ],
)
def test_the_ends_of_a_trained_range_belong_to_it_and_what_is_not_used_does_not_count(
    name: str, values: dict[str, Any]
) -> None:
    version = find_version(name)
    assert not [text for text in version.warnings(version.settings(values)) if not text.startswith("LegacyDDPM")]


def test_help_texts_name_the_trained_value_or_the_default_of_the_version() -> None:
    svd, tuned = find_version("svd"), find_version("svd_xt_1_1")
    assert svd.help_text("height") == "Height of the video. svd was trained at 576 pixels."
    assert svd.help_text("num_frames").endswith("svd was trained at 14 frames.")
    assert svd.help_text("fps").endswith("Trained at 5 to 30. Default: 6.")
    assert tuned.help_text("fps").endswith("svd_xt_1_1 was tuned at 6.")
    assert tuned.help_text("num_steps").endswith("Default: 30.")
    assert tuned.help_text("max_scale").endswith("Default: 3.")
    assert svd.help_text("watermark").endswith("Default: on.")
    for name, field in SampleSettings.model_fields.items():
        assert (field.description or "?") in svd.help_text(name)


# User rows


def test_a_local_row_is_added_and_a_local_row_of_a_known_name_wins(configs: Callable[..., Path]) -> None:
    shipped = row() + "other:\n" + row().partition("\n")[2]
    configs(shipped, row(num_frames=25) + "new:\n" + row(num_frames=7).partition("\n")[2])
    lengths = {name: version.num_frames for name, version in load_versions().items()}
    assert lengths == {"mine": 25, "other": 14, "new": 7}


@pytest.mark.parametrize("local", ["", "# nothing yet\n"])
def test_an_empty_local_file_adds_nothing(configs: Callable[..., Path], local: str) -> None:
    configs(row(), local)
    assert list(load_versions()) == ["mine"]


MALFORMED = {
    "no checkpoint": (without("checkpoint"), r"mine\.checkpoint: Field required"),
    "tuned without a default": (row(tuned=["fps"]), r"'fps' of `tuned` has no value in `defaults`"),
    "no licence": (without("licence"), r"mine\.licence: Field required"),
    "unknown field": (row(steps=3), r"mine\.steps: Extra inputs are not permitted"),
    "name inside": (row(name="other"), "mine: a version is named by the line above"),
    "short sha256": (row(sha256="abc123"), r"mine\.sha256: String should match pattern"),
    "upper case sha256": (row(sha256="A" * 64), r"mine\.sha256: String should match pattern"),
    "negative bytes": (row(bytes=-1), r"mine\.bytes: .*greater than 0"),
    "too many frames": (row(num_frames=129), r"mine\.num_frames: .*less than or equal to 128"),
    "frames in words": (row(num_frames="many"), r"mine\.num_frames: .*valid integer"),
    "odd size": (row(height=600), "mine: the size 1024 x 600 is not a multiple of size_step 64"),
    "bad default": (row(defaults={"num_steps": 0}), r"mine\.defaults: num_steps must be .* from 1 to 1000, got 0"),
    "true as a number": (row(defaults={"num_steps": True}), r"mine\.defaults: num_steps must be .*, got True"),
    "unknown default": (
        row(defaults={"steps": 3}),
        r"mine\.defaults: 'steps' is not a setting that can have a default",
    ),
    "frames as a default": (row(defaults={"num_frames": 3}), r"mine\.defaults: 'num_frames' is not a setting"),
    "defaults in a list": (row(defaults=[1]), r"mine\.defaults: Input should be a valid dictionary"),
    "a row that is a word": ("mine: svd.yaml", "mine: the fields of a version belong here, found 'svd.yaml'"),
    "an empty row": ("mine:", "mine: the fields of a version belong here, found None"),
    "a name with a slash": (row().replace("mine:", "my/model:"), r"my/model\.name: String should match pattern"),
    "a number as a name": (row().replace("mine:", "7:"), r"7\.name: Input should be a valid string"),
    "a list": ("- mine\n", "must map the name of each version to its fields"),
    "a word": ("mine\n", "must map the name of each version to its fields"),
    "broken YAML": ("mine: {height: 576", "is not valid YAML: "),
    "a tab": ("mine:\n\theight: 576\n", "is not valid YAML: "),
    "code": ("mine: !!python/object/apply:os.getcwd []\n", "is not valid YAML: "),
    "a deep row": ("mine: " + "[" * 900, "is not valid YAML: nested more than 64 levels deep"),
    "the same row twice": (row() + row(), "is not valid YAML: the key 'mine' appears twice"),
    "a long word": ("mine: " + "x" * 5000, r"belong here, found 'x{190,}\.\.\.x+'$"),
    "a default with a long value": (row(defaults={"seed": "9" * 5000}), r"mine\.defaults: seed must be .{1,400}$"),
}


@pytest.mark.parametrize(("text", "said"), MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_row_is_refused_with_file_and_place(configs: Callable[..., Path], text: str, said: str) -> None:
    folder = configs(row(), text)
    with pytest.raises(ConfigError, match=said) as caught:
        load_versions()
    message = str(caught.value)
    assert message.startswith(str(folder / "versions.local.yaml"))
    assert "\n" not in message


def test_a_file_in_another_encoding_is_refused(configs: Callable[..., Path]) -> None:
    folder = configs(row())
    (folder / "versions.local.yaml").write_bytes("mine: {note: Zürich}".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"versions\.local\.yaml is not valid YAML: .*utf-8"):
        load_versions()


# Checkpoints


def test_a_missing_checkpoint_is_reported_with_size_folder_and_source(
    configs: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configs(row(bytes=9_559_625_980))
    monkeypatch.setattr(paths, "PROJECT", tmp_path)
    monkeypatch.delenv("IMG2VID_CHECKPOINTS", raising=False)
    version = find_version("mine")
    assert version.checkpoint_path is None
    with pytest.raises(CheckpointError) as caught:
        version.require_checkpoint()
    assert str(caught.value) == (
        f"the checkpoint of mine is missing; place mine.safetensors (9.56 GB) in {tmp_path / 'checkpoints'} "
        "(source: my training)"
    )


def test_a_checkpoint_in_a_folder_of_the_users_is_found(
    configs: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configs(row())
    (tmp_path / "mine.safetensors").touch()
    monkeypatch.setenv("IMG2VID_CHECKPOINTS", os.pathsep.join([str(tmp_path / "none"), str(tmp_path)]))
    assert find_version("mine").require_checkpoint() == tmp_path / "mine.safetensors"


def test_a_row_may_name_files_by_paths_of_their_own(configs: Callable[..., Path], tmp_path: Path) -> None:
    checkpoint, config = tmp_path / "my models" / "mine.safetensors", tmp_path / "my models" / "mine.yaml"
    configs(row(checkpoint=str(checkpoint), config=str(config)))
    version = find_version("mine")
    assert version.config_path == config
    with pytest.raises(CheckpointError, match=r"place mine\.safetensors in .*my models \(source: my training\)"):
        version.require_checkpoint()
    checkpoint.parent.mkdir()
    checkpoint.touch()
    assert version.require_checkpoint() == checkpoint


def test_a_tilde_in_a_row_means_the_users_folder(configs: Callable[..., Path]) -> None:
    configs(row(checkpoint="~/nowhere/mine.safetensors", config="~/mine.yaml"))
    version = find_version("mine")
    assert version.config_path == Path.home() / "mine.yaml"
    with pytest.raises(CheckpointError) as caught:
        version.require_checkpoint()
    assert str(Path.home() / "nowhere") in str(caught.value)


def test_a_row_cannot_be_changed_after_it_was_read() -> None:
    with pytest.raises(ValueError, match="frozen"):
        ModelVersion(name="mine", **ROW).height = 64  # pyright: ignore[reportAttributeAccessIssue]
