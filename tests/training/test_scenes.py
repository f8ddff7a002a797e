"""Scenes follow their conditioning."""

import random

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from training.noise_motion import noise_directions
from training.scenes import FASTEST, STEERED, TRAVEL, Camera, make_scene, speed, waves


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    noise = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    return [Image.fromarray(noise).resize((300, 200), Image.Resampling.BICUBIC)]


def scene(pictures: list[Image.Image], seed: int, bucket: float, fps: float = 8) -> Tensor:
    guide = torch.randn(2, 8, 12, generator=torch.Generator().manual_seed(seed))
    return make_scene(
        pictures,
        random.Random(seed),
        num_frames=6,
        height=32,
        width=48,
        motion_bucket_id=bucket,
        fps=fps,
        directions=noise_directions(guide),
    )


def test_speed_grows_with_the_bucket_and_falls_with_the_frame_rate() -> None:
    assert speed(0, 8) == 0
    assert speed(255, 8) > 3 * speed(20, 8)
    assert speed(100, 6) > 1.5 * speed(100, 24)
    assert speed(255, 1) == FASTEST


@pytest.mark.parametrize("seed", range(8))
def test_frame_0_does_not_depend_on_the_motion(pictures: list[Image.Image], seed: int) -> None:
    torch.testing.assert_close(scene(pictures, seed, 20)[0], scene(pictures, seed, 255)[0])


@pytest.mark.parametrize("seed", range(4))
def test_bucket_0_is_a_still_picture(pictures: list[Image.Image], seed: int) -> None:
    clip = scene(pictures, seed, 0)
    torch.testing.assert_close(clip, clip[:1].expand_as(clip))


def test_more_motion_changes_more_between_frames(pictures: list[Image.Image]) -> None:
    changes = [
        sum(float(scene(pictures, seed, bucket).diff(dim=0).abs().mean()) for seed in range(6))
        for bucket in (20, 80, 255)
    ]
    assert changes[0] < changes[1] < changes[2]


def test_a_scene_has_the_asked_shape_and_stays_in_range(pictures: list[Image.Image]) -> None:
    clip = scene(pictures, 3, 200)
    assert clip.shape == (6, 3, 32, 48)
    assert clip.min() >= -1 and clip.max() <= 1


def test_a_camera_starts_at_rest_and_travels() -> None:
    grid = torch.zeros(1, 1, 2)
    for seed in range(20):
        camera = Camera.draw(random.Random(seed))
        places = camera.places(grid, torch.tensor([0.0, 1.0, 10.0]))[:, 0, 0]
        torch.testing.assert_close(places, torch.tensor([[0.0, 0.0], [-TRAVEL, 0.0], [-10 * TRAVEL, 0.0]]))


def test_a_steered_scene_moves_where_its_directions_point(pictures: list[Image.Image]) -> None:
    """Against the camera's travel the scene stands still, along with it it moves twice as far."""
    opposite = torch.tensor([-TRAVEL / STEERED, 0.0])[:, None, None].expand(2, 8, 12)
    changes = []
    for directions in (opposite, -opposite):
        total = 0.0
        for seed in range(6):
            clip = make_scene(
                pictures,
                random.Random(seed),
                num_frames=4,
                height=32,
                width=48,
                motion_bucket_id=127,
                fps=8,
                directions=directions,
            )
            total += float(clip.diff(dim=0).abs().mean())
        changes.append(total)
    assert changes[0] < 0.5 * changes[1]


def test_waves_start_at_rest_and_are_about_as_fast_as_asked() -> None:
    y, x = torch.meshgrid(torch.arange(32) - 15.5, torch.arange(48) - 23.5, indexing="ij")
    grid = torch.stack([x, y], dim=-1)
    speeds = []
    for seed in range(30):
        places = waves(grid, 8, 1.5, random.Random(seed))
        assert places.shape == (8, 32, 48, 2)
        assert not places[0].any()
        speeds.append(float(places.diff(dim=0).norm(dim=-1).mean()))
    assert 0.5 * 1.5 < sum(speeds) / len(speeds) < 1.5 * 1.5
