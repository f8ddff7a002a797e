"""Numbers that a model is conditioned on: exactly those of its embedders, one row per frame."""

from typing import Any

import pytest

from img2vid.engine import ConditioningSettings
from img2vid.errors import BadInput

SVD = ("cond_frames", "fps_id", "motion_bucket_id", "cond_aug")
SV3D_U = ("cond_frames", "cond_aug")
SV3D_P = (*SV3D_U, "polars_rad", "azimuths_rad")
ANGLES = {"polars_rad": (1.0, 1.1), "azimuths_rad": [2.0, 3.0]}


def test_numbers_are_repeated_for_every_frame_and_angles_are_not() -> None:
    svd = ConditioningSettings(cond_aug=0.1, num_frames=2, fps=7, motion_bucket_id=90)
    assert svd.numbers(SVD) == {"fps_id": [6, 6], "motion_bucket_id": [90, 90], "cond_aug": [0.1, 0.1]}
    assert ConditioningSettings(0.1, 2).numbers(SV3D_U) == {"cond_aug": [0.1, 0.1]}
    assert ConditioningSettings(0.1, 2, **ANGLES).numbers(SV3D_P) == {"cond_aug": [0.1, 0.1], **ANGLES}


def test_a_model_need_not_be_conditioned_on_the_augmentation() -> None:
    assert ConditioningSettings(0.1, 2).numbers(("cond_frames",)) == {}


@pytest.mark.parametrize(
    ("input_keys", "given", "sentence"),
    [
        (SVD, {"fps": 7}, "this model is conditioned on motion_bucket_id, which is missing; give it"),
        (SV3D_P, {"polars_rad": (1, 1)}, "this model is conditioned on azimuths_rad, which is missing; give it"),
        (SV3D_U, {"fps": 7}, "this model is not conditioned on fps, got 7; leave it out"),
        (SV3D_U, ANGLES, "this model is not conditioned on polars_rad, got (1.0, 1.1); leave it out"),
        (
            SV3D_P,
            {"polars_rad": (1, 1, 1), "azimuths_rad": (1, 1)},
            "polars_rad must have one angle a frame, got 3 for 2 frames",
        ),
    ],
)
def test_missing_and_superfluous_numbers_are_rejected(
    input_keys: tuple[str, ...], given: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(BadInput) as caught:
        ConditioningSettings(cond_aug=0.1, num_frames=2, **given).numbers(input_keys)
    assert str(caught.value) == sentence
