"""Guidance in an interval and the block cache: exact at their defaults, and less work where they are switched on."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from img2vid.engine import Conditioning, SamplerSettings
from img2vid.engine.discretization import edm_sigmas
from img2vid.engine.guiders import Interval
from img2vid.engine.native import NativeEngine
from img2vid.engine.samplers import SAMPLERS

FRAMES, STEPS = 3, 4
EXACT = SamplerSettings(num_steps=STEPS)
LEVELS = edm_sigmas(STEPS, sigma_max=700.0)[:-1].tolist()
Pair = tuple[Conditioning, Conditioning]
Sample = Callable[..., Tensor]


def draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


NOISE = draw(FRAMES, 4, 8, 8, seed=2)


@pytest.fixture(scope="module")
def pair(small_engine: NativeEngine) -> Pair:
    image = draw(1, 3, 64, 64, seed=0).clamp(-1, 1)
    return small_engine.condition(
        image, cond_noise=torch.zeros_like(image), cond_aug=0.0, motion_bucket_id=90, fps=7, num_frames=FRAMES
    )


@pytest.fixture(scope="module")
def sample(small_engine: NativeEngine, pair: Pair) -> Sample:
    """Latents of a run with some settings changed."""

    def run(**changed: Any) -> Tensor:
        settings = SamplerSettings(**{"num_steps": STEPS, **changed})
        return small_engine.sample(NOISE, *pair, settings, generator=torch.Generator().manual_seed(1))

    return run


@pytest.fixture(scope="module")
def exact(sample: Sample) -> Tensor:
    return sample()


@pytest.fixture
def evaluations(small_engine: NativeEngine, monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, int]]:
    """The noise level of every evaluation, and for how many conditionings it was made."""
    heard: list[tuple[float, int]] = []
    denoiser = small_engine.denoiser

    def listening(x: Tensor, sigma: Tensor, conditionings: list[Conditioning], *more: Any) -> list[Tensor]:
        heard.append((float(sigma), len(conditionings)))
        return denoiser(x, sigma, conditionings, *more)

    monkeypatch.setattr(small_engine, "denoiser", listening)
    return heard


# Guidance in an interval of noise levels


@pytest.mark.parametrize(("low", "high"), [(0.0, 1e5), (0.001, float("inf")), (LEVELS[-1], LEVELS[0])])
def test_an_interval_around_all_noise_levels_is_exact(sample: Sample, exact: Tensor, low: float, high: float) -> None:
    assert torch.equal(sample(guidance_sigma_min=low, guidance_sigma_max=high), exact)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_an_empty_interval_is_no_guidance(sample: Sample, sampler: str) -> None:
    empty = sample(sampler=sampler, guidance_sigma_min=1e5, guidance_sigma_max=1e5)
    assert torch.equal(empty, sample(sampler=sampler, guider="IdentityGuider", guider_params={}))


def test_outside_of_the_interval_only_the_conditional_estimate_is_computed(
    sample: Sample, exact: Tensor, evaluations: list[tuple[float, int]]
) -> None:
    approximate = sample(guidance_sigma_min=LEVELS[2], guidance_sigma_max=LEVELS[1])
    assert evaluations == [(level, 2 if place in (1, 2) else 1) for place, level in enumerate(LEVELS)]
    assert not torch.equal(approximate, exact)


def test_both_evaluations_of_a_heun_step_are_judged_by_their_own_noise_level(
    sample: Sample, evaluations: list[tuple[float, int]]
) -> None:
    sample(sampler="HeunEDMSampler", guidance_sigma_max=LEVELS[1])
    assert [count for _, count in evaluations] == [1, 2, 2, 2, 2, 2, 2]


def test_without_a_guider_the_interval_means_nothing(sample: Sample) -> None:
    plain = {"guider": "IdentityGuider", "guider_params": {}}
    assert torch.equal(sample(**plain, guidance_sigma_max=1.0), sample(**plain))


def test_both_ends_belong_to_the_interval() -> None:
    interval = Interval(1.0, 2.0)
    held = [sigma for sigma in (0.5, 1.0, 1.5, 2.0, 2.5) if interval.holds(torch.tensor(sigma))]
    assert held == [1.0, 1.5, 2.0]
    assert Interval().holds(torch.tensor(1e30))
