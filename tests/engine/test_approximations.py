"""Guidance interval and block cache: exact at their defaults, less work when enabled."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from img2vid.engine import Conditioning, ConditioningSettings, SamplerSettings
from img2vid.engine.backends.native import NativeEngine
from img2vid.engine.sampling.block_cache import BlockCache, InnerBlocks
from img2vid.engine.sampling.discretization import edm_sigmas
from img2vid.engine.sampling.guiders import Interval
from img2vid.engine.sampling.samplers import SAMPLERS

FRAMES, STEPS = 2, 4
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
    settings = ConditioningSettings(0.0, FRAMES, fps=7, motion_bucket_id=90)
    return small_engine.condition(image, settings, cond_noise=torch.zeros_like(image))


@pytest.fixture(scope="module")
def sample(small_engine: NativeEngine, pair: Pair) -> Sample:
    """Return a function that samples latents with some settings changed."""

    def run(**changed: Any) -> Tensor:
        settings = SamplerSettings(**{"num_steps": STEPS, **changed})
        return small_engine.sample(NOISE, *pair, settings, generator=torch.Generator().manual_seed(1))

    return run


@pytest.fixture(scope="module")
def exact(sample: Sample) -> Tensor:
    return sample()


@pytest.fixture
def evaluations(small_engine: NativeEngine, monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, int]]:
    """Return a list that records the noise level and the number of conditionings of every evaluation."""
    calls: list[tuple[float, int]] = []
    denoiser = small_engine.denoiser

    def recording(x: Tensor, sigma: Tensor, conditionings: list[Conditioning], *more: Any) -> list[Tensor]:
        calls.append((float(sigma), len(conditionings)))
        return denoiser(x, sigma, conditionings, *more)

    monkeypatch.setattr(small_engine, "denoiser", recording)
    return calls


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
    assert evaluations == [(level, 2 if index in (1, 2) else 1) for index, level in enumerate(LEVELS)]
    assert not torch.equal(approximate, exact)


def test_each_evaluation_of_a_heun_step_uses_its_own_noise_level(
    sample: Sample, evaluations: list[tuple[float, int]]
) -> None:
    sample(sampler="HeunEDMSampler", guidance_sigma_max=LEVELS[1])
    assert [count for _, count in evaluations] == [1, 2, 2, 2, 2, 2, 2]


def test_without_a_guider_the_interval_has_no_effect(sample: Sample) -> None:
    plain = {"guider": "IdentityGuider", "guider_params": {}}
    assert torch.equal(sample(**plain, guidance_sigma_max=1.0), sample(**plain))


def test_both_ends_belong_to_the_interval() -> None:
    interval = Interval(1.0, 2.0)
    contained = [sigma for sigma in (0.5, 1.0, 1.5, 2.0, 2.5) if interval.contains(torch.tensor(sigma))]
    assert contained == [1.0, 1.5, 2.0]
    assert Interval().contains(torch.tensor(1e30))


# Block caching between steps


@pytest.fixture
def blocks(small_engine: NativeEngine, one_thread: None) -> Iterator[Counter[str]]:
    """Count the runs of each block. One thread only, because several would split the frames of the outer blocks."""
    network = small_engine.denoiser.network
    named = {"middle": network.middle}
    named |= {f"down {index}": block for index, block in enumerate(network.down)}
    named |= {f"up {index}": block for index, block in enumerate(network.up)}
    counts = Counter[str]()

    def count_runs_of(name: str, block: nn.Module) -> Any:
        return next(block.children()).register_forward_pre_hook(lambda *_: counts.update([name]))

    handles = [count_runs_of(name, block) for name, block in named.items()]
    yield counts
    for handle in handles:
        handle.remove()


def outermost(blocks: Counter[str]) -> int:
    """Return the number of runs of the two outermost blocks."""
    last = max((name for name in blocks if name.startswith("up")), key=lambda name: int(name.split()[1]))
    assert blocks["down 0"] == blocks[last]
    return blocks["down 0"]


def inner(blocks: Counter[str]) -> int:
    """Return the number of runs of each of the other blocks."""
    (count,) = {count for name, count in blocks.items() if count != outermost(blocks)} or {outermost(blocks)}
    assert list(blocks.values()).count(count) >= len(blocks) - 2
    return count


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_cache_that_is_refilled_at_every_step_is_exact(
    sample: Sample, sampler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Results must be exact with `block_cache` above 1, too, where they pass through the cache."""
    kept: list[Tensor] = []

    def recall(inner: InnerBlocks) -> None:
        return None

    def keep(inner: InnerBlocks, result: Tensor) -> None:
        kept.append(result)

    exact = sample(sampler=sampler)
    monkeypatch.setattr(InnerBlocks, "recall", recall)
    monkeypatch.setattr(InnerBlocks, "keep", keep)
    assert torch.equal(sample(sampler=sampler, block_cache=5), exact)
    assert len(kept) >= 2 * STEPS


