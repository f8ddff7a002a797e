"""Weights that wait in the machine's own memory and are on the card while they are needed.

Weights never change, so that nothing is copied back: a copy on the card is let go, and the weights point home again.
Home is pinned memory where the driver has room for it; a card reads that at full speed while others compute.
"""

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from img2vid.engine.fast.unet import FastUNet
from img2vid.engine.fast.weights import weights_of
from img2vid.engine.interface import MemoryPlan

CHUNK = 64 * 2**20
"""Pinned memory is had in powers of two; many weights share a piece of this size, so that little of it is lost."""
ALIGNMENT = 512
NETWORK = "network"


class CopyStream(Protocol):
    """A second queue of a device's work, for copies that run while the first one computes. Marks are points in time."""

    def copying(self) -> AbstractContextManager[Any]:
        """What is done inside goes into this queue."""
        ...

    def mark_copies(self) -> Any:
        """After all copies so far."""
        ...

    def mark_work(self) -> Any:
        """After all that computes so far."""
        ...

    def let_work_wait(self, mark: Any) -> None:
        """What computes from now on starts behind the mark."""
        ...

    def let_copies_wait(self, mark: Any) -> None:
        """Copies from now on start behind the mark."""
        ...


class CudaCopyStream:
    """A stream beside the one that computes."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._side = torch.cuda.Stream(device)

    def copying(self) -> AbstractContextManager[Any]:
        """See `Lane.copying`."""
        return torch.cuda.stream(self._side)

    def mark_copies(self) -> Any:
        """See `Lane.mark_copies`."""
        return self._side.record_event()

    def mark_work(self) -> Any:
        """See `Lane.mark_work`."""
        return torch.cuda.current_stream(self._device).record_event()

    def let_work_wait(self, mark: Any) -> None:
        """See `Lane.let_work_wait`."""
        torch.cuda.current_stream(self._device).wait_event(mark)

    def let_copies_wait(self, mark: Any) -> None:
        """See `Lane.let_copies_wait`."""
        self._side.wait_event(mark)


class SynchronousCopies:
    """For devices with one queue: a copy is done when the call returns."""

    def copying(self) -> AbstractContextManager[Any]:
        """See `Lane.copying`."""
        return nullcontext()

    def mark_copies(self) -> None:
        """See `Lane.mark_copies`."""

    def mark_work(self) -> None:
        """See `Lane.mark_work`."""

    def let_work_wait(self, mark: None) -> None:
        """See `Lane.let_work_wait`."""

    def let_copies_wait(self, mark: None) -> None:
        """See `Lane.let_copies_wait`."""


def make_copy_stream(device: torch.device) -> CopyStream:
    """What the device has."""
    return CudaCopyStream(device) if device.type == "cuda" else SynchronousCopies()


class PinnedPool:
    """Memory of the machine, pinned where `pinned` says so and the driver lets it."""

    def __init__(self, *, pinned: bool) -> None:
        self._pinned = pinned
        self._chunk = torch.empty(0, dtype=torch.uint8)
        self._used = 0

    def copy(self, tensor: Tensor) -> Tensor:
        """A copy of the tensor that lies in memory as it does."""
        size = tensor.numel() * tensor.element_size()
        if self._used + size > len(self._chunk):
            self._chunk, self._used = self._take(max(size, CHUNK)), 0
        copied = _within(self._chunk, self._used, tensor)
        self._used = _aligned(self._used + size)
        return copied.copy_(tensor)

    def _take(self, size: int) -> Tensor:
        if self._pinned:
            try:
                return torch.empty(size, dtype=torch.uint8, pin_memory=True)
            except RuntimeError:  # the system bounds how much may be pinned; from now on copies are slower
                self._pinned = False
        return torch.empty(size, dtype=torch.uint8)


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def _within(buffer: Tensor, start: int, like: Tensor) -> Tensor:
    """A tensor in a buffer of bytes, of the form of another one."""
    size = like.numel() * like.element_size()
    strides = torch.empty_like(like, device="meta").stride()
    return buffer[start : start + size].view(like.dtype).as_strided(like.shape, strides)


@contextmanager
def _plain_tensors() -> Generator[None, None, None]:
    """What is made inside may become a weight's memory, which tensors of inference mode may not."""
    with torch.inference_mode(False), torch.no_grad():
        yield


