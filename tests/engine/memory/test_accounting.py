"""Memory accounting matches the memory of a real run, and full models fit the expected GPUs."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from golden_models import CPU, golden_model
from torch import Tensor

from img2vid import paths
from img2vid.engine import load_engine
from img2vid.engine.backends.native import NativeEngine, needs_of
from img2vid.engine.config import load_config
from img2vid.engine.fast import norms, ops, transformer
from img2vid.engine.interface import ModelSource
from img2vid.engine.memory.accounting import ClipSize, LiveBytes, Needs
from img2vid.engine.memory.plans import CONTEXT, GB, Plan, bytes_of, candidates, choose
from img2vid.errors import OutOfMemory
from img2vid.options import LoadOptions, MemoryPlan, Precision

SVD = paths.CONFIGS / "svd.yaml"
GOLDEN = golden_model("tiny_svd")
FULL = {"svd": ClipSize(14, 576, 1024, 14), "svd_xt": ClipSize(25, 576, 1024, 14)}
SMALL = ClipSize(3, 64, 128, 3)
Needed = dict[str, int]
pytestmark = pytest.mark.takes_long("counts full-size models operation by operation")


def needs(config: Path, precision: Precision, decoder_precision: Precision = "fp32") -> Needs:
    options = LoadOptions(precision=precision, decoder_precision=decoder_precision)
    return needs_of(ModelSource(config, Path("none"), load_config(config), options))


@pytest.fixture(scope="module")
def full() -> Needs:
    """Return the needs of svd and svd_xt (same architecture) in float16 with a float32 decoder."""
    return needs(SVD, "fp16")


def peak(run: Callable[[], object]) -> int:
    with torch.inference_mode(), LiveBytes("cpu") as live:
        run()
    return live.peak


def test_live_tensors_are_counted_once_until_they_are_freed() -> None:
    outside = torch.zeros(1000)
    with LiveBytes("cpu") as live:
        outside.add_(1)
        outside.view(10, 100)
        assert live.now == 0
        first = torch.zeros(100)
        second = first.view(10, 10)[2:]
        assert live.now == 400
        del first
        assert live.now == 400
        third = second + 1
        assert live.now == 400 + 320
        del second, third
        assert live.now == 0
    assert live.peak == 400 + 320


@pytest.mark.parametrize("budget", [100_000, 100_000_000])
def test_accounting_matches_a_real_run(budget: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run on the CPU with the norms and matrix products of a GPU."""
    monkeypatch.setattr(norms, "_by_native_group_norm", lambda x: False)
    for module in (ops, transformer):
        monkeypatch.setattr(module, "by_onednn", lambda x: False)
    engine = load_engine(GOLDEN.config, GOLDEN.checkpoint, CPU)
    assert isinstance(engine, NativeEngine)
    counted = engine.needs
    for part in (engine, engine.decoder, counted.network, counted.decoder):
        part.budget.bytes = budget
    engine.budget._threaded = engine.decoder.budget._threaded = False
    network, h, w = engine.denoiser.network, SMALL.height // 8, SMALL.width // 8
    assert counted.weights["network"] == sum(weight.nbytes for weight in network.state_dict().values())
    assert counted.weights["decoder"] == sum(weight.nbytes for weight in engine.decoder.state_dict().values())

    clip, token, vector = torch.randn(3, 8, h, w), torch.randn(1, 64), torch.randn(1, 768)
    image, latents, level = torch.randn(1, 3, SMALL.height, SMALL.width), torch.randn(3, 4, h, w), torch.ones(1)

    def step(together: bool) -> None:
        constants = [network.precompute(token, vector, 3) for _ in range(2)]
        runs = (
            [network([clip] * 2, level, constants)]
            if together
            else [network([clip], level, [one]) for one in constants]
        )
        del runs

    def decode(low_memory: bool) -> Tensor:
        engine.decoder.low_memory = low_memory
        return engine.decoder(latents)

    for together in (False, True):
        assert counted.sample(SMALL, together=together) == pytest.approx(peak(partial(step, together)), rel=0.03)
    for low_memory in (False, True):
        assert counted.decode(SMALL, low_memory=low_memory) == pytest.approx(
            peak(partial(decode, low_memory)), rel=0.03
        )
    conditioner = engine.model.conditioner
    assert counted.encode(SMALL) == pytest.approx(peak(lambda: conditioner.encode_frame(image)), rel=0.03)
    assert counted.embed_image(SMALL) == pytest.approx(peak(lambda: conditioner.embed_image(image)), rel=0.03)


