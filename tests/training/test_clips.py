"""The pool of scenes: size, contents and determinism."""

import random

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from training.clips import FIRST_CLIPS, Clips, Size

SIZE = Size(num_frames=3, height=16, width=32)


def encode(frames: Tensor) -> Tensor:
    return torch.nn.functional.avg_pool2d(frames, 4)


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    noise = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    return [Image.fromarray(noise).resize((120, 80), Image.Resampling.BICUBIC)]


def test_a_scene_is_the_same_whenever_it_is_made(pictures: list[Image.Image]) -> None:
    stores = [Clips(encode, pictures, SIZE, downsampling=4, seed=seed, fresh=0) for seed in (3, 3, 4)]
    first, again, other = (store.make(5) for store in stores)
    assert torch.equal(first.latents, again.latents)
    assert (first.motion_bucket_id, first.fps) == (again.motion_bucket_id, again.fps)
    assert not torch.equal(first.latents, other.latents)


def test_latents_are_those_of_the_frames_and_the_first_frame_is_kept(pictures: list[Image.Image]) -> None:
    clip = Clips(encode, pictures, SIZE, downsampling=4, seed=1, fresh=0).make(0)
    assert clip.latents.shape == (3, 3, 4, 8)
    assert clip.first_frame.shape == (1, 3, 16, 32)
    torch.testing.assert_close(encode(clip.first_frame.float())[0], clip.latents[0].float(), atol=2e-3, rtol=0)


def test_a_draw_has_different_clips_and_the_store_grows_as_asked(pictures: list[Image.Image]) -> None:
    clips = Clips(encode, pictures, SIZE, downsampling=4, seed=1, fresh=0.5)
    rng = random.Random(0)
    for _ in range(9):
        assert len({id(clip) for clip in clips.draw(4, rng)}) == 4
    assert len(clips.clips) == FIRST_CLIPS + 4
    assert len(clips.draw(100, rng)) == 100


def test_the_first_clips_move_fast_where_that_is_asked(pictures: list[Image.Image]) -> None:
    clips = Clips(encode, pictures, SIZE, downsampling=4, seed=1, fresh=0, quick=30)
    made = [clips.make(index) for index in range(60)]
    assert all(clip.motion_bucket_id >= 100 and clip.fps <= 9 for clip in made[:30])
    assert any(clip.motion_bucket_id < 100 for clip in made[30:])
    assert any(clip.fps > 9 for clip in made[30:])
