"""Detection of a file's configuration from its header."""

from pathlib import Path

import pytest
from checkpoint_files import rows_of, write_header

from img2vid import paths
from img2vid.engine.config import load_config
from img2vid.engine.model import build_meta
from img2vid.engine.weights.detect_config import fitting_config
from img2vid.errors import CheckpointError

CONFIGS = [paths.CONFIGS / f"{name}.yaml" for name in ("svd_tiny", "svd", "svd_image_decoder", "sv3d_u", "sv3d_p")]


def header(config: Path, path: Path, leave_out: tuple[str, ...] = ()) -> Path:
    rows = rows_of(build_meta(load_config(config), config.parent).weights())
    return write_header(path, {name: row for name, row in rows.items() if not name.startswith(leave_out)})


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_each_configuration_is_detected(config: Path, tmp_path: Path) -> None:
    assert fitting_config(header(config, tmp_path / "x.safetensors"), CONFIGS) == config


def test_if_no_configuration_matches_the_closest_one_is_reported(tmp_path: Path) -> None:
    missing = ("conditioner.embedders.3.encoder", "first_stage_model.encoder")
    file = header(CONFIGS[1], tmp_path / "x.safetensors", leave_out=missing)
    with pytest.raises(
        CheckpointError, match=r"lacks conditioner\.embedders\.3, the encoder of the conditioning frame"
    ):
        fitting_config(file, CONFIGS)
    with pytest.raises(CheckpointError, match="fits no configuration"):
        fitting_config(file, [])
