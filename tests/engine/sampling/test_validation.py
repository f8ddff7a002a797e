"""Validation of names and parameters before a run."""

from typing import Any

import pytest

from img2vid.engine import SamplerSettings
from img2vid.engine.sampling.validation import check_sampler_settings
from img2vid.errors import BadInput

EDM = {"s_churn": 1.0, "s_tmin": 0.1, "s_tmax": 10.0, "s_noise": 1.003}
LINEAR = {"max_scale": 2.5, "min_scale": 1.0}


def test_the_defaults_are_valid() -> None:
    check_sampler_settings(SamplerSettings())


@pytest.mark.parametrize(
    ("sampler", "params"),
    [
        ("EulerEDMSampler", EDM),
        ("HeunEDMSampler", EDM),
        ("EulerAncestralSampler", {"eta": 0.5, "s_noise": 1.0}),
        ("DPMPP2SAncestralSampler", {"eta": 0.5, "s_noise": 1.0}),
        ("DPMPP2MSampler", {}),
        ("LinearMultistepSampler", {"order": 3}),
        ("DPMPP2MSDESampler", {"eta": 0.5, "s_noise": 1.0}),
        ("UniPCSampler", {}),
        ("ConsistencySampler", {}),
    ],
)
def test_every_sampler_takes_the_references_parameters_or_none(sampler: str, params: dict[str, Any]) -> None:
    check_sampler_settings(SamplerSettings(sampler=sampler))
    check_sampler_settings(SamplerSettings(sampler=sampler, sampler_params=params))


@pytest.mark.parametrize(
    ("guider", "params"),
    [
        ("VanillaCFG", {"scale": 3.0}),
        ("IdentityGuider", {}),
        ("LinearPredictionGuider", LINEAR),
        ("TrianglePredictionGuider", {**LINEAR, "period": [1.0, 0.5], "period_fusing": "mean"}),
    ],
)
@pytest.mark.parametrize(
    ("discretization", "levels"),
    [
        ("EDMDiscretization", {"sigma_min": 0.01, "sigma_max": 80.0, "rho": 5.0}),
        ("LegacyDDPMDiscretization", {"linear_start": 0.001, "linear_end": 0.02, "num_timesteps": 500}),
        ("AYSDiscretization", {}),
        ("ConsistencyDiscretization", {"sigma_min": 0.01, "sigma_max": 80.0, "rho": 5.0}),
        ("ListDiscretization", {"sigmas": " ".join(str(n) for n in range(25, 0, -1))}),
    ],
)
def test_every_guider_and_discretization_takes_the_references_parameters(
    guider: str, params: dict[str, Any], discretization: str, levels: dict[str, Any]
) -> None:
    check_sampler_settings(
        SamplerSettings(
            guider=guider, guider_params=params, discretization=discretization, discretization_params=levels
        )
    )


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (SamplerSettings(num_steps=0), "num_steps must be at least 1, got 0"),
        (SamplerSettings(block_cache=0), "block_cache must be at least 1 step, got 0"),
        (
            SamplerSettings(guidance_sigma_min=3.0, guidance_sigma_max=2.0),
            "guidance_sigma_min must be from 0 to guidance_sigma_max, got 3.0 and 2.0",
        ),
        (SamplerSettings(guidance_sigma_min=-1.0), "must be from 0 to guidance_sigma_max, got -1.0 and inf"),
        (SamplerSettings(guidance_sigma_max=float("nan")), "must be from 0 to guidance_sigma_max, got 0.0 and nan"),
        (SamplerSettings(sampler="Euler"), "sampler 'Euler' is unknown; choose one of EulerEDMSampler, Heun"),
        (SamplerSettings(guider="CFG"), "guider 'CFG' is unknown; choose one of VanillaCFG"),
        (SamplerSettings(discretization="Karras"), "discretization 'Karras' is unknown; choose one of EDMDisc"),
        (SamplerSettings(sampler_params={"eta": 1.0}), "EulerEDMSampler has no parameter 'eta'; it takes s_churn, s_t"),
        (SamplerSettings(sampler="DPMPP2MSampler", sampler_params={"order": 2}), "'order'; it takes none"),
        (SamplerSettings(sampler_params={"draw": None}), "EulerEDMSampler has no parameter 'draw'"),
        (SamplerSettings(sampler_params={"x": 1.0}), "EulerEDMSampler has no parameter 'x'"),
        (SamplerSettings(guider="VanillaCFG", guider_params={}), "VanillaCFG needs the parameter 'scale'"),
        (SamplerSettings(guider_params={}), "LinearPredictionGuider needs the parameter 'max_scale'"),
        (SamplerSettings(guider="IdentityGuider"), "IdentityGuider has no parameter 'max_scale'; it takes none"),
        (SamplerSettings(guider_params={**LINEAR, "num_frames": 5}), "has no parameter 'num_frames'"),
        (SamplerSettings(discretization_params={"sigma_min": 0}), "sigma_min must be above 0"),
        (SamplerSettings(guider="TrianglePredictionGuider", guider_params={**LINEAR, "period": 0}), "period must be"),
        (
            SamplerSettings(num_steps=1001, discretization="LegacyDDPMDiscretization", discretization_params={}),
            "1000 noise levels, got 1001 steps",
        ),
    ],
)
def test_invalid_settings_are_rejected_with_the_valid_ones(settings: SamplerSettings, sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        check_sampler_settings(settings)
