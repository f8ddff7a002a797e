"""Control values after a version change: user values stay if both versions have the same default."""

from typing import Any

import pytest

from img2vid.version_defaults import reset, switched
from img2vid.versions import ModelVersion, find_version, load_versions


def controls(version: str, **values: Any) -> dict[str, Any]:
    return {**find_version(version).settings({}).model_dump(), **values}


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
