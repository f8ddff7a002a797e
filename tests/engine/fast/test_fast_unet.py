"""The fast network matches the plain network for every tile size."""

import copy
import threading
from typing import Any

import pytest
import torch
from golden_models import golden_model, relative_error
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from img2vid.engine.config import load_config
from img2vid.engine.fast.tile_plan import MIB, TilePlan
from img2vid.engine.fast.unet import FastUNet
from img2vid.engine.nets.unet import VideoUNet

CONFIG = load_config(golden_model("tiny_svd").config).network_config
FRAMES, HEIGHT, WIDTH = 3, 4, 8
BUDGETS = [1, 20_000, 512 * MIB]
"""Smallest tiles, some tiling, no tiling."""
TOLERANCE = 1e-5


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def plain(**changes: Any) -> VideoUNet:
    """Return a network with random weights in which every part affects the result."""
    torch.manual_seed(3)
    net = VideoUNet(CONFIG.model_copy(update=changes)).eval().requires_grad_(False)
    for name, parameter in net.named_parameters():
        if "mix_factor" in name:
            parameter.fill_(0.7)
        elif parameter.ndim == 1:
            parameter.add_(0.3 * torch.randn_like(parameter))
    return net


def run_plain(net: VideoUNet, clips: Tensor, crossattn: Tensor, vector: Tensor, c_noise: Tensor) -> Tensor:
    """Run clips (b, t, c, h, w) with crossattn (b, d), vector (b, adm) or (b, t, adm) and return (b, t, c, h, w)."""
    context = crossattn[:, None].repeat_interleave(FRAMES, 0)
    rows = vector.flatten(0, 1) if vector.ndim == 3 else vector.repeat_interleave(FRAMES, 0)
    noise = c_noise.expand(len(clips) * FRAMES)
    result = net(clips.flatten(0, 1), noise, context=context, vector=rows, num_frames=FRAMES)
    return result.unflatten(0, (len(clips), FRAMES))


def run_fast(net: FastUNet, clips: Tensor, crossattn: Tensor, vector: Tensor, c_noise: Tensor) -> Tensor:
    vectors = vector if vector.ndim == 3 else vector[:, None]
    constants = [net.precompute(crossattn[i : i + 1], vectors[i], FRAMES) for i in range(len(clips))]
    return torch.stack(net(list(clips), c_noise, constants))


