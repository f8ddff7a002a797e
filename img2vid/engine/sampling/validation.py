"""Validation of sampler, guider and discretization settings before a run."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from img2vid.engine.interface import SamplerSettings
from img2vid.engine.sampling.discretization import DISCRETIZATIONS, make_sigmas
from img2vid.engine.sampling.guiders import GUIDERS, make_scales
from img2vid.engine.sampling.samplers import SAMPLERS
from img2vid.errors import BadInput


def check_sampler_settings(settings: SamplerSettings) -> None:
    """Raise BadInput for unknown names, unknown or missing parameters, and values without a valid schedule."""
    if settings.num_steps < 1:
        raise BadInput(f"num_steps must be at least 1, got {settings.num_steps}")
    _check_approximations(settings)
    _check("sampler", settings.sampler, SAMPLERS, settings.sampler_params)
    _check("guider", settings.guider, GUIDERS, settings.guider_params)
    _check("discretization", settings.discretization, DISCRETIZATIONS, settings.discretization_params)
    make_sigmas(settings.discretization, settings.num_steps, dict(settings.discretization_params))
    make_scales(settings.guider, 1, dict(settings.guider_params))


def _check_approximations(settings: SamplerSettings) -> None:
    low, high = settings.guidance_sigma_min, settings.guidance_sigma_max
    if not 0 <= low <= high:
        raise BadInput(f"guidance_sigma_min must be from 0 to guidance_sigma_max, got {low} and {high}")
    if settings.block_cache < 1:
        raise BadInput(f"block_cache must be at least 1 step, got {settings.block_cache}")


def _check(kind: str, name: str, known: Mapping[str, Callable[..., Tensor] | None], params: Mapping[str, Any]) -> None:
    if name not in known:
        raise BadInput(f"{kind} {name!r} is unknown; choose one of {', '.join(known)}")
    function = known[name]
    signature = [] if function is None else list(inspect.signature(function).parameters.values())
    takes = {p.name: p.default for p in signature if p.kind is p.KEYWORD_ONLY and p.name not in ("after_step", "draw")}
    for param in params:
        if param not in takes:
            raise BadInput(f"{name} has no parameter {param!r}; it takes {', '.join(takes) or 'none'}")
    for param, default in takes.items():
        if default is inspect.Parameter.empty and param not in params:
            raise BadInput(f"{name} needs the parameter {param!r}")
