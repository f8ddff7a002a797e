"""Encoder cache: repeated images are not encoded again, and cached results are bit-identical."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from golden_models import CPU, golden_model
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from img2vid.engine import Conditioning, ConditioningSettings, load_engine
from img2vid.engine.backends.native import NativeEngine
from img2vid.engine.encoder_cache import CAPACITY, EncoderCache, fingerprint

GOLDEN = golden_model("tiny_svd")
Runs = dict[str, int]


def draw(seed: int) -> Tensor:
    return torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def engine() -> NativeEngine:
    loaded = load_engine(GOLDEN.config, GOLDEN.checkpoint, CPU)
    assert isinstance(loaded, NativeEngine)
    return loaded


@pytest.fixture
def runs(engine: NativeEngine) -> Runs:
    """Count the runs of each network of the conditioner."""
    counted = {"cond_frames_without_noise": 0, "cond_frames": 0}

    def count(key: str) -> Callable[..., None]:
        def hook(*arguments: Any) -> None:
            counted[key] += 1

        return hook

    for key in counted:
        engine.model.conditioner.embedder(key).register_forward_hook(count(key))
    return counted


def condition(engine: NativeEngine, picture: int = 0, noise: int = 1, **changes: Any) -> tuple[Tensor, ...]:
    numbers = {"fps": 7, "motion_bucket_id": 90, "cond_aug": 0.02, "num_frames": 3, **changes}
    pair: tuple[Conditioning, Conditioning] = engine.condition(
        draw(picture).clamp(-1, 1), ConditioningSettings(**numbers), cond_noise=draw(noise)
    )
    return tuple(part for half in pair for part in vars(half).values())


def same(one: tuple[Tensor, ...], other: tuple[Tensor, ...]) -> bool:
    return all(torch.equal(*pair) for pair in zip(one, other, strict=True))


def test_the_same_picture_and_noise_run_no_network_again(engine: NativeEngine, runs: Runs) -> None:
    first = condition(engine)
    assert runs == {"cond_frames_without_noise": 1, "cond_frames": 1}
    again = condition(engine)
    assert runs == {"cond_frames_without_noise": 1, "cond_frames": 1}
    assert same(first, again)
    fresh = load_engine(GOLDEN.config, GOLDEN.checkpoint, CPU)
    assert isinstance(fresh, NativeEngine)
    assert same(first, condition(fresh))


@pytest.mark.parametrize("change", [{"noise": 2}, {"cond_aug": 0.1}])
def test_another_noise_runs_only_the_encoder(engine: NativeEngine, runs: Runs, change: dict[str, Any]) -> None:
    condition(engine)
    changed = condition(engine, **change)
    assert runs == {"cond_frames_without_noise": 1, "cond_frames": 2}
    fresh = load_engine(GOLDEN.config, GOLDEN.checkpoint, CPU)
    assert isinstance(fresh, NativeEngine)
    assert same(changed, condition(fresh, **change))


def test_scalars_and_length_are_not_cached(engine: NativeEngine, runs: Runs) -> None:
    condition(engine)
    longer = condition(engine, motion_bucket_id=20, fps=12, num_frames=5)
    assert runs == {"cond_frames_without_noise": 1, "cond_frames": 1}
    fresh = load_engine(GOLDEN.config, GOLDEN.checkpoint, CPU)
    assert isinstance(fresh, NativeEngine)
    assert same(longer, condition(fresh, motion_bucket_id=20, fps=12, num_frames=5))


def test_another_picture_runs_both_networks(engine: NativeEngine, runs: Runs) -> None:
    first = condition(engine)
    assert not same(first, condition(engine, picture=5))
    assert runs == {"cond_frames_without_noise": 2, "cond_frames": 2}


def test_another_number_of_threads_computes_again(engine: NativeEngine, runs: Runs, one_thread: None) -> None:
    """The number of threads changes the last bits, and the same settings must give the same video."""
    condition(engine)
    torch.set_num_threads(2)
    condition(engine)
    torch.set_num_threads(1)
    condition(engine)
    assert runs == {"cond_frames_without_noise": 2, "cond_frames": 2}


@given(st.lists(st.integers(0, 2 * CAPACITY), max_size=100), st.integers(1, 5))
def test_the_most_recently_used_results_are_kept_up_to_the_capacity(keys: list[int], capacity: int) -> None:
    cache = EncoderCache(capacity)
    last: list[int] = []  # least recently used first
    for key in keys:
        computed: list[int] = []

        def compute(key: int = key, computed: list[int] = computed) -> Tensor:
            computed.append(key)
            return torch.tensor(key)

        assert cache(str(key).encode(), compute).item() == key
        assert bool(computed) == (key not in last)
        last = [*(other for other in last if other != key), key][-capacity:]
        assert len(cache) == len(last)


def test_a_failed_computation_is_not_cached() -> None:
    cache = EncoderCache()

    def fail() -> Tensor:
        raise MemoryError

    with pytest.raises(MemoryError):
        cache(b"key", fail)
    assert cache(b"key", lambda: torch.ones(1)).item() == 1


def test_fingerprints_are_equal_only_for_equal_bytes() -> None:
    x = torch.arange(6.0)
    assert fingerprint(x, 0.5) == fingerprint(x.clone(), 0.5)
    assert fingerprint(x.reshape(2, 3).T) == fingerprint(x.reshape(2, 3).T.contiguous())
    others = [x.reshape(2, 3), x.double(), x.half(), -x, x[:5], torch.nextafter(x, torch.ones(6))]
    prints = [fingerprint(x), fingerprint(x, 0.5), fingerprint(x, 0.5000000001), fingerprint(x, x)]
    assert len({*prints, *(fingerprint(other) for other in others)}) == len(prints) + len(others)
