"""The shipped small checkpoints are small, match their configuration, and show their image in every frame."""

import pytest
from training import measures
from training.evaluation import TARGETS, Evaluation

from img2vid import paths
from img2vid.versions import find_version

VERSIONS = ["svd_tiny", "svd_tiny_xt"]


@pytest.mark.parametrize("name", VERSIONS)
def test_a_small_checkpoint_is_small(name: str) -> None:
    checkpoint = paths.find_checkpoint(find_version(name).checkpoint)
    assert checkpoint is not None
    assert checkpoint.stat().st_size < TARGETS["megabytes"][0] * 1e6


@pytest.mark.takes_long("samples the shipped models at their own size")
@pytest.mark.parametrize("name", VERSIONS)
def test_a_small_checkpoint_shows_its_picture_and_does_not_flicker(name: str) -> None:
    # Takes over 10 s: all 14 or 25 frames are made. With 3 steps svd_tiny_xt's first frame has 20.9 dB, near the limit.
    evaluation = Evaluation(name, num_steps=4)
    picture = evaluation.pictures["flower"]
    framed = evaluation.framed(picture)
    assert measures.psnr(evaluation.round_trip(picture), framed) > 25
    video = evaluation.clip(picture)
    assert len(video) == find_version(name).num_frames
    assert measures.psnr(video[0], framed) > 20
    assert measures.least_neighbour_psnr(video) > 15
    assert measures.least_contrast(video, framed) > TARGETS["least_contrast"][0]