@pytest.mark.parametrize(("every", "full"), [(1, 4), (2, 2), (3, 2), (4, 1), (100, 1)])
def test_between_full_steps_only_the_outermost_blocks_run(
    sample: Sample, blocks: Counter[str], every: int, full: int
) -> None:
    sample(block_cache=every)
    assert (outermost(blocks), inner(blocks)) == (2 * STEPS, 2 * full)


def test_both_evaluations_of_a_full_heun_step_are_full(sample: Sample, blocks: Counter[str]) -> None:
    """Of four steps, the first and the third are full; each has two evaluations, except for the last step with one."""
    sample(sampler="HeunEDMSampler", block_cache=2)
    assert (outermost(blocks), inner(blocks)) == (2 * 7, 2 * 4)


def test_guidance_that_begins_between_full_steps_computes_its_branch(sample: Sample, blocks: Counter[str]) -> None:
    sample(block_cache=4, guidance_sigma_max=LEVELS[2])
    assert (outermost(blocks), inner(blocks)) == (1 + 1 + 2 + 2, 1 + 1)


def test_a_cache_changes_the_result_and_lives_for_one_run(sample: Sample) -> None:
    exact = sample()
    first = sample(block_cache=2)
    assert not torch.equal(first, exact)
    assert torch.isfinite(first).all()
    assert torch.equal(sample(block_cache=2), first)
    assert torch.equal(sample(block_cache=1), exact)


def test_a_run_of_one_step_is_exact_with_any_cache(sample: Sample) -> None:
    assert torch.equal(sample(num_steps=1, block_cache=5), sample(num_steps=1))


def test_both_branches_together_cache_the_same_as_each_alone(
    small_engine: NativeEngine, sample: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = {"block_cache": 4, "guidance_sigma_max": LEVELS[2]}
    one_way = sample(**changed)
    monkeypatch.setattr(small_engine.denoiser, "together", not small_engine.denoiser.together)
    torch.testing.assert_close(sample(**changed), one_way)


@pytest.mark.parametrize("together", [False, True])
def test_a_cache_with_every_1_does_not_change_the_estimates(
    small_engine: NativeEngine, pair: Pair, together: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(small_engine.denoiser, "together", together)
    plain = small_engine.denoiser(NOISE, torch.tensor(1.0), [*pair])
    cached = small_engine.denoiser(NOISE, torch.tensor(1.0), [*pair], BlockCache(1))
    assert all(torch.equal(*both) for both in zip(plain, cached, strict=True))


def test_cached_results_are_not_overwritten(small_engine: NativeEngine, pair: Pair) -> None:
    """Layers may overwrite their inputs to save memory, but cached results are reused."""
    cache, sigma = BlockCache(3), torch.tensor(1.0)
    small_engine.denoiser(NOISE, sigma, [pair[0]], cache)
    cache.next_step()
    before = cache.of(pair[0]).recall()
    assert before is not None
    copy = before.clone()
    for _ in range(2):
        small_engine.denoiser(NOISE, sigma, [pair[0]], cache)
    after = cache.of(pair[0]).recall()
    assert after is not None and after is before
    assert torch.equal(after, copy)
