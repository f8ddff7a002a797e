"""A picture that comes again is not looked at again, and what comes out is the same to the last bit."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from golden_models import golden_model
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from img2vid.engine import Conditioning, load_engine
from img2vid.engine.backends.native import NativeEngine
from img2vid.engine.encoder_cache import ROOM, EncoderCache, fingerprint

GOLDEN = golden_model("tiny_svd")
Runs = dict[str, int]


def draw(seed: int) -> Tensor:
    return torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def engine() -> NativeEngine:
    loaded = load_engine(GOLDEN.config, GOLDEN.checkpoint)
    assert isinstance(loaded, NativeEngine)
    return loaded


@pytest.fixture
def runs(engine: NativeEngine) -> Runs:
    """How often each network of the conditioner ran."""
    counted = {"cond_frames_without_noise": 0, "cond_frames": 0}

    def count(key: str) -> Callable[..., None]:
        def hook(*arguments: Any) -> None:
            counted[key] += 1

        return hook

    for key in counted:
        engine.model.conditioner.embedder(key).register_forward_hook(count(key))
    return counted


def condition(engine: NativeEngine, picture: int = 0, noise: int = 1, **changes: Any) -> tuple[Tensor, ...]:
    numbers = {"cond_aug": 0.02, "motion_bucket_id": 90, "fps": 7, "num_frames": 3, **changes}
    pair: tuple[Conditioning, Conditioning] = engine.condition(
        draw(picture).clamp(-1, 1), cond_noise=draw(noise), **numbers
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
    fresh = load_engine(GOLDEN.config, GOLDEN.checkpoint)
    assert isinstance(fresh, NativeEngine)
    assert same(first, condition(fresh))


@pytest.mark.parametrize("change", [{"noise": 2}, {"cond_aug": 0.1}])
def test_another_noise_needs_the_encoder_alone(engine: NativeEngine, runs: Runs, change: dict[str, Any]) -> None:
    condition(engine)
    changed = condition(engine, **change)
    assert runs == {"cond_frames_without_noise": 1, "cond_frames": 2}
    fresh = load_engine(GOLDEN.config, GOLDEN.checkpoint)
    assert isinstance(fresh, NativeEngine)
    assert same(changed, condition(fresh, **change))


def test_numbers_and_length_are_not_remembered(engine: NativeEngine, runs: Runs) -> None:
    condition(engine)
    longer = condition(engine, motion_bucket_id=20, fps=12, num_frames=5)
    assert runs == {"cond_frames_without_noise": 1, "cond_frames": 1}
    fresh = load_engine(GOLDEN.config, GOLDEN.checkpoint)
    assert isinstance(fresh, NativeEngine)
    assert same(longer, condition(fresh, motion_bucket_id=20, fps=12, num_frames=5))


def test_another_picture_needs_both(engine: NativeEngine, runs: Runs) -> None:
    first = condition(engine)
    assert not same(first, condition(engine, picture=5))
    assert runs == {"cond_frames_without_noise": 2, "cond_frames": 2}


def test_another_number_of_threads_computes_anew(engine: NativeEngine, runs: Runs, one_thread: None) -> None:
    """How many threads there are changes the last bits, and the same settings must give the same video."""
    condition(engine)
    torch.set_num_threads(2)
    condition(engine)
    torch.set_num_threads(1)
    condition(engine)
    assert runs == {"cond_frames_without_noise": 2, "cond_frames": 2}


@given(st.lists(st.integers(0, 2 * ROOM), max_size=100), st.integers(1, 5))
def test_the_last_used_are_kept_and_no_more_than_there_is_room_for(keys: list[int], room: int) -> None:
    remembered = EncoderCache(room)
    last: list[int] = []  # the one that was used longest ago first
    for key in keys:
        computed: list[int] = []

        def compute(key: int = key, computed: list[int] = computed) -> Tensor:
            computed.append(key)
            return torch.tensor(key)

        assert remembered(str(key).encode(), compute).item() == key
        assert bool(computed) == (key not in last)
        last = [*(other for other in last if other != key), key][-room:]
        assert len(remembered) == len(last)


def test_a_result_that_could_not_be_computed_is_not_remembered() -> None:
    remembered = EncoderCache()

    def fail() -> Tensor:
        raise MemoryError

    with pytest.raises(MemoryError):
        remembered(b"key", fail)
    assert remembered(b"key", lambda: torch.ones(1)).item() == 1


def test_fingerprints_are_equal_for_equal_bytes_alone() -> None:
    x = torch.arange(6.0)
    assert fingerprint(x, 0.5) == fingerprint(x.clone(), 0.5)
    assert fingerprint(x.reshape(2, 3).T) == fingerprint(x.reshape(2, 3).T.contiguous())
    others = [x.reshape(2, 3), x.double(), x.half(), -x, x[:5], torch.nextafter(x, torch.ones(6))]
    prints = [fingerprint(x), fingerprint(x, 0.5), fingerprint(x, 0.5000000001), fingerprint(x, x)]
    assert len({*prints, *(fingerprint(other) for other in others)}) == len(prints) + len(others)
