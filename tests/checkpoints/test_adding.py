"""Proposed version rows: name, checksum, and values from known rows."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import yaml
from file_server import checkpoint_bytes

from img2vid import paths
from img2vid.checkpoints.adding import propose
from img2vid.errors import BadInput, CheckpointError
from img2vid.versions import ModelVersion, find_version

DATA = checkpoint_bytes(10)


def fits_svd(path: Path, configs: Sequence[Path], unet: Path | None = None) -> Path:
    """Stand in for the engine, which finds that svd.yaml matches."""
    return next(config for config in configs if config.name == "svd.yaml")


@pytest.fixture
def file(project: Path) -> Path:
    path = project / "my model.safetensors"
    path.write_bytes(DATA)
    return path


def test_a_file_of_the_folder_is_named_by_its_name_and_like_a_known_version(file: Path) -> None:
    version, like = propose(file, fits_svd), find_version("svd")
    assert (version.name, version.checkpoint, version.checkpoint_path) == ("my_model", file.name, file)
    assert (version.bytes, version.sha256) == (len(DATA), hashlib.sha256(DATA).hexdigest())
    same = ("num_frames", "height", "width", "downsampling", "size_step", "config", "defaults")
    assert all(getattr(version, name) == getattr(like, name) for name in same)
    assert version.licence == "not stated" and not version.note


def test_frames_are_given_or_guessed_from_the_name(file: Path) -> None:
    assert propose(file, fits_svd, num_frames=20).num_frames == 20
    xt = file.rename(file.with_name("my_XT_model.safetensors"))
    version = propose(xt, fits_svd)
    assert version.num_frames == 25
    assert version.defaults == find_version("svd_xt").defaults


def test_a_file_that_is_known_under_another_name_keeps_its_licence_and_frames(
    file: Path, configs: Callable[..., Path]
) -> None:
    row = find_version("svd_xt").model_dump(exclude={"name"}) | {"sha256": hashlib.sha256(DATA).hexdigest()}
    configs(yaml.safe_dump({"svd_xt": row}))
    version = propose(file, fits_svd)
    assert (version.num_frames, version.licence, version.source) == (25, row["licence"], row["source"])


def test_what_will_not_do_is_a_sentence(file: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="the version svd already exists"):
        propose(file, fits_svd, name="svd")
    with pytest.raises(CheckpointError, match=r"is not a \.safetensors file; convert it to that format"):
        propose(tmp_path / "model.ckpt", fits_svd)
    own = tmp_path / "own.yaml"

    def fits_own(path: Path, configs: Sequence[Path], unet: Path | None) -> Path:
        assert configs == [paths.CONFIGS / own]
        return configs[0]

    with pytest.raises(BadInput, match=r"no known version uses the configuration .*own\.yaml.*write the row by hand"):
        propose(file, fits_own, config=str(own))


def test_a_proposed_row_is_one_that_can_be_read(file: Path) -> None:
    version = propose(file, fits_svd, name="mine")
    assert ModelVersion.model_validate(version.model_dump()) == version
    with pytest.raises(BadInput, match=r"a version name may contain only letters, digits, _, - and \., got 'no name'"):
        propose(file, fits_svd, name="no name")
    with pytest.raises(BadInput, match="num_frames must be a whole number from 1 to 128, got 0"):
        propose(file, fits_svd, num_frames=0)
