"""Loading of engines, and the resolution of `auto` options."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from img2vid.engine.backends.native import NativeEngine
from img2vid.engine.config import load_config
from img2vid.engine.interface import Engine, ModelSource, OnBytes, Parts
from img2vid.engine.memory.accounting import ClipSize
from img2vid.engine.memory.device import keep_freed_memory, out_of_memory_explained
from img2vid.engine.memory.plans import Plan
from img2vid.engine.threads import use_threads
from img2vid.errors import BadInput
from img2vid.options import MOST_THREADS, OPTIONS, LoadOptions, whole_number


def load_engine(
    config: str | Path,
    checkpoint: str | Path,
    options: LoadOptions,
    *,
    unet: str | Path | None = None,
    spare: Parts | None = None,
    on_bytes: OnBytes | None = None,
) -> Engine:
    """Load a model.

    config: a YAML file in the reference's format; a CLIP architecture unknown to open_clip is read from
    `clip/<arch>.json` beside it. checkpoint: a `.safetensors` file, a diffusers folder, or a `.ckpt` file with
    allow_pickle. unet: diffusers file of the UNet to use instead of the checkpoint's. The encoder of the conditioning
    frame stays in float32 with any precision. Memory stages and blocks require a CUDA device; with auto, call
    `plan_memory` before each clip. spare: shared modules of the previous engine, reused instead of loaded if the
    checkpoint contains the same weights. on_bytes: called with the bytes loaded so far and the total.

    Raise ConfigError, CheckpointError, BadInput, or EngineUnavailable if provider is "sgm" and sgm does not import.
    """
    options = resolve(options)
    device = make_device(options.device)
    network = None if unet is None else Path(unet)
    source = ModelSource(Path(config), Path(checkpoint), load_config(Path(config)), options, network)
    use_threads(options.threads)
    if device.type == "cpu":
        keep_freed_memory()
    if options.provider == "native":
        if options.memory != "resident" and device.type != "cuda":
            raise BadInput(
                f"memory {options.memory} requires a device with its own memory, got {device}; "
                "choose memory auto or resident"
            )
        return NativeEngine.load(source, spare, on_bytes)
    # Lazy import: sgm is an optional dependency.
    from img2vid.engine.backends.sgm import SgmEngine

    return SgmEngine.load(source, on_bytes)


def resolve(options: LoadOptions) -> LoadOptions:
    """Replace `auto` by the values for this machine. Raise BadInput for an invalid value.

    Precision is fp32 on a CPU, where fp16 is slower, else fp16, the format of the published models. The decoder's is
    fp32, as in the reference; 16-bit formats visibly change the result. Memory is resident, except on CUDA, where it
    stays auto: the native engine chooses a plan for every clip.
    """
    options.check()
    provider = "native" if options.provider == "auto" else options.provider
    device = choose_device(options.device)
    machine = {
        "provider": provider,
        "device": device,
        "precision": "fp32" if device.startswith("cpu") else "fp16",
        "decoder_precision": "fp32",
        "memory": "auto" if device.startswith("cuda") and provider == "native" else "resident",
    }
    found: dict[str, Any] = {name: value for name, value in machine.items() if getattr(options, name) == "auto"}
    variable = OPTIONS["threads"]["variable"]
    text = os.environ.get(variable, "").strip() or "0"
    return replace(options, threads=options.threads or whole_number(variable, text, 0, MOST_THREADS), **found)


def plan_memory(engine: Engine, size: ClipSize) -> Plan:
    """Choose the weights to keep on the device for a clip of this size; a no-op for engines without offloading.

    Raise OutOfMemory if the clip fits under no plan.
    """
    if not isinstance(engine, NativeEngine):
        return Plan()
    with out_of_memory_explained("load"):
        return engine.plan_memory(size)


def make_device(name: str) -> torch.device:
    """Return the torch device of that name; raise BadInput if this machine has no such device."""
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise BadInput(f"device {name!r} is unknown; choose cpu, cuda, cuda:1 or mps") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise BadInput(
            "device 'cuda' is unavailable: torch finds no NVIDIA GPU; choose cpu, or install torch with CUDA"
        )
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise BadInput(f"device {name!r} is unavailable, GPUs found: {torch.cuda.device_count()}; choose cuda:0")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise BadInput("device 'mps' is unavailable on this machine; choose cpu")
    return device


def choose_device(name: str) -> str:
    """Resolve "auto" to "cuda" if torch finds a GPU, else "cpu"."""
    if name != "auto":
        return name
    return "cuda" if torch.cuda.is_available() else "cpu"
