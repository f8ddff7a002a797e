"""Preconditioning: identities that define the coefficients, and the inputs of the network."""

from typing import Any, cast

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from img2vid.engine import Conditioning
from img2vid.engine.backends.native import NativeEngine
from img2vid.engine.fast.unet import FastUNet
from img2vid.engine.sampling.denoiser import Denoiser, v_scaling_with_edm_noise
from img2vid.errors import BadInput

FRAMES = 3
SIGMAS = st.floats(1e-3, 1e3).map(lambda value: torch.tensor([value], dtype=torch.float64))


class Network:
    """Fake UNet that returns `answer(x)` for every clip and records the arguments of each call."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.precomputed: list[tuple[Tensor, Tensor, int]] = []
        self.calls: list[tuple[list[Tensor], Tensor, list[int]]] = []

    def precompute(self, crossattn: Tensor, vector: Tensor, num_frames: int) -> int:
        self.precomputed.append((crossattn, vector, num_frames))
        return len(self.precomputed) - 1

    def __call__(self, clips: list[Tensor], c_noise: Tensor, constants: list[int], inner: None = None) -> list[Tensor]:
        self.calls.append((clips, c_noise, constants))
        return [self.answer(clip) for clip in clips]


def conditioning(seed: int) -> Conditioning:
    return drawn((1, 6), (2, 4, 4), (8,), seed=seed)


def drawn(*shapes: tuple[int, ...], seed: int) -> Conditioning:
    """Return a random conditioning that is the same for every frame."""
    generator = torch.Generator().manual_seed(seed)
    parts = [torch.randn(shape, generator=generator) for shape in shapes]
    return Conditioning(*(part.expand(FRAMES, *part.shape) for part in parts))


def denoiser(network: Network, dtype: torch.dtype = torch.float32, *, together: bool = False) -> Denoiser:
    return Denoiser(cast(FastUNet, network), dtype, together=together)


@given(SIGMAS)
def test_inputs_and_targets_of_the_network_have_unit_variance(sigma: Tensor) -> None:
    scaling = v_scaling_with_edm_noise(sigma)
    assert float(scaling.c_in**2 * (sigma**2 + 1)) == pytest.approx(1)
    # The target is (clean - c_skip x) / c_out, with x = clean + sigma noise.
    target = ((1 - scaling.c_skip) ** 2 + (scaling.c_skip * sigma) ** 2) / scaling.c_out**2
    assert float(target) == pytest.approx(1)
    assert float(scaling.c_noise) == pytest.approx(float(sigma.log()) / 4)


@given(SIGMAS)
def test_the_coefficients_are_those_of_v_prediction(sigma: Tensor) -> None:
    """With a = cos t, s = sin t and tan t = sigma, a network that returns v = a noise - s clean denoises exactly."""
    scaling = v_scaling_with_edm_noise(sigma)
    clean, noise = torch.randn(2, 5, dtype=torch.float64)
    angle = sigma.atan()
    v = angle.cos() * noise - angle.sin() * clean
    x = clean + sigma * noise
    torch.testing.assert_close(scaling.c_skip * x + scaling.c_out * v, clean, rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(scaling.c_in * x, angle.cos() * clean + angle.sin() * noise, rtol=1e-6, atol=1e-8)


def test_a_network_that_knows_the_clip_denoises_it_exactly() -> None:
    clean = torch.randn(FRAMES, 2, 4, 4)
    sigma = torch.tensor(3.0)
    noise = torch.randn_like(clean)
    angle = sigma.atan()
    network = Network(lambda x: angle.cos() * noise - angle.sin() * clean)
    (denoised,) = denoiser(network)(clean + sigma * noise, sigma, [conditioning(0)])
    torch.testing.assert_close(denoised, clean)


def test_the_network_sees_noisy_and_conditioning_latents_side_by_side_for_each_conditioning() -> None:
    network = Network(lambda x: x[:, :2])
    x, sigma, pair = torch.randn(FRAMES, 2, 4, 4), torch.tensor([2.0]), [conditioning(1), conditioning(2)]
    denoiser(network)(x, sigma, pair)
    assert len(network.calls) == 2
    for ([clip], c_noise, [constants]), one in zip(network.calls, pair, strict=True):
        torch.testing.assert_close(clip[:, :2], x / 5**0.5)
        assert torch.equal(clip[:, 2:], one.concat)
        crossattn, vector, num_frames = network.precomputed[constants]
        assert torch.equal(crossattn, one.crossattn[:1, 0])
        assert torch.equal(vector, one.vector[:1])
        assert num_frames == FRAMES
        torch.testing.assert_close(c_noise, torch.tensor([2.0]).log() / 4)


def test_constants_are_precomputed_once_per_clip() -> None:
    network = Network(lambda x: x[:, :2])
    x, pair, run = torch.randn(FRAMES, 2, 4, 4), [conditioning(1), conditioning(2)], denoiser(network, together=True)
    for sigma in (3.0, 2.0, 1.0):
        run(x, torch.tensor(sigma), pair)
    assert len(network.precomputed) == 2
    assert [(len(clips), constants) for clips, _, constants in network.calls] == [(2, [0, 1])] * 3
    run(x, torch.tensor(3.0), [conditioning(3)])
    assert len(network.precomputed) == 3


def test_frames_may_differ_in_their_vectors() -> None:
    network, one, vector = Network(lambda x: x[:, :2]), conditioning(1), torch.randn(FRAMES, 8)
    mixed = Conditioning(one.crossattn, one.concat, vector)
    denoiser(network)(torch.randn(FRAMES, 2, 4, 4), torch.tensor(1.0), [mixed])
    assert torch.equal(network.precomputed[0][1], vector)


def test_frames_with_different_pictures_are_rejected() -> None:
    one = conditioning(1)
    mixed = Conditioning(torch.randn(FRAMES, 1, 6), one.concat, one.vector)
    with pytest.raises(BadInput, match="all frames of a clip must have the same crossattn, got rows that differ"):
        denoiser(Network(lambda x: x))(torch.randn(FRAMES, 2, 4, 4), torch.tensor(1.0), [mixed])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_only_the_network_runs_in_half_precision(dtype: torch.dtype) -> None:
    """The noise level and the state stay in float32: half precision is too coarse for the noise level's embedding."""
    network = Network(lambda x: torch.zeros_like(x[:, :2]))
    x, sigma = torch.randn(FRAMES, 2, 4, 4), torch.tensor(700.0)
    (denoised,) = denoiser(network, dtype)(x, sigma, [conditioning(0)])
    (crossattn, vector, _), ([clip], c_noise, _) = network.precomputed[0], network.calls[0]
    assert [given.dtype for given in (clip, crossattn, vector)] == [dtype] * 3
    assert c_noise.dtype == torch.float32
    assert denoised.dtype == torch.float32
    torch.testing.assert_close(denoised, x / (700.0**2 + 1))


@torch.inference_mode()
def test_two_conditionings_at_once_are_the_same_as_one_after_the_other(small_engine: NativeEngine) -> None:
    x, sigma = torch.randn(FRAMES, 4, 8, 8, generator=torch.Generator().manual_seed(1)), torch.tensor([5.0])
    pair = [drawn((1, 64), (4, 8, 8), (768,), seed=seed) for seed in (2, 3)]
    network = small_engine.denoiser.network
    at_once = Denoiser(network, torch.float32, together=True)(x, sigma, pair)
    in_turn = Denoiser(network, torch.float32)(x, sigma, pair)
    assert all(torch.equal(one, other) for one, other in zip(at_once, in_turn, strict=True))
    assert not torch.allclose(at_once[0], at_once[1])
