"""The engines, the only room that knows torch: `load_engine` gives one, `Engine` says what it can do."""

from img2vid.engine.interface import Conditioning, Engine, OnStep, Precision, Provider, SamplerSettings, StepInfo
from img2vid.engine.loading import load_engine

__all__ = [
    "Conditioning",
    "Engine",
    "OnStep",
    "Precision",
    "Provider",
    "SamplerSettings",
    "StepInfo",
    "load_engine",
]
