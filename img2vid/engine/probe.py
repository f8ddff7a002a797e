"""Facts about torch, GPUs and checkpoints for `img2vid doctor`, which evaluates them.

All results are JSON values, because the doctor runs these functions in a subprocess: a broken torch may crash its
process. `torch.cuda.is_available` is not sufficient: on a GPU newer than the build of torch, the first kernel fails.
The probe therefore runs kernels.
"""

import os
import warnings
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional

from img2vid.engine.backends.sgm import import_sgm
from img2vid.engine.config import load_config
from img2vid.engine.fast.kernels import try_fast_paths
from img2vid.engine.format_speed import SHORT_FORMATS, slowdown
from img2vid.engine.interface import DTYPES
from img2vid.engine.model import build_meta
from img2vid.engine.weights.stored import find_tensors
from img2vid.errors import CheckpointError, EngineUnavailable


def torch_facts() -> dict[str, Any]:
    """Return the build of torch, the result of a test computation on each device, and the properties of each GPU.

    version, cuda and hip (None if built without), architectures ("sm_90", ...), unavailable (torch's message if it
    finds no GPU), cpu_fault, mps, and cards: name, capability, memory and free in bytes (free may be None), fault.
    A fault is empty if the test computation gave the expected values.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        available = torch.cuda.is_available()
    return {
        "version": torch.__version__,
        "cuda": torch.version.cuda,
        "hip": torch.version.hip,
        "architectures": torch.cuda.get_arch_list() if available else [],
        "unavailable": "" if available or not caught else _line(caught[0].message),
        "cpu_fault": kernel_fault("cpu", torch.float32),
        "mps": torch.backends.mps.is_available(),
        "cards": [_card(index) for index in range(torch.cuda.device_count())] if available else [],
    }


INSTRUCTION_SETS = {
    "avx2": "AVX2",
    "avx512_f": "AVX-512",
    "avx512_bf16": "AVX-512 BF16",
    "avx512_fp16": "AVX-512 FP16",
    "amx_bf16": "AMX BF16",
    "amx_fp16": "AMX FP16",
    "neon": "NEON",
    "sve": "SVE",
    "bf16": "BF16",
}
"""Display names of the instruction sets that matter for speed, by PyTorch's names."""
LIMITS = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS")
"""Environment variables that restrict the instruction sets PyTorch's libraries use."""


def processor_facts() -> dict[str, Any]:
    """Return PyTorch's use of the CPU, and the result of each fast-path trial on this machine.

    instructions: names of the instruction sets, empty before torch 2.6, which does not list them. level: instruction
    set of PyTorch's own kernels. limits: environment variables that restrict them. threads: number of threads of this
    process. slowdown: time relative to float32, by precision. fast_paths: path, device, precision and fault of each
    trial.
    """
    names = {dtype: precision for precision, dtype in DTYPES.items()}
    devices = ["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    trials = [trial for device in devices for trial in try_fast_paths(torch.device(device))]
    return {
        "instructions": _instruction_sets(),
        "level": torch.backends.cpu.get_cpu_capability(),
        "limits": {name: os.environ[name] for name in LIMITS if os.environ.get(name)},
        "threads": torch.get_num_threads(),
        "slowdown": {precision: round(slowdown(precision), 2) for precision in SHORT_FORMATS},
        "fast_paths": [
            {"path": trial.path, "device": trial.device, "precision": names[trial.dtype], "fault": trial.fault}
            for trial in trials
        ],
    }


def _instruction_sets() -> list[str]:
    get_capabilities: Any = getattr(torch.cpu, "get_capabilities", dict)
    found: Mapping[str, Any] = get_capabilities()
    return [name for key, name in INSTRUCTION_SETS.items() if found.get(key) is True]


def _card(index: int) -> dict[str, Any]:
    properties: Any = cast(Any, torch.cuda).get_device_properties(index)  # untyped in torch
    fault = kernel_fault(f"cuda:{index}", torch.float16)
    try:
        free = None if fault else torch.cuda.mem_get_info(index)[0]
    except RuntimeError:
        free = None
    return {
        "name": properties.name,
        "capability": [properties.major, properties.minor],
        "memory": properties.total_memory,
        "free": free,
        "fault": fault,
    }


def kernel_fault(device: str, dtype: torch.dtype) -> str:
    """Run a matrix product and a convolution; return the fault, or "" if the values are as expected."""
    try:
        half = torch.full((64, 64), 0.5, device=device, dtype=dtype)
        picture = torch.ones(1, 4, 8, 8, device=device, dtype=dtype)
        convolved = functional.conv2d(picture, torch.ones(4, 4, 3, 3, device=device, dtype=dtype), padding=1)
        values = [float((half @ half)[0, 0].item()), float(convolved[0, 0, 4, 4].item())]
    except RuntimeError as error:  # includes CUDA errors
        return _line(error)
    return "" if values == [16.0, 36.0] else f"expected 16 and 36, computed {values[0]:g} and {values[1]:g}"


def checkpoint_fault(config: Path, checkpoint: Path, unet: Path | None = None) -> str:
    """Return the error in the headers of a checkpoint, or "" if it matches its configuration.

    No weights are read. Raise ConfigError if the configuration itself is invalid.
    """
    try:
        find_tensors(checkpoint, _expected(config), unet)
    except CheckpointError as error:
        return str(error)
    return ""


@lru_cache(maxsize=8)
def _expected(config: Path) -> Mapping[str, Tensor]:
    """Return the weights of a configuration on the meta device; cached, because building them takes a second."""
    model = build_meta(load_config(config), config.parent)
    model.drop_unused()
    return model.weights()


def sgm_fault() -> str | None:
    """Return the import error of the reference package, "" if it imports, None if it is not installed."""
    try:
        import_sgm()
    except EngineUnavailable as error:
        cause = error.__cause__
        if isinstance(cause, ModuleNotFoundError) and cause.name == "sgm":
            return None
        return f"{type(cause).__name__}: {_line(cause)}"
    return ""


def _line(error: object) -> str:
    """Return an error message on one line, without CUDA's general advice."""
    text = str(error).split("CUDA kernel errors might be")[0]
    return " ".join(text.split())[:300].rstrip(".")
