"""Offloading, tested on the CPU between two copies of the weights: identical results within the planned bytes."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest
import torch
from golden_models import golden_model
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from img2vid.engine import Conditioning, Parts, SamplerSettings, load_engine
from img2vid.engine.backends.native import NativeEngine
from img2vid.engine.interface import DTYPES, ConditioningSettings
from img2vid.engine.memory.accounting import LiveBytes
from img2vid.engine.memory.offload import ALIGNMENT, CHUNK, NETWORK, Group, PinnedPool, Prefetcher, SynchronousCopies
from img2vid.engine.memory.plans import Plan
from img2vid.errors import Cancelled
from img2vid.options import LoadOptions, MemoryPlan

GOLDEN = golden_model("tiny_svd")
CPU = torch.device("cpu")
SETTINGS = SamplerSettings(num_steps=2)
PLANS = [Plan("stages"), Plan("stages", low_memory=True), Plan("blocks", together=True), Plan("blocks")]
Pair = tuple[Conditioning, Conditioning]


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def load(plan: Plan, spare: Parts | None = None, **options: Any) -> NativeEngine:
    engine = load_engine(GOLDEN.config, GOLDEN.checkpoint, LoadOptions(device="cpu", **options), spare=spare)
    assert isinstance(engine, NativeEngine)
    engine.apply(plan)
    return engine


def condition(engine: NativeEngine) -> Pair:
    image = draw(1, 3, 64, 64).clamp(-1, 1)
    settings = ConditioningSettings(0.02, 3, fps=7, motion_bucket_id=90)
    return engine.condition(image, settings, cond_noise=draw(1, 3, 64, 64, seed=1))


def sample(engine: NativeEngine, pair: Pair, **more: Any) -> Tensor:
    return engine.sample(draw(3, 4, 8, 8, seed=2), *pair, SETTINGS, **more)


def run(engine: NativeEngine) -> list[Tensor]:
    pair = condition(engine)
    latents = sample(engine, pair)
    return [*vars(pair[0]).values(), latents, engine.decode(latents, 2)]


def weights(engine: NativeEngine) -> list[Tensor]:
    modules = (engine.model.conditioner, engine.denoiser.network, engine.decoder)
    return [weight for module in modules for weight in module.parameters()]


def addresses(engine: NativeEngine) -> list[int]:
    return [weight.data_ptr() for weight in weights(engine)]


@pytest.mark.parametrize("plan", PLANS)
def test_a_clip_is_the_same_to_the_last_bit_under_every_plan(plan: Plan) -> None:
    expected = run(load(Plan(low_memory=plan.low_memory)))
    engine = load(plan)
    for _ in range(2):
        assert all(map(torch.equal, run(engine), expected))


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_short_formats_can_be_offloaded_and_decoded_again_in_float32(precision: str) -> None:
    options: dict[str, Any] = {"precision": precision, "decoder_precision": precision}
    resident, moving = load(Plan(), **options), load(Plan("blocks"), **options)
    pairs = [condition(engine) for engine in (resident, moving)]
    assert torch.equal(sample(resident, pairs[0]), sample(moving, pairs[1]))
    loud = 1e6 * draw(2, 4, 8, 8)
    notices: list[str] = []
    frames = [engine.decode(loud, 2, on_notice=notices.append) for engine in (resident, moving)]
    assert torch.equal(*frames)
    assert len(notices) == (2 if precision == "fp16" else 0)


@pytest.mark.parametrize("plan", PLANS)
def test_all_weights_are_offloaded_after_a_run_and_after_an_exception(plan: Plan) -> None:
    engine = load(plan)
    offloaded = addresses(engine)
    pair = condition(engine)

    def stop(_: object) -> None:
        assert addresses(engine) != offloaded
        raise Cancelled("enough")

    with pytest.raises(Cancelled):
        sample(engine, pair, on_step=stop)
    assert addresses(engine) == offloaded

    def stop_decoding(done: int, total: int) -> None:
        raise Cancelled(f"{done} of {total} are enough")

    with pytest.raises(Cancelled):
        engine.decode(draw(3, 4, 8, 8), 2, on_chunk=stop_decoding)
    assert addresses(engine) == offloaded
    engine.decode(sample(engine, pair), 2)
    assert addresses(engine) == offloaded


def test_offloading_keeps_the_memory_layout_of_weights() -> None:
    engine = load(Plan())
    before = [(weight.shape, weight.stride(), weight.dtype, weight.clone()) for weight in weights(engine)]
    assert any(weight.ndim == 4 and not weight.is_contiguous() for weight in weights(engine))
    engine.apply(Plan("stages"))
    with engine.offload.at_work(NETWORK), engine.offload.at_work("decoder"):
        for weight, (shape, stride, dtype, values) in zip(weights(engine), before, strict=True):
            assert (weight.shape, weight.stride(), weight.dtype) == (shape, stride, dtype)
            assert torch.equal(weight, values)


def test_plans_can_be_changed() -> None:
    expected = run(load(Plan()))
    engine = load(Plan())
    for memory in ("blocks", "resident", "stages", "resident"):
        engine.apply(Plan(memory))
        assert all(map(torch.equal, run(engine), expected))
    assert engine.offload.bytes_on_device > 0


def test_two_models_share_a_part_under_different_plans() -> None:
    first = load(Plan())
    second = load(Plan(), spare=first.parts)
    assert second.parts["cond_frames"].module is first.parts["cond_frames"].module
    expected = run(load(Plan()))
    plans: tuple[MemoryPlan, ...] = ("stages", "blocks", "resident")
    for mine in plans:
        for other in plans:
            first.apply(Plan(mine))
            second.apply(Plan(other))
            for engine in (first, second, first):
                for part in engine.parts.values():
                    part.seen.clear()
                assert all(map(torch.equal, run(engine), expected))


class Recording(SynchronousCopies):
    """Recorder of the order of copies and waits."""

    def __init__(self, log: list[str]) -> None:
        self.log = log

    def copying(self) -> AbstractContextManager[Any]:
        self.log.append("copy")
        return nullcontext()

    def record_work(self) -> Any:
        self.log.append("work so far")
        return len(self.log)

    def make_copies_wait(self, event: Any) -> None:
        self.log.append(f"copies wait for {event}")

    def make_work_wait(self, event: Any) -> None:
        self.log.append("work waits")


def test_a_buffer_is_refilled_only_after_the_work_that_used_it() -> None:
    pool = PinnedPool(pinned=False)
    groups = [Group([nn.Linear(4, 4)], CPU, pool) for _ in range(3)]
    for group in groups:
        group.unload()
    log: list[str] = []
    prefetcher = Prefetcher(groups, CPU, Recording(log))
    for index in (0, 0, 1, 2, 0):
        prefetcher.need(index)
        assert [group.is_offloaded for group in groups] == [other != index for other in range(3)]
    prefetcher.close()
    assert all(group.is_offloaded for group in groups)
    assert log == [
        *("work so far", "work so far"),  # 1 and 2: previous users of the memory
        *("copies wait for 1", "copy", "work waits", "copies wait for 2", "copy"),
        *("work so far", "work waits", "copies wait for 8", "copy"),  # the first group's work ends at 8
        *("work so far", "work waits", "copies wait for 12", "copy"),
        *("work so far", "work waits", "copies wait for 16", "copy"),
        *("work so far", "work waits"),
    ]


@given(st.lists(st.tuples(st.integers(0, 3 * ALIGNMENT), st.sampled_from(list(DTYPES.values()))), min_size=1))
def test_the_pool_stores_many_weights_in_few_chunks(forms: list[tuple[int, torch.dtype]]) -> None:
    pool = PinnedPool(pinned=False)
    given_tensors = [torch.arange(size, dtype=torch.float32).to(dtype) for size, dtype in forms]
    kept = [pool.copy(tensor) for tensor in given_tensors]
    assert all(map(torch.equal, kept, given_tensors))
    chunks = {tensor.untyped_storage().data_ptr() for tensor in kept if tensor.numel()}  # empty tensors have no storage
    assert len(chunks) <= 1 + sum(tensor.nbytes + ALIGNMENT for tensor in kept) // (CHUNK // 2)


def test_a_weight_larger_than_a_chunk_is_stored_whole() -> None:
    large = torch.zeros(CHUNK + 1, dtype=torch.uint8)
    large[-1] = 7
    assert torch.equal(PinnedPool(pinned=False).copy(large), large)


@pytest.mark.parametrize("plan", [Plan("stages"), Plan("blocks", together=True)])
def test_weights_on_the_device_match_the_accounting(plan: Plan) -> None:
    """Count all device bytes while the network runs, including the buffers of streamed weights."""
    engine = load(plan)
    planned = engine.needs.streamed if plan.memory == "blocks" else engine.needs.weights["network"]
    seen: list[int] = []
    with LiveBytes("cpu") as live, engine.offload.at_work(NETWORK):
        engine.denoiser.network.before_stage(engine.denoiser.network.middle)
        seen.append(live.now)
    slack = ALIGNMENT * len(weights(engine))
    assert planned - slack <= seen[0] <= planned + slack
