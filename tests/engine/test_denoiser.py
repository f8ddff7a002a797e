"""The preconditioning: coefficients by their defining identities, and what the network is handed."""

from typing import Any, cast

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from img2vid.engine import Conditioning
from img2vid.engine.denoiser import Denoiser, v_scaling_with_edm_noise
from img2vid.engine.native import NativeEngine
from img2vid.engine.nets.unet import VideoUNet

FRAMES = 3
SIGMAS = st.floats(1e-3, 1e3).map(lambda value: torch.tensor([value], dtype=torch.float64))


class Network:
    """Stands in for the UNet: answers `answer(x, c_noise)` and keeps what it was given."""

    def __init__(self, answer: Any) -> None:
        self.answer, self.given = answer, cast(dict[str, Any], {})

    def __call__(self, x: Tensor, c_noise: Tensor, **more: Any) -> Tensor:
        self.given = {"x": x, "c_noise": c_noise, **more}
        return self.answer(x, c_noise)


def conditioning(seed: int) -> Conditioning:
    generator = torch.Generator().manual_seed(seed)
    shapes = ((FRAMES, 1, 6), (FRAMES, 2, 4, 4), (FRAMES, 8))
    return Conditioning(*(torch.randn(shape, generator=generator) for shape in shapes))


def denoiser(network: Network, dtype: torch.dtype = torch.float32) -> Denoiser:
    return Denoiser(cast(VideoUNet, network), dtype)


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
    """With a = cos t, s = sin t and tan t = sigma, a network that gives v = a noise - s clean denoises exactly."""
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
    network = Network(lambda x, c_noise: angle.cos() * noise - angle.sin() * clean)
    (denoised,) = denoiser(network)(clean + sigma * noise, sigma, [conditioning(0)])
    torch.testing.assert_close(denoised, clean)


def test_the_network_sees_noisy_and_conditioning_latents_side_by_side_for_each_conditioning() -> None:
    network = Network(lambda x, c_noise: x[:, :2])
    x, sigma, pair = torch.randn(FRAMES, 2, 4, 4), torch.tensor([2.0]), [conditioning(1), conditioning(2)]
    denoiser(network)(x, sigma, pair)
    given = network.given
    for half, one in zip((slice(FRAMES), slice(FRAMES, None)), pair, strict=True):
        torch.testing.assert_close(given["x"][half, :2], x / 5**0.5)
        assert torch.equal(given["x"][half, 2:], one.concat)
        assert torch.equal(given["context"][half], one.crossattn)
        assert torch.equal(given["vector"][half], one.vector)
    torch.testing.assert_close(given["c_noise"], torch.full((2 * FRAMES,), 2.0).log() / 4)
    assert given["num_frames"] == FRAMES


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_only_the_network_runs_in_half_precision(dtype: torch.dtype) -> None:
    """The noise level stays exact, for half precision would round its embedding away; so does the state."""
    network = Network(lambda x, c_noise: torch.zeros_like(x[:, :2]))
    x, sigma = torch.randn(FRAMES, 2, 4, 4), torch.tensor(700.0)
    (denoised,) = denoiser(network, dtype)(x, sigma, [conditioning(0)])
    assert [network.given[name].dtype for name in ("x", "context", "vector")] == [dtype] * 3
    assert network.given["c_noise"].dtype == torch.float32
    assert denoised.dtype == torch.float32
    torch.testing.assert_close(denoised, x / (700.0**2 + 1))


@torch.inference_mode()
def test_two_conditionings_at_once_are_the_same_as_one_after_the_other(small_engine: NativeEngine) -> None:
    noise = torch.Generator().manual_seed(1)
    x = torch.randn(FRAMES, 4, 8, 8, generator=noise)
    pair = [
        Conditioning(*(torch.randn(FRAMES, *shape, generator=noise) for shape in ((1, 64), (4, 8, 8), (768,))))
        for _ in range(2)
    ]
    sigma = torch.tensor([5.0])
    together = small_engine.denoiser(x, sigma, pair)
    for alone, one in zip(together, pair, strict=True):
        torch.testing.assert_close(alone, small_engine.denoiser(x, sigma, [one])[0], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(together[0], together[1])
