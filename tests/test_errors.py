"""Out of memory, as Python, numpy, torch, safetensors and Windows report it."""

import errno

import numpy as np
import pytest
import torch

from img2vid.cli.output import sentence
from img2vid.engine.memory.device import out_of_memory_explained
from img2vid.errors import BadInput, CheckpointError, OutOfMemory, is_out_of_memory
from img2vid.jobs.model_cache import one_sentence

PAGING_FILE = OSError(errno.EINVAL, "The paging file is too small for this operation to complete")
PAGING_FILE.winerror = 1455  # type: ignore[attr-defined]


def raised(allocate: object) -> Exception:
    with pytest.raises((RuntimeError, MemoryError)) as caught:
        allocate()  # type: ignore[operator]
    return caught.value


SHORT = [
    raised(lambda: torch.empty(2**55)),
    raised(lambda: np.empty(2**55)),
    torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:121] data. DefaultCPUAllocator: not enough memory: you tried to"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("unable to mmap 9559625980 bytes from file <svd.safetensors>: Cannot allocate memory (12)"),
    OSError(errno.ENOMEM, "Cannot allocate memory"),
]
PAGING = [
    PAGING_FILE,
    OSError('[WinError 1455] Error loading "C:\\lib\\shm.dll" or one of its dependencies'),
    RuntimeError("Couldn't open file mapping: <svd.ckpt>, error code: <1455>"),
    RuntimeError("Die Auslagerungsdatei ist zu klein (os error 1455)"),
]


@pytest.mark.parametrize("error", [*SHORT, *PAGING], ids=lambda error: str(error)[:40])
def test_out_of_memory_is_recognized_on_every_device(error: Exception) -> None:
    with (
        pytest.raises(OutOfMemory, match=r"^out of memory in stage 'load'; .+") as caught,
        out_of_memory_explained("load"),
    ):
        raise error
    assert ("paging file of Windows" in str(caught.value)) == (error in PAGING)
    assert sentence(error).startswith("out of memory; ")
    assert sentence(error) == one_sentence(error)


@pytest.mark.parametrize(
    "error",
    [RuntimeError("shape [1455, 2] is invalid"), OSError(errno.ENOSPC, "full"), CheckpointError("out of memory")],
)
def test_other_errors_are_not_out_of_memory(error: Exception) -> None:
    assert not is_out_of_memory(error)
    with pytest.raises(type(error)), out_of_memory_explained("load"):
        raise error


def test_long_foreign_text_in_quotes_is_shortened_in_every_error() -> None:
    """Regression: options, versions and paths of 5,000 characters were repeated whole."""
    text = str(BadInput(f"there is no model version '{'x' * 5000}'; choose one of svd, svd_xt"))
    assert (
        len(text) < 400
        and text.startswith("there is no model version 'xxx")
        and text.endswith("x'; choose one of svd, svd_xt")
    )
    assert str(BadInput(f"got '{'x' * 290}'")).count("x") == 290