class Group:
    """Weights that move as one. Another group may hold the same ones, as two models may share a module."""

    def __init__(self, modules: Iterable[nn.Module], device: torch.device, home: PinnedPool) -> None:
        self._tensors = weights_of(modules)
        self._device = device
        self._home = home
        self._at_home: list[Tensor] = []
        self._offsets: list[int] = []
        self.bytes = 0
        for tensor in self._tensors:
            self._offsets.append(self.bytes)
            self.bytes = _aligned(self.bytes + tensor.numel() * tensor.element_size())

    @property
    def is_offloaded(self) -> bool:
        """Whether the weights are in the machine's memory, of which the device has no copy that they point to."""
        if not self._tensors:
            return False
        first = self._tensors[0]
        return first.device != self._device or (bool(self._at_home) and first.data_ptr() == self._at_home[0].data_ptr())

    def views(self, buffer: Tensor) -> list[Tensor]:
        """The weights' places in a buffer of the device."""
        return [_within(buffer, start, tensor) for start, tensor in zip(self._offsets, self._tensors, strict=True)]

    def copy_into(self, views: list[Tensor]) -> None:
        """Starts to copy the weights from home."""
        for view, tensor in zip(views, self._at_home, strict=True):
            view.copy_(tensor, non_blocking=True)

    def point_to(self, places: list[Tensor]) -> None:
        """Makes these the weights' memory."""
        for tensor, place in zip(self._tensors, places, strict=True):
            tensor.data = place

    def load(self) -> None:
        """To the device, if they are not there."""
        if not self.is_offloaded:
            return
        with _plain_tensors():
            self._record_storage()
            views = self.views(torch.empty(self.bytes, dtype=torch.uint8, device=self._device))
            self.copy_into(views)
            self.point_to(views)

    def unload(self) -> None:
        """Away from the device."""
        with _plain_tensors():
            self._record_storage()
            self.point_to(self._at_home)

    def _record_storage(self) -> None:
        if not self._at_home:
            self._at_home = [self._home.copy(tensor.data) for tensor in self._tensors]


class Prefetcher:
    """Groups that come to the device one after the other, over and over: the next one while the last one computes.

    There are two places for them, taken once, so that nothing is allocated on the way.
    """

    def __init__(self, groups: Sequence[Group], device: torch.device, lane: CopyStream) -> None:
        self._groups = groups
        self._lane = lane
        with _plain_tensors():
            size = max(group.bytes for group in groups)
            self._places = [torch.empty(size, dtype=torch.uint8, device=device) for _ in range(2)]
        # The places may have been somebody else's whose work is not done yet.
        self._free = [lane.mark_work(), lane.mark_work()]
        self._now: int | None = None
        self._place = 1
        self._coming = -1
        self._arrived: Any = None
        self._views: list[Tensor] = []

    def need(self, index: int) -> None:
        """Has a group at its place, lets the one before it go, and sends for the next one."""
        if index == self._now:
            return
        self.stop()
        if index != self._coming:
            self._fetch(index)
        self._lane.let_work_wait(self._arrived)
        self._now, self._place = index, 1 - self._place
        with _plain_tensors():
            self._groups[index].point_to(self._views)
        self._fetch((index + 1) % len(self._groups))

    def stop(self) -> None:
        """Sends the group that is there home."""
        if self._now is not None:
            self._groups[self._now].unload()
            self._free[self._place] = self._lane.mark_work()
            self._now = None

    def close(self) -> None:
        """Ends it; the places may be given away when this has returned."""
        self.stop()
        self._lane.let_work_wait(self._lane.mark_copies())

    def _fetch(self, index: int) -> None:
        """Starts to copy a group into the place that is not in use."""
        place = 1 - self._place
        group = self._groups[index]
        self._lane.let_copies_wait(self._free[place])
        with _plain_tensors(), self._lane.copying():
            self._views = group.views(self._places[place])
            group.copy_into(self._views)
        self._arrived, self._coming = self._lane.mark_copies(), index


class OffloadManager:
    """Where a model's weights are, by part, under a memory plan; the network's stages can come one by one.

    parts: modules by name, without the network. device: where they compute.
    """

    def __init__(
        self,
        parts: Mapping[str, nn.Module],
        network: FastUNet,
        device: torch.device,
        make_lane: Callable[[torch.device], CopyStream] = make_copy_stream,
    ) -> None:
        self.plan: MemoryPlan = "resident"
        device = torch.empty(0, device=device).device  # "cuda" by its number, as tensors say it
        self._network, self._device, self._make_lane = network, device, make_lane
        home = PinnedPool(pinned=device.type == "cuda")
        stages = network.stages
        others = [part for part in network.children() if part not in (network.down, network.middle, network.up)]
        rest = [*others, nn.ParameterList(network.parameters(recurse=False))]
        self._parts = {name: Group([module], device, home) for name, module in parts.items()}
        self._parts[NETWORK] = Group(rest, device, home)
        self._stages = [Group([stage], device, home) for stage in stages]
        self._index = {id(stage): index for index, stage in enumerate(stages)}

    def apply(self, plan: MemoryPlan) -> None:
        """Takes a plan up: everything goes to the device, or home."""
        self.plan = plan
        for group in (*self._parts.values(), *self._stages):
            if plan == "resident":
                group.load()
            else:
                group.unload()

    @contextmanager
    def at_work(self, part: str) -> Generator[None, None, None]:
        """Has a part on the device meanwhile; also after an exception it is where the plan wants it."""
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
        stream = Prefetcher(self._stages, self._device, self._make_lane(self._device))
        before = self._network.before_stage
        self._network.before_stage = lambda stage: stream.need(self._index[id(stage)])
        try:
            yield
        finally:
            self._network.before_stage = before
            stream.close()

    @property
    def bytes_on_device(self) -> int:
        """Bytes of the weights that are on the device now."""
        return sum(group.bytes for group in (*self._parts.values(), *self._stages) if not group.is_offloaded)
