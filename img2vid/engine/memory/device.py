"""Device memory: out-of-memory errors with advice, releasing memory, and memory in use."""

import ctypes
import gc
import platform
from collections.abc import Generator
from contextlib import contextmanager

import torch

from img2vid.errors import Img2VidError, OutOfMemory, is_out_of_memory, memory_advice

ADVICE = {
    "load": "choose precision fp16 or, on a GPU, memory stages, or close other programs",
    "condition": "close other programs, or make the video smaller",
    "sample": "make the video smaller or shorter, choose precision fp16 or, on a GPU, memory blocks",
    "decode": "lower decode_t (1 uses the least memory), or choose decoder_precision fp16 (bf16 on a CPU)",
}


@contextmanager
def out_of_memory_explained(stage: str) -> Generator[None, None, None]:
    """Convert out-of-memory errors to OutOfMemory with the setting that helps at this stage."""
    try:
        yield
    except Img2VidError:
        raise
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemory(f"out of memory in stage {stage!r}; {memory_advice(error, ADVICE[stage])}") from error


def release() -> None:
    """Free the GPU memory of models that are no longer referenced."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def in_use_on_card(device: str) -> int:
    """Return the bytes of GPU memory that this process holds."""
    if torch.device(device).type == "mps":
        return torch.mps.driver_allocated_memory()
    return torch.cuda.memory_reserved(device)


def free_on_card(device: torch.device) -> int:
    """Return the bytes of GPU memory available to this process, including torch's unused reserve."""
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def device_name(device: str) -> str:
    """Return the vendor's name of a CUDA device, else the device type in capitals, such as CPU."""
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(device)
    return device.upper()


def works(device: str) -> bool:
    """Return whether the device still computes for this process."""
    try:
        return bool(torch.ones(1, device=device).add(1).item() == 2)
    except RuntimeError:
        return False


def count_cards() -> int:
    """Return the number of NVIDIA GPUs that torch sees."""
    return torch.cuda.device_count()


def keep_freed_memory() -> None:
    """Make glibc keep freed memory instead of returning it to the system at once.

    On a CPU, every layer allocates its result. Above a threshold, glibc maps new pages for each allocation, which the
    system zeroes page by page. No-op without glibc.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    mallopt = ctypes.CDLL(None).mallopt
    trim_threshold, top_pad, mmap_threshold = -1, -2, -3  # M_* constants in malloc.h
    mallopt(mmap_threshold, 32 * 2**20)  # the maximum that glibc accepts
    mallopt(trim_threshold, 2**31 - 1)
    mallopt(top_pad, 64 * 2**20)
