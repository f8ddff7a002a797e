"""Samplers, compared with diffusers' schedulers; skipped without diffusers."""

from typing import Any

import pytest
import torch
from golden_models import CPU, golden_model, relative_error
from torch import Tensor

from img2vid.engine import SamplerSettings, load_engine
from img2vid.engine.backends.native import NativeEngine
from img2vid.engine.bench.backends import Shape, draw_inputs
from img2vid.engine.config import load_config
from img2vid.engine.sampling.discretization import edm_sigmas
from img2vid.engine.sampling.samplers import SAMPLERS

GOLDEN = golden_model("tiny_svd")


@pytest.mark.parametrize("num_steps", [1, 4, 8])
def test_a_consistency_run_is_that_of_the_scheduler_animatelcm_is_built_on(num_steps: int) -> None:
    """AnimateLCM's scheduler is diffusers' one with the scaling of v-prediction, and noise of the next level's size."""
    diffusers: Any = pytest.importorskip("diffusers")

    class Scheduler(diffusers.CMStochasticIterativeScheduler):
        def get_scalings_for_boundary_condition(self, sigma: Tensor) -> tuple[Tensor, Tensor]:
            return 1 / (sigma**2 + 1), -sigma / (sigma**2 + 1) ** 0.5

    engine = load_engine(GOLDEN.config, GOLDEN.checkpoint, CPU)
    assert isinstance(engine, NativeEngine)
    given = draw_inputs(load_config(GOLDEN.config), Shape(64, 64, 3, 3), 0)
    scheduler = Scheduler(
        num_train_timesteps=40, sigma_min=0.002, sigma_max=700.0, sigma_data=1.0, rho=7.0, clip_denoised=False
    )
    scheduler.set_timesteps(num_steps)
    scheduler.register_to_config(sigma_min=0.0)  # which it would subtract from the new noise
    scheduler.sigmas[-1] = 0
    generator = torch.Generator().manual_seed(5)
    x, network = given.noise * (scheduler.sigmas[0] ** 2 + 1) ** 0.5, engine.denoiser.network
    with torch.inference_mode():
        constants = network.precompute(given.cond.crossattn[0], given.cond.vector[:1], 3)
        for timestep in scheduler.timesteps:
            clip = torch.cat([scheduler.scale_model_input(x, timestep), given.cond.concat], 1).float()
            (output,) = network([clip], (timestep / 1000).float().reshape(1), [constants])
            x = scheduler.step(output, timestep, x, generator=generator).prev_sample
    settings = SamplerSettings(
        "ConsistencySampler",
        num_steps,
        guider="IdentityGuider",
        guider_params={},
        discretization="ConsistencyDiscretization",
        discretization_params={},
    )
    generator.manual_seed(5)
    found = engine.sample(given.noise, given.cond, given.uncond, settings, generator=generator)
    assert relative_error(found, x) < 1e-4


def test_uni_pc_is_that_of_the_scheduler() -> None:
    diffusers: Any = pytest.importorskip("diffusers")
    sigmas = edm_sigmas(8, sigma_max=80.0).double()
    scheduler = diffusers.UniPCMultistepScheduler(
        prediction_type="sample", use_karras_sigmas=True, solver_order=2, lower_order_final=True
    )
    scheduler.set_timesteps(8)
    scheduler.sigmas = sigmas.float()

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        return torch.tanh(x) * 0.25 / (0.25 + sigma**2) + 0.1 * sigma.log().cos()

    start = 80 * torch.randn(1, 4, 2, 2, generator=torch.Generator().manual_seed(0))
    x = start / (1 + sigmas[0].float() ** 2).sqrt()  # the scheduler's state is scaled to unit variance
    for timestep, sigma in zip(scheduler.timesteps, sigmas.float(), strict=False):
        x = scheduler.step(denoise(x * (1 + sigma**2).sqrt(), sigma), timestep, x).prev_sample
    found = SAMPLERS["UniPCSampler"](
        denoise, start.double(), sigmas, after_step=lambda step, denoised: None, draw=lambda: torch.zeros(0)
    )
    assert relative_error(found, x) < 1e-4
