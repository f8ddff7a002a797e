"""Inference engines. `load_engine` returns an `Engine`; only this package imports torch."""

from img2vid.errors import EngineUnavailable, is_out_of_memory
from img2vid.remedies import import_problem

try:
    from img2vid.engine.interface import (
        Conditioning,
        ConditioningSettings,
        Engine,
        OnStep,
        Parts,
        SamplerSettings,
        StepInfo,
    )
    from img2vid.engine.loading import load_engine, plan_memory, resolve
    from img2vid.engine.memory.accounting import ClipSize
    from img2vid.engine.render import Clip, Latents, decode_latents, latents_of, sample_latents
except (ImportError, OSError) as error:  # OSError: a library that does not load
    if is_out_of_memory(error):
        raise
    raise EngineUnavailable(import_problem(error)) from error

__all__ = [
    "Clip",
    "ClipSize",
    "Conditioning",
    "ConditioningSettings",
    "Engine",
    "Latents",
    "OnStep",
    "Parts",
    "SamplerSettings",
    "StepInfo",
    "decode_latents",
    "latents_of",
    "load_engine",
    "plan_memory",
    "resolve",
    "sample_latents",
]
