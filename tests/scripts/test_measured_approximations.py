"""Measurement of the approximations: comparisons and the results table."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from img2vid.inference import EngineChoice
from img2vid.settings import approximated
from img2vid.versions import find_version
from scripts.approximations import (
    COLUMNS,
    Made,
    Maker,
    Variant,
    averages,
    compare,
    converged,
    rows,
    samplers,
    table,
    variants,
)

SMALL = {"height": 64, "width": 64, "num_frames": 3, "num_steps": 5}


def flat(*levels: int) -> NDArray[np.uint8]:
    return np.stack([np.full((4, 4, 3), level, np.uint8) for level in levels])


def test_a_video_is_like_itself() -> None:
    clip = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3)).astype(np.uint8)
    same = {"psnr": math.inf, "difference": 0, "worst_frame": 0, "motion": 1, "flicker": 1, "sharpness": 1}
    assert compare(clip, clip) == same


def test_a_video_is_measured_against_the_exact_one() -> None:
    found = compare(flat(0, 10, 0), flat(0, 30, 0))
    assert (found["difference"], found["worst_frame"]) == (pytest.approx(20 / 3), 20)
    assert (found["motion"], found["flicker"]) == (3, 3)
    assert math.isnan(found["sharpness"])  # ratio of two zeros


def test_each_variant_is_timed_beside_the_exact_videos_before_and_after_it() -> None:
    """If the machine slows down, a variant as slow as the exact run must not look slower."""
    order: list[Mapping[str, Any]] = []
    seconds: Iterator[float] = iter([10.0, *[20.0] * 4, 30.0, 40.0, 50.0])

    def make(changed: Mapping[str, Any]) -> Made:
        order.append(changed)
        return Made(flat(1, 2, 3), next(seconds))

    chosen = [Variant(f"seed {seed}", {"seed": seed}) for seed in range(5)]
    found = list(rows(make, chosen))
    exact: dict[str, Any] = {}
    assert order == [exact, *(one.changed for one in chosen[:4]), exact, chosen[4].changed, exact]
    assert [(row["name"], row["time"]) for row in found] == [(one.name, 1.0) for one in chosen]


def test_a_variant_may_be_compared_with_another_video_than_the_exact_one() -> None:
    def make(changed: Mapping[str, Any]) -> Made:
        return Made(flat(*[changed.get("level", 0)] * 3), 1.0)

    (row,) = rows(make, [Variant("a", {"level": 30})], against={"level": 40})
    assert (row["difference"], row["time"]) == (10, 1)


def test_the_table_has_the_means_of_all_pictures_and_the_worst_frame_of_all() -> None:
    row = {**dict.fromkeys(COLUMNS, 1.0), "name": "a"}
    together = averages([row, {**row, "psnr": 3.0, "worst_frame": 5.0}, {**row, "name": "b"}])
    assert [(one["name"], one["psnr"], one["worst_frame"]) for one in together] == [("a", 2.0, 5.0), ("b", 1.0, 1.0)]
    assert table(together).splitlines() == [
        "| variant | time | psnr | difference | worst frame | motion | flicker | sharpness |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
        "| a | 1.00 | 2.0 | 1.00 | 5.00 | 1.00 | 1.00 | 1.00 |",
        "| b | 1.00 | 1.0 | 1.00 | 1.00 | 1.00 | 1.00 | 1.00 |",
    ]


def test_the_exact_video_has_no_approximation_and_every_variant_has_settings_of_its_own() -> None:
    version = find_version("svd_tiny")
    assert approximated(version.settings({}).model_dump()) == []
    made = {version.settings(variant.changed).model_dump_json() for variant in variants(25)}
    assert len(made) == len(variants(25)) == len({variant.name for variant in variants(25)})


def test_samplers_are_compared_with_equal_numbers_of_steps() -> None:
    version = find_version("svd_tiny")
    steps = [version.settings(variant.changed) for variant in samplers(25)]
    assert [one.num_steps for one in steps] == [25, 15, 10] * 2
    assert steps[0] == version.settings({})
    assert version.settings(converged(25)).sampler == "HeunEDMSampler"


@pytest.mark.usefixtures("one_thread")
def test_a_model_is_measured() -> None:
    maker = Maker(find_version("svd_tiny"), EngineChoice(device="cpu"), SMALL)
    picture = Image.effect_noise((80, 80), 60).convert("RGB")
    chosen = [Variant("the same", {}), Variant("block cache 5", {"block_cache": 5})]
    same, approximate = rows(lambda changed: maker.make(picture, changed), chosen)
    assert same["psnr"] == math.inf
    assert 10 < approximate["psnr"] < 80
    assert maker.describe()["settings"] == SMALL
