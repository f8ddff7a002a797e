"""Inference engines. `load_engine` returns an `Engine`; only this package imports torch."""

from img2vid.engine.interface import (
    Conditioning,
    ConditioningSettings,
    Engine,
    OnStep,
    Parts,
    Precision,
    Provider,
    SamplerSettings,
    StepInfo,
)
from img2vid.engine.loading import load_engine, plan_memory
from img2vid.engine.memory.accounting import ClipSize
from img2vid.engine.render import Clip, Latents, Progress, decode_latents, latents_of, sample_latents

__all__ = [
    "Clip",
    "ClipSize",
    "Conditioning",
    "ConditioningSettings",
    "Engine",
    "Latents",
    "OnStep",
    "Parts",
    "Precision",
    "Progress",
    "Provider",
    "SamplerSettings",
    "StepInfo",
    "decode_latents",
    "latents_of",
    "load_engine",
    "plan_memory",
    "sample_latents",
]
