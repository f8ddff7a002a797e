"""Offloading: weights stay in host memory and are copied to the GPU while they are needed.

Weights never change, so nothing is copied back: the GPU copy is freed and the weights point to host memory again. Host
memory is pinned if the driver allows it, because a GPU reads pinned memory at full speed while it computes.
"""

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from img2vid.engine.fast.unet import FastUNet
from img2vid.engine.fast.weights import weights_of
from img2vid.options import MemoryPlan

CHUNK = 64 * 2**20
"""Size of the chunks that weights share; pinned memory is allocated in powers of two, so small ones waste memory."""
ALIGNMENT = 512
NETWORK = "network"


class CopyStream(Protocol):
    """Second stream of a device, for copies that run in parallel to computation."""

    def copying(self) -> AbstractContextManager[Any]:
        """Issue the operations of the block on this stream."""
        ...

    def record_copies(self) -> Any:
        """Record an event after all copies so far."""
        ...

    def record_work(self) -> Any:
        """Record an event after all computation so far."""
        ...

    def make_work_wait(self, event: Any) -> None:
        """Make later computation wait for the event."""
        ...

    def make_copies_wait(self, event: Any) -> None:
        """Make later copies wait for the event."""
        ...


class CudaCopyStream:
    """CUDA stream for copies, next to the one that computes."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._side = torch.cuda.Stream(device)

    def copying(self) -> AbstractContextManager[Any]:
        """See `CopyStream.copying`."""
        return torch.cuda.stream(self._side)

    def record_copies(self) -> Any:
        """See `CopyStream.record_copies`."""
        return self._side.record_event()

    def record_work(self) -> Any:
        """See `CopyStream.record_work`."""
        return torch.cuda.current_stream(self._device).record_event()

    def make_work_wait(self, event: Any) -> None:
        """See `CopyStream.make_work_wait`."""
        torch.cuda.current_stream(self._device).wait_event(event)

    def make_copies_wait(self, event: Any) -> None:
        """See `CopyStream.make_copies_wait`."""
        self._side.wait_event(event)


class SynchronousCopies:
    """Fallback for devices with one stream: a copy is complete when the call returns."""

    def copying(self) -> AbstractContextManager[Any]:
        """See `CopyStream.copying`."""
        return nullcontext()

    def record_copies(self) -> None:
        """See `CopyStream.record_copies`."""

    def record_work(self) -> None:
        """See `CopyStream.record_work`."""

    def make_work_wait(self, event: None) -> None:
        """See `CopyStream.make_work_wait`."""

    def make_copies_wait(self, event: None) -> None:
        """See `CopyStream.make_copies_wait`."""


def make_copy_stream(device: torch.device) -> CopyStream:
    """Return the copy stream of a device."""
    return CudaCopyStream(device) if device.type == "cuda" else SynchronousCopies()


class PinnedPool:
    """Host memory, pinned if `pinned` is set and the driver allows it."""

    def __init__(self, *, pinned: bool) -> None:
        self._pinned = pinned
        self._chunk = torch.empty(0, dtype=torch.uint8)
        self._used = 0

    def copy(self, tensor: Tensor) -> Tensor:
        """Return a copy of the tensor with the same memory layout."""
        size = tensor.numel() * tensor.element_size()
        if self._used + size > len(self._chunk):
            self._chunk, self._used = self._allocate(max(size, CHUNK)), 0
        copied = _view_in(self._chunk, self._used, tensor)
        self._used = _aligned(self._used + size)
        return copied.copy_(tensor)

    def _allocate(self, size: int) -> Tensor:
        if self._pinned:
            try:
                return torch.empty(size, dtype=torch.uint8, pin_memory=True)
            except RuntimeError:  # the system limits pinned memory; further copies are slower
                self._pinned = False
        return torch.empty(size, dtype=torch.uint8)


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def _view_in(buffer: Tensor, start: int, like: Tensor) -> Tensor:
    """Return a view of a byte buffer with the shape, strides and dtype of `like`."""
    size = like.numel() * like.element_size()
    strides = torch.empty_like(like, device="meta").stride()
    return buffer[start : start + size].view(like.dtype).as_strided(like.shape, strides)


@contextmanager
def _plain_tensors() -> Generator[None, None, None]:
    """Leave inference mode, because inference tensors cannot become the data of a parameter."""
    with torch.inference_mode(False), torch.no_grad():
        yield


class Group:
    """Weights that are loaded and unloaded together. Groups may overlap, because models can share a module."""

    def __init__(self, modules: Iterable[nn.Module], device: torch.device, pool: PinnedPool) -> None:
        self._tensors = weights_of(modules)
        self._device = device
        self._pool = pool
        self._host: list[Tensor] = []
        self._offsets: list[int] = []
        self.bytes = 0
        for tensor in self._tensors:
            self._offsets.append(self.bytes)
            self.bytes = _aligned(self.bytes + tensor.numel() * tensor.element_size())

    @property
    def is_offloaded(self) -> bool:
        """True if the weights point to host memory instead of a copy on the device."""
        if not self._tensors:
            return False
        first = self._tensors[0]
        return first.device != self._device or (bool(self._host) and first.data_ptr() == self._host[0].data_ptr())

    def views(self, buffer: Tensor) -> list[Tensor]:
        """Return views of a device buffer, one for each weight."""
        return [_view_in(buffer, start, tensor) for start, tensor in zip(self._offsets, self._tensors, strict=True)]

    def copy_into(self, views: list[Tensor]) -> None:
        """Start copying the weights from host memory."""
        for view, tensor in zip(views, self._host, strict=True):
            view.copy_(tensor, non_blocking=True)

    def point_to(self, views: list[Tensor]) -> None:
        """Use these tensors as the weights' memory."""
        for tensor, view in zip(self._tensors, views, strict=True):
            tensor.data = view

    def load(self) -> None:
        """Copy the weights to the device unless they are there."""
        if not self.is_offloaded:
            return
        with _plain_tensors():
            self._record_storage()
            views = self.views(torch.empty(self.bytes, dtype=torch.uint8, device=self._device))
            self.copy_into(views)
            self.point_to(views)

    def unload(self) -> None:
        """Free the device copy and point the weights to host memory."""
        with _plain_tensors():
            self._record_storage()
            self.point_to(self._host)

    def _record_storage(self) -> None:
        if not self._host:
            self._host = [self._pool.copy(tensor.data) for tensor in self._tensors]


