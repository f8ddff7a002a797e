"""Out-of-memory errors name the setting that helps."""

import gc
import os
import platform
import subprocess
import sys
import weakref

import pytest
import torch

from img2vid.engine.memory.device import ADVICE, out_of_memory_explained, release
from img2vid.errors import OutOfMemory

TOO_MUCH = 2**50
"""Bytes, more than any machine has."""


@pytest.mark.parametrize("stage", ADVICE)
@pytest.mark.parametrize("error", [MemoryError(), torch.cuda.OutOfMemoryError("CUDA out of memory. Tried 2 GiB")])
def test_each_stage_has_advice_of_its_own(stage: str, error: Exception) -> None:
    with pytest.raises(OutOfMemory) as caught, out_of_memory_explained(stage):
        raise error
    assert str(caught.value) == f"out of memory in stage {stage!r}; {ADVICE[stage]}"
    assert caught.value.__cause__ is error


def test_an_allocation_that_really_fails_is_explained() -> None:
    """torch raises a plain RuntimeError on the CPU, with a message that differs between systems."""
    with (
        pytest.raises(OutOfMemory, match=r"'decode'; lower decode_t"),
        out_of_memory_explained("decode"),
    ):
        torch.empty(TOO_MUCH)


@pytest.mark.parametrize(
    "message",
    [
        "DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes.",
        "err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes. Error code 12",
        "MPS backend out of memory (MPS allocated: 5.05 GB)",
    ],
)
def test_messages_of_every_system_are_recognized(message: str) -> None:
    with pytest.raises(OutOfMemory), out_of_memory_explained("sample"):
        raise RuntimeError(message)


@pytest.mark.parametrize("error", [RuntimeError("mat1 and mat2 shapes cannot be multiplied"), ValueError("no")])
def test_other_errors_are_unchanged(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, out_of_memory_explained("sample"):
        raise error
    assert caught.value is error


def test_release_frees_reference_cycles() -> None:
    class Loop:
        def __init__(self) -> None:
            self.me = self

    gc.disable()
    try:
        watched = weakref.ref(Loop())
        assert watched() is not None
        release()
        assert watched() is None
    finally:
        gc.enable()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the setting requires glibc")
def test_kept_memory_is_not_mapped_again_at_every_allocation() -> None:
    # A separate process, because the setting cannot be undone. It measures both because importing torch is slow.
    program = """
import resource, torch
from img2vid.engine.memory.device import keep_freed_memory
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def allocate():
    # together more than glibc keeps by default, which is twice the largest allocation
    [torch.zeros(2**21) for _ in range(10)]
def faults_of_an_allocation():
    allocate()
    before = faults()
    allocate()
    return faults() - before
plain = faults_of_an_allocation()
keep_freed_memory()
print(plain, faults_of_an_allocation())
"""
    # By default glibc's own threshold depends on what was freed before.
    fixed = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}
    done = subprocess.run([sys.executable, "-c", program], env=fixed, capture_output=True, text=True, check=True)
    plain, kept = map(int, done.stdout.split())
    # Not 0: the kernel may take back freed pages meanwhile.
    assert plain >= 6000
    assert kept < plain / 2
