"""Benchmarks: their documentation, the comparisons of the approximations, and the results table."""

import argparse
import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmarks import presets
from benchmarks.__main__ import NAMES
from benchmarks.approximations import (
    COLUMNS,
    METRICS,
    Made,
    Maker,
    Variant,
    averages,
    compare,
    converged,
    rows,
    samplers,
    variants,
)
from benchmarks.results import report
from numpy.typing import NDArray
from PIL import Image

from img2vid import paths
from img2vid.errors import BadInput
from img2vid.options import LoadOptions
from img2vid.settings import approximated
from img2vid.versions import find_version

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
    assert [(row["variant"], row["time"]) for row in found] == [(one.name, 1.0) for one in chosen]


def test_a_variant_may_be_compared_with_another_video_than_the_exact_one() -> None:
    def make(changed: Mapping[str, Any]) -> Made:
        return Made(flat(*[changed.get("level", 0)] * 3), 1.0)

    (row,) = rows(make, [Variant("a", {"level": 30})], against=[{"level": 40}, {"level": 55}])
    assert (row["difference"], row["time"]) == (10, 1)
    assert row["psnr_euler"] == pytest.approx(20 * math.log10(255 / 25))


def test_the_table_ends_with_the_means_of_all_pictures_and_the_worst_frame_of_all(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {**dict.fromkeys(METRICS, 1.0), "variant": "a"}
    together = averages([row, {**row, "psnr": 3.0, "worst_frame": 5.0}, {**row, "variant": "b"}])
    report(COLUMNS, together, argparse.Namespace(json=tmp_path / "found.json"))
    assert capsys.readouterr().out.splitlines() == [
        "| picture | variant | time | psnr | difference | worst frame | motion | flicker | sharpness | psnr euler |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        "| all | a | 1.00 | 2.0 | 1.00 | 5.00 | 1.00 | 1.00 | 1.00 | 1.0 |",
        "| all | b | 1.00 | 1.0 | 1.00 | 1.00 | 1.00 | 1.00 | 1.00 | 1.0 |",
    ]
    written = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    assert [(one["variant"], one["psnr"], one["worst_frame"]) for one in written["rows"]] == [("a", 2, 5), ("b", 1, 1)]
    assert written["machine"]["device"] == "cpu"


def test_the_exact_video_has_no_approximation_and_every_variant_has_settings_of_its_own() -> None:
    version = find_version("svd_tiny")
    assert approximated(version.settings({}).model_dump()) == []
    made = {version.settings(variant.changed).model_dump_json() for variant in variants(25)}
    assert len(made) == len(variants(25)) == len({variant.name for variant in variants(25)})


def test_samplers_are_compared_with_equal_numbers_of_steps() -> None:
    version = find_version("svd_tiny")
    steps = [version.settings(variant.changed) for variant in samplers(25)]
    assert [one.num_steps for one in steps] == [25, 15, 10] * 6
    assert steps[0] == version.settings({})
    heun, euler = (version.settings(changed) for changed in converged(25))
    assert (heun.sampler, heun.num_steps, euler.sampler, euler.num_steps) == (
        "HeunEDMSampler",
        50,
        "EulerEDMSampler",
        100,
    )


@pytest.mark.usefixtures("one_thread")
def test_a_model_is_measured() -> None:
    maker = Maker(find_version("svd_tiny"), LoadOptions(device="cpu"), SMALL)
    picture = Image.effect_noise((80, 80), 60).convert("RGB")
    chosen = [Variant("the same", {}), Variant("block cache 5", {"block_cache": 5})]
    same, approximate = rows(lambda changed: maker.make(picture, changed), chosen)
    assert same["psnr"] == math.inf
    assert 10 < approximate["psnr"] < 80
    assert maker.num_steps == SMALL["num_steps"]


def test_the_readme_has_the_operations_of_the_presets() -> None:
    readme = (paths.PROJECT / "README.md").read_text(encoding="utf-8")
    found = list(presets.measure(argparse.Namespace(version="svd_xt", tflops=50.0)))
    assert [row["preset"] for row in found] == ["Reference", "Fast", "Draft", "svd_xt_animatelcm"]
    for row in found:
        figures = (
            f"| {row['frames']} | {row['steps']} | {row['tflop']:.0f} | {row['share']:.2f} | {row['seconds']:.0f} |"
        )
        assert re.search(rf"\| \W*{row['preset']}.* {re.escape(figures[2:])}", readme), row


def test_presets_of_a_version_without_known_operations_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presets, "work_of", lambda settings: None)
    with pytest.raises(BadInput, match=r"^configs/operations\.yaml has no row for svd; choose another version$"):
        list(presets.measure(argparse.Namespace(version="svd", tflops=50.0)))


@pytest.mark.parametrize("name", NAMES)
def test_every_benchmark_is_named_in_the_documentation(name: str) -> None:
    pages = [page.read_text(encoding="utf-8") for page in (paths.PROJECT / "docs").glob("*.md")]
    assert any(f"scripts/benchmarks {name}" in page for page in pages)


def test_the_folder_is_a_program_that_prints_and_writes_a_table(tmp_path: Path) -> None:
    script = paths.PROJECT / "scripts" / "benchmarks"
    command = [sys.executable, script, "memory", "--versions", "svd_tiny", "--json", tmp_path / "memory.json"]
    surroundings = {**os.environ, "PYTHONPATH": str(paths.PROJECT)}  # other environments have no img2vid.pth
    done = subprocess.run(command, cwd=tmp_path, env=surroundings, capture_output=True, text=True, check=True)
    head, _, *rows = [line for line in done.stdout.splitlines() if line.startswith("|")]
    assert head == "| model | memory | decoding | condition | sample | decode | card |"
    assert len(rows) == len(json.loads((tmp_path / "memory.json").read_text(encoding="utf-8"))["rows"]) == 6
    assert "svd_tiny: weights " in done.stdout
