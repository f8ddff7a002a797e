"""One door to both engines."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import torch

from img2vid.engine.backends.native import NativeEngine
from img2vid.engine.config import load_config
from img2vid.engine.interface import DTYPES, MEMORY_PLANS, Engine, LoadOptions, MemoryPlan
from img2vid.engine.memory.accounting import ClipSize
from img2vid.engine.memory.device import keep_freed_memory, out_of_memory_explained
from img2vid.engine.memory.plans import Plan
from img2vid.engine.threads import use_threads
from img2vid.engine.weights.shared_modules import Parts
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
    """Loads a model.

    config: a YAML file in the reference's form; a CLIP architecture that open_clip does not know is read from
    `clip/<arch>.json` beside it. checkpoint: a `.safetensors` file (or `.ckpt` with allow_pickle). provider: "native"
    or "sgm". device: what torch calls it ("cpu", "cuda", "cuda:1", "mps"). precision: format of the network's weights,
    "fp32", "fp16" or "bf16"; decoder_precision: of the weights that turn latents into frames. The encoder of the
    conditioning frame stays in float32. memory: what stays on the device, "resident", "stages" or "blocks", or "auto",
    with which `make_room` chooses before each clip; stages and blocks are for cards alone. compile: let torch make
    kernels of its own. threads: of the processor, for this process; 0 is as many as torch likes.
    spare: parts of an engine that is let go; those whose weights are in the checkpoint too are kept and not loaded.
    on_bytes: bytes loaded so far, bytes in all.

    Raises ConfigError, CheckpointError, BadInput, and EngineUnavailable where sgm is asked for and does not import.
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
        spare or {},
    )
    use_threads(threads)
    if options.device.type == "cpu":
        keep_freed_memory()
    if provider == "native":
        _require_card(options)
        return NativeEngine.load(options)
    if provider == "sgm":
        # Imported only when asked for: it needs a package that most people do not have.
        from img2vid.engine.backends.sgm import SgmEngine

        return SgmEngine.load(options)
    raise BadInput(f"provider {provider!r} is unknown; choose native or sgm")


def _plan_of(memory: str, device: str) -> MemoryPlan | Literal["auto"]:
    if memory == "auto":
        return "auto" if has_own_memory(device) else "resident"
    if memory not in MEMORY_PLANS:
        raise BadInput(f"memory {memory!r} is unknown; choose one of {', '.join(MEMORY_PLANS)}, auto")
    return memory


def _require_card(options: LoadOptions) -> None:
    if options.memory != "resident" and not has_own_memory(str(options.device)):
        raise BadInput(
            f"memory {options.memory} moves weights to and from a graphics card, and {options.device} has no memory "
            "of its own; choose memory auto or resident"
        )


def plan_memory(engine: Engine, size: ClipSize) -> Plan:
    """Before a clip of this size: has the engine choose what stays on the device, where that is its business.

    Raises OutOfMemory where the clip fits under no plan.
    """
    if not isinstance(engine, NativeEngine):
        return Plan()
    with out_of_memory_explained("load"):
        return engine.plan_memory(size)


def make_device(name: str) -> torch.device:
    """torch's device of that name, or BadInput where this machine has none."""
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise BadInput(f"device {name!r} is unknown; choose cpu, cuda, cuda:1 or mps") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise BadInput(
            "device 'cuda' was asked for, but torch sees no NVIDIA card here; choose cpu, or install torch for CUDA"
        )
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise BadInput(f"device {name!r} was asked for, but torch sees {torch.cuda.device_count()} here; choose cuda:0")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise BadInput("device 'mps' was asked for, but this machine has none; choose cpu")
    return device


def choose_device(name: str) -> str:
    """`auto` becomes cuda where torch sees a card, else cpu."""
    if name != "auto":
        return name
    return "cuda" if torch.cuda.is_available() else "cpu"


def choose_precision(name: str, device: str) -> str:
    """`auto` becomes fp16 on a card, in which the models are published, and fp32 on a CPU, where fp16 is slower."""
    if name != "auto":
        return name
    return "fp32" if device.startswith("cpu") else "fp16"


def choose_memory(name: str, device: str, provider: str) -> str:
    """`auto` stays `auto` on a card, where the native engine chooses for every clip by what is free; else resident."""
    if name == "auto":
        return "auto" if has_own_memory(device) and provider == "native" else "resident"
    return name


def has_own_memory(device: str) -> bool:
    """Whether the machine has a memory beside the device's, in which weights could wait."""
    return device.startswith("cuda")


def choose_decoder_precision(name: str) -> str:
    """`auto` is fp32, with which the reference decodes: shorter formats change what is seen, and so are asked for."""
    return "fp32" if name == "auto" else name
