"""Loading of engines, and the resolution of `auto` settings."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import torch

from img2vid.engine.backends.native import NativeEngine
from img2vid.engine.config import load_config
from img2vid.engine.interface import DTYPES, MEMORY_PLANS, Engine, LoadOptions, MemoryPlan, Parts
from img2vid.engine.memory.accounting import ClipSize
from img2vid.engine.memory.device import keep_freed_memory, out_of_memory_explained
from img2vid.engine.memory.plans import Plan
from img2vid.engine.threads import use_threads
from img2vid.errors import BadInput


def load_engine(
    config: str | Path,
    checkpoint: str | Path,
    *,
    provider: str = "native",
    device: str = "cpu",
    precision: str = "fp32",
    allow_pickle: bool = False,
    memory: str = "resident",
    decoder_precision: str = "fp32",
    compile: bool = False,
    threads: int = 0,
    spare: Parts | None = None,
    on_bytes: Callable[[int, int], None] | None = None,
) -> Engine:
    """Load a model.

    config: a YAML file in the reference's format; a CLIP architecture unknown to open_clip is read from
    `clip/<arch>.json` beside it. checkpoint: a `.safetensors` file, or a `.ckpt` file with allow_pickle. provider:
    "native" or "sgm". device: a device name of torch ("cpu", "cuda", "cuda:1", "mps"). precision: format of the
    network's weights, "fp32", "fp16" or "bf16". decoder_precision: format of the decoder's weights. The encoder of the
    conditioning frame stays in float32. memory: weights kept on the device, "resident", "stages" or "blocks", or
    "auto", with which `plan_memory` chooses before each clip; stages and blocks require a CUDA device. compile: use
    torch.compile. threads: CPU threads of this process; 0 is PyTorch's default. spare: shared modules of the previous
    engine, reused instead of loaded if the checkpoint contains the same weights. on_bytes: called with the bytes loaded
    so far and the total.

    Raise ConfigError, CheckpointError, BadInput, or EngineUnavailable if provider is "sgm" and sgm does not import.
    """
    if precision not in DTYPES:
        raise BadInput(f"precision {precision!r} is unknown; choose one of {', '.join(DTYPES)}")
    if decoder_precision not in DTYPES:
        raise BadInput(f"decoder_precision {decoder_precision!r} is unknown; choose one of {', '.join(DTYPES)}")
    path = Path(config)
    options = LoadOptions(
        path,
        load_config(path),
        Path(checkpoint),
        make_device(device),
        precision,
        allow_pickle,
        on_bytes,
        _plan_of(memory, device),
        decoder_precision,
        compile,
    )
    use_threads(threads)
    if options.device.type == "cpu":
        keep_freed_memory()
    if provider == "native":
        _require_own_memory(options)
        return NativeEngine.load(options, spare)
    if provider == "sgm":
        # Lazy import: sgm is an optional dependency.
        from img2vid.engine.backends.sgm import SgmEngine

        return SgmEngine.load(options)
    raise BadInput(f"provider {provider!r} is unknown; choose native or sgm")


def _plan_of(memory: str, device: str) -> MemoryPlan | Literal["auto"]:
    if memory == "auto":
        return "auto" if has_own_memory(device) else "resident"
    if memory not in MEMORY_PLANS:
        raise BadInput(f"memory {memory!r} is unknown; choose one of {', '.join(MEMORY_PLANS)}, auto")
    return memory


def _require_own_memory(options: LoadOptions) -> None:
    if options.memory != "resident" and not has_own_memory(str(options.device)):
        raise BadInput(
            f"memory {options.memory} requires a device with its own memory, got {options.device}; "
            "choose memory auto or resident"
        )


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


def choose_precision(name: str, device: str) -> str:
    """Resolve "auto" to "fp32" on a CPU, where fp16 is slower, else "fp16", the format of the published models."""
    if name != "auto":
        return name
    return "fp32" if device.startswith("cpu") else "fp16"


def choose_memory(name: str, device: str, provider: str) -> str:
    """Resolve "auto" to "resident", except on CUDA, where the native engine chooses a plan for every clip."""
    if name == "auto":
        return "auto" if has_own_memory(device) and provider == "native" else "resident"
    return name


def has_own_memory(device: str) -> bool:
    """Return True if the device has memory separate from the CPU's, so that weights can be offloaded."""
    return device.startswith("cuda")


def choose_decoder_precision(name: str) -> str:
    """Resolve "auto" to "fp32", as in the reference; 16-bit formats visibly change the result and are opt-in."""
    return "fp32" if name == "auto" else name