class Prefetcher:
    """Cyclic streaming of groups to the device: the next group is copied while the current one computes.

    Two device buffers are allocated once and reused.
    """

    def __init__(self, groups: Sequence[Group], device: torch.device, stream: CopyStream) -> None:
        self._groups = groups
        self._stream = stream
        with _plain_tensors():
            size = max(group.bytes for group in groups)
            self._buffers = [torch.empty(size, dtype=torch.uint8, device=device) for _ in range(2)]
        # Pending work may still use the memory that the buffers were allocated from.
        self._free = [stream.record_work(), stream.record_work()]
        self._current: int | None = None
        self._buffer = 1
        self._fetched = -1
        self._copied: Any = None
        self._views: list[Tensor] = []

    def need(self, index: int) -> None:
        """Load a group, unload the previous one and start copying the next one."""
        if index == self._current:
            return
        self.stop()
        if index != self._fetched:
            self._fetch(index)
        self._stream.make_work_wait(self._copied)
        self._current, self._buffer = index, 1 - self._buffer
        with _plain_tensors():
            self._groups[index].point_to(self._views)
        self._fetch((index + 1) % len(self._groups))

    def stop(self) -> None:
        """Unload the current group."""
        if self._current is not None:
            self._groups[self._current].unload()
            self._free[self._buffer] = self._stream.record_work()
            self._current = None

    def close(self) -> None:
        """Stop streaming; the buffers may be freed after this returns."""
        self.stop()
        self._stream.make_work_wait(self._stream.record_copies())

    def _fetch(self, index: int) -> None:
        """Start copying a group into the unused buffer."""
        buffer = 1 - self._buffer
        group = self._groups[index]
        self._stream.make_copies_wait(self._free[buffer])
        with _plain_tensors(), self._stream.copying():
            self._views = group.views(self._buffers[buffer])
            group.copy_into(self._views)
        self._copied, self._fetched = self._stream.record_copies(), index


class OffloadManager:
    """Placement of a model's parts on host or device by memory plan; the network's stages can be streamed.

    parts: modules by name, without the network. device: device that computes.
    """

    def __init__(
        self,
        parts: Mapping[str, nn.Module],
        network: FastUNet,
        device: torch.device,
        make_stream: Callable[[torch.device], CopyStream] = make_copy_stream,
    ) -> None:
        self.plan: MemoryPlan = "resident"
        device = torch.empty(0, device=device).device  # resolves "cuda" to an indexed device, as on tensors
        self._network, self._device, self._make_stream = network, device, make_stream
        pool = PinnedPool(pinned=device.type == "cuda")
        stages = network.stages
        others = [part for part in network.children() if part not in (network.down, network.middle, network.up)]
        remaining = [*others, nn.ParameterList(network.parameters(recurse=False))]
        self._parts = {name: Group([module], device, pool) for name, module in parts.items()}
        self._parts[NETWORK] = Group(remaining, device, pool)
        self._stages = [Group([stage], device, pool) for stage in stages]
        self._index = {id(stage): index for index, stage in enumerate(stages)}

    def apply(self, plan: MemoryPlan) -> None:
        """Apply a plan: load all weights to the device, or unload them."""
        self.plan = plan
        for group in (*self._parts.values(), *self._stages):
            if plan == "resident":
                group.load()
            else:
                group.unload()

    @contextmanager
    def at_work(self, part: str) -> Generator[None, None, None]:
        """Keep a part on the device inside the block; afterwards, even after an exception, restore the plan."""
        streamed = part == NETWORK and self.plan == "blocks"
        groups = [self._parts[part], *(self._stages if part == NETWORK and not streamed else [])]
        try:
            for group in groups:
                group.load()
            with self._streamed() if streamed else nullcontext():
                yield
        finally:
            if self.plan != "resident":
                for group in groups:
                    group.unload()

    @contextmanager
    def _streamed(self) -> Generator[None, None, None]:
        prefetcher = Prefetcher(self._stages, self._device, self._make_stream(self._device))
        before = self._network.before_stage
        self._network.before_stage = lambda stage: prefetcher.need(self._index[id(stage)])
        try:
            yield
        finally:
            self._network.before_stage = before
            prefetcher.close()

    @property
    def bytes_on_device(self) -> int:
        """Bytes of the weights on the device."""
        return sum(group.bytes for group in (*self._parts.values(), *self._stages) if not group.is_offloaded)