def inputs(*, per_frame: bool = False) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return two clips, their conditioning, and a noise level."""
    clips = draw(2, FRAMES, CONFIG.in_channels, HEIGHT, WIDTH)
    rows = (2, FRAMES) if per_frame else (2,)
    return clips, draw(2, CONFIG.context_dim, seed=1), draw(*rows, CONFIG.adm_in_channels, seed=2), torch.tensor([0.4])


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"transformer_depth": 2, "use_linear_in_transformer": False},
        {"video_kernel_size": [3, 3, 3], "merge_strategy": "fixed", "merge_factor": 0.3},
    ],
    ids=["svd", "two blocks", "kernels over space and time"],
)
@pytest.mark.parametrize("per_frame", [False, True], ids=["one vector", "a vector for each frame"])
@torch.inference_mode()
def test_two_clips(budget: int, changes: dict[str, Any], per_frame: bool) -> None:
    net, given = plain(**changes), inputs(per_frame=per_frame)
    expected = run_plain(net, *given)
    assert relative_error(run_fast(FastUNet(net, TilePlan(budget)), *given), expected) <= TOLERANCE


@torch.inference_mode()
def test_a_vector_for_each_frame_changes_only_the_shifts_of_its_frame() -> None:
    """Equal rows give the result of one vector; a row that differs changes the result."""
    net = FastUNet(plain(), TilePlan(BUDGETS[1]))
    clips, crossattn, vector, c_noise = inputs()
    rows = vector[:, None].repeat(1, FRAMES, 1)
    one = run_fast(net, clips, crossattn, vector, c_noise)
    assert relative_error(run_fast(net, clips, crossattn, rows, c_noise), one) <= TOLERANCE
    rows[:, -1] += 1
    assert relative_error(run_fast(net, clips, crossattn, rows, c_noise), one) > 100 * TOLERANCE


@given(st.integers(1, 300_000))
@settings(max_examples=15, deadline=None)
@torch.inference_mode()
def test_any_tile_size_gives_the_same_result(one_net: tuple[FastUNet, Tensor], budget: int) -> None:
    net, expected = one_net
    net.budget.bytes = budget
    assert relative_error(run_fast(net, *inputs()), expected) <= TOLERANCE


@pytest.fixture(scope="module")
def one_net() -> tuple[FastUNet, Tensor]:
    net = plain()
    with torch.inference_mode():
        return FastUNet(copy.deepcopy(net), TilePlan(1)), run_plain(net, *inputs())


@pytest.mark.parametrize("threads", [1, 2, 3, 4])
@pytest.mark.parametrize("budget", BUDGETS[1:])
@torch.inference_mode()
def test_clips_that_advance_independently_give_the_same_bits(budget: int, threads: int) -> None:
    net, given = FastUNet(plain(), TilePlan(budget, threaded=True)), inputs()
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with net.budget.at_work():
            found = run_fast(net, *given)
            net.before_stage = lambda stage: None  # weights that move serve both clips stage by stage
            assert torch.equal(found, run_fast(net, *given))
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert relative_error(found, run_plain(plain(), *given)) <= TOLERANCE


@pytest.mark.parametrize(("threads", "at_once"), [(1, 1), (2, 2), (3, 1), (4, 2)])
def test_two_clips_run_at_once_if_the_threads_divide(threads: int, at_once: int) -> None:
    plan, meeting = TilePlan(1, threaded=True), threading.Barrier(at_once)

    def work(clip: int) -> list[int]:
        meeting.wait(60)
        return plan.each(lambda span: threading.get_ident(), [slice(i, i + 1) for i in range(40)])

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with plan.at_work():
            first, second = plan.apart(work, 2)
            assert plan.splits_clips == (at_once == 2)
    finally:
        torch.set_num_threads(before)
    assert at_once == 1 or set(first).isdisjoint(second)
    assert len({*first, *second}) <= threads


@torch.inference_mode()
def test_unused_weights_may_be_missing() -> None:
    net = plain()
    expected = run_plain(net, *inputs())
    net.drop_unused()
    assert torch.equal(run_plain(net, *inputs()), expected)
    assert relative_error(run_fast(FastUNet(net, TilePlan(BUDGETS[1])), *inputs()), expected) <= TOLERANCE


@torch.inference_mode()
def test_no_weight_is_stored_twice() -> None:
    """The plain network is empty afterwards; the fast one is no larger, except for upsampling convolutions."""
    net = plain()
    net.drop_unused()
    before = {name: tensor.numel() for name, tensor in net.named_parameters()}
    fused = FastUNet(net, TilePlan(1))
    kernels = sum(count for name, count in before.items() if ".conv.weight" in name)
    blends = sum(count for name, count in before.items() if "mix_factor" in name)
    after = sum(tensor.numel() for tensor in fused.parameters())
    assert after <= sum(before.values()) + kernels * 16 // 9 - kernels + blends
    left = {name for name, _ in net.named_parameters()}
    assert all(name.startswith(("time_embed", "label_emb", "out.")) for name in left)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@torch.inference_mode()
def test_half_precision_is_close(dtype: torch.dtype) -> None:
    net = plain()
    clips, crossattn, vector, c_noise = inputs()
    expected = run_plain(net, clips, crossattn, vector, c_noise)
    fused = FastUNet(net.to(dtype), TilePlan(BUDGETS[1]))
    found = run_fast(fused, clips.to(dtype), crossattn.to(dtype), vector.to(dtype), c_noise)
    assert found.dtype == dtype
    assert relative_error(found.float(), expected) <= 8 * torch.finfo(dtype).eps
