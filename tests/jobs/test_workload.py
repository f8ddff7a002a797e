"""Operations of videos, and the expected time on a machine of known speed."""

from typing import Any

import pytest

from img2vid import paths
from img2vid.engine.bench.backends import Shape
from img2vid.engine.bench.operations import count_stages
from img2vid.jobs.estimate import Expected
from img2vid.jobs.workload import EFFICIENCY, TERMS, Work, expected_from, work_of
from img2vid.options import LoadOptions
from img2vid.settings import SampleSettings
from img2vid.versions import find_version, load_versions

SPEEDS = {"cpu": {"fp32": 1e11, "fp16": 1e10, "bf16": 1e11}, "cuda": {"fp32": 4e13, "fp16": 1e14, "bf16": 1e14}}


def work(version: str, **changed: Any) -> Work:
    found = work_of(find_version(version).settings(changed))
    assert found is not None
    return found


@pytest.mark.takes_long("counts every layer on the meta device")
@pytest.mark.parametrize("config", sorted({version.config for version in load_versions().values()}))
def test_every_configuration_has_the_operations_that_are_counted(config: str) -> None:
    """The polynomials were computed from other sizes. CLIP's resizing, which they leave out, is below 0.1 %."""
    name = next(name for name, version in load_versions().items() if version.config == config)
    shape = Shape(256, 192, 3, 3)
    counted = count_stages(paths.CONFIGS / config, shape, "fp32")
    found = work(name, width=256, height=192, num_frames=3, decode_t=3)
    assert 2 * found.run == pytest.approx(counted["step"][0].operations, rel=1e-9)
    assert found.decode == pytest.approx(counted["decode"][0].operations, rel=1e-9)
    assert found.condition == pytest.approx(sum(part.operations for part in counted["condition"]), rel=1e-3)


def test_the_full_size_matches_published_counts() -> None:
    """svd_xt: 79.95 TFLOP per evaluation, 3.7 % of them redundant cross-attention; 173.6 TFLOP to decode 25 frames."""
    svd_xt = work("svd_xt")
    assert svd_xt.run == pytest.approx(79.95e12 * (1 - 0.037), rel=0.005)
    assert svd_xt.sample == pytest.approx(60 * svd_xt.run)
    assert svd_xt.decode == pytest.approx(173.6e12, rel=0.001)
    assert svd_xt.whole == svd_xt.sample + svd_xt.decode + svd_xt.condition


def test_steps_guidance_and_distilled_models_change_the_work() -> None:
    svd_xt = work("svd_xt")
    assert work("svd_xt", num_steps=10).sample == pytest.approx(svd_xt.sample / 3)
    assert work("svd_xt", guider="IdentityGuider").sample == pytest.approx(svd_xt.sample / 2)
    assert work("svd_xt_animatelcm").sample == pytest.approx(svd_xt.sample * 4 / 60)


def test_the_time_is_work_over_speed() -> None:
    settings = find_version("svd_xt").settings({})
    done = work("svd_xt")
    card = EFFICIENCY["cuda"]
    expected = Expected(done.sample / card / 1e14, done.decode / card / 4e13, done.condition / card / 4e13)
    for device in ("auto", "cuda", "cuda:1"):
        assert expected_from(settings, LoadOptions(device=device), SPEEDS) == expected
    half = expected_from(settings, LoadOptions(decoder_precision="fp16"), SPEEDS)
    assert half is not None
    assert half.decoding == pytest.approx(expected.decoding * 0.4)
    cpu = expected_from(settings, LoadOptions(device="cpu", precision="fp16"), SPEEDS)
    assert cpu is not None
    assert cpu.sampling == pytest.approx(done.sample / EFFICIENCY["cpu"] / 1e10)
    assert cpu == expected_from(settings, LoadOptions(precision="fp16"), {"cpu": SPEEDS["cpu"]})


@pytest.mark.parametrize(
    ("device", "speeds"),
    [("auto", {}), ("cuda", {"cpu": {"fp32": 1.0}}), ("mps", {"mps": {"fp32": 1.0}}), ("cpu", {"cpu": {"fp32": 0.0}})],
)
def test_without_a_speed_the_time_is_unknown(device: str, speeds: dict[str, dict[str, float]]) -> None:
    assert expected_from(SampleSettings(), LoadOptions(device=device), speeds) is None


def test_a_version_without_known_operations_has_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    assert work_of(SampleSettings.model_construct(**{**SampleSettings().model_dump(), "version": "gone"})) is None
    own = find_version("svd").model_copy(update={"config": "own.yaml"})
    monkeypatch.setattr("img2vid.jobs.workload.find_version", lambda name: own)
    assert work_of(SampleSettings(version="svd")) is None
    assert set(TERMS) == {"condition", "network", "decode"}