@pytest.mark.parametrize("name", FULL)
def test_8_gb_of_gpu_memory_are_enough_with_a_desktop(full: Needs, name: str) -> None:
    for memory in ("stages", "blocks"):
        needed = bytes_of(full, FULL[name], Plan(memory, low_memory=True))
        assert max(needed.values()) + CONTEXT <= 7 * GB
    assert choose(full, FULL[name], 7 * GB - CONTEXT) == Plan("stages", low_memory=True)


@pytest.mark.parametrize("name", FULL)
def test_a_model_stays_resident_in_12_gb(full: Needs, name: str) -> None:
    assert max(bytes_of(full, FULL[name], Plan("resident", low_memory=True)).values()) + CONTEXT <= 11 * GB
    assert choose(full, FULL[name], 11 * GB - CONTEXT) == Plan("resident", low_memory=True)


def test_5_gb_are_enough_for_sampling(full: Needs) -> None:
    assert bytes_of(full, FULL["svd_xt"], Plan("blocks", together=True))["sample"] + CONTEXT <= 5 * GB


@pytest.mark.parametrize("decode_t", [1, 14])
def test_decoding_a_frame_in_float32_takes_half_of_the_reference(full: Needs, decode_t: int) -> None:
    """A single frame fits only with the low-memory decoder; the plain one takes 1.5 GB for it."""
    size = ClipSize(25, 576, 1024, decode_t)
    assert full.decode(size, low_memory=True) / decode_t <= 1.2e9
    assert full.decode(size, low_memory=False) / decode_t <= (1.2e9 if decode_t > 1 else 1.6e9)


def test_more_free_memory_gets_a_faster_plan(full: Needs) -> None:
    size = FULL["svd_xt"]
    chosen = [choose(full, size, free * GB) for free in (80, 24, 16, 10, 8, 6, 5, 4)]
    memories = [plan.memory for plan in chosen]
    assert chosen[0] == Plan("resident")
    assert memories == sorted(memories, key=["resident", "stages", "blocks"].index)
    assert {*memories} == {"resident", "stages", "blocks"}
    for plan, free in zip(chosen, (80, 24, 16, 10, 8, 6, 5, 4), strict=True):
        needed = bytes_of(full, size, plan)
        assert max(needed["condition"], needed["sample"]) <= free * GB


def test_the_error_says_what_to_do_if_nothing_fits(full: Needs) -> None:
    with pytest.raises(OutOfMemory) as caught:
        choose(full, FULL["svd_xt"], 2 * GB)
    assert str(caught.value) == (
        "25 frames of 1024 x 576 need 3.0 GB of GPU memory in stage 'sample', even with memory blocks and decode_t "
        "1, but 2.0 GB are free; make the video smaller, or close other programs that use the GPU"
    )
    assert choose(full, ClipSize(14, 192, 320, 1), 2 * GB).memory == "blocks"


@pytest.mark.parametrize("memory", ["resident", "stages", "blocks"])
def test_a_requested_plan_uses_the_best_variant_that_fits(full: Needs, memory: MemoryPlan) -> None:
    size = FULL["svd"]
    assert choose(full, size, 80 * GB, memory) == candidates(memory)[0]
    assert choose(full, size, 1 * GB, memory) == candidates(memory)[-1]


def test_shorter_formats_need_less(full: Needs) -> None:
    half = needs(SVD, "fp16", "fp16")
    assert half.decode(FULL["svd"], low_memory=True) == pytest.approx(
        full.decode(FULL["svd"], low_memory=True) / 2, rel=0.1
    )
    assert half.weights["decoder"] == full.weights["decoder"] / 2
    assert half.weights["encoder"] == full.weights["encoder"]


def test_an_engine_uses_the_plan_that_fits() -> None:
    engine = load_engine(GOLDEN.config, GOLDEN.checkpoint, CPU)
    assert isinstance(engine, NativeEngine)
    assert engine.plan_memory(SMALL) == Plan()  # no GPU
    assert engine.plan_memory(SMALL, free=0).low_memory
    assert engine.decoder.low_memory
    assert engine.plan_memory(SMALL, free=10 * GB) == Plan()
    assert not engine.decoder.low_memory
