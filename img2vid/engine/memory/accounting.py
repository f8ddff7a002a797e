"""Memory accounting of a model and its stages, without a GPU and without allocating the memory.

The engine's own modules run on torch's meta device, where tensors have a size but no data, with the tiles that a GPU
would use. Live bytes are counted after every operation; their peak is the memory needed.
"""

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from img2vid.engine.conditioner import Conditioner
from img2vid.engine.fast.decoder import FastDecoder
from img2vid.engine.fast.unet import FastUNet
from img2vid.engine.fast.weights import weights_of


@dataclass(frozen=True)
class ClipSize:
    """Clip size: frames, height and width in pixels, and the number of frames decoded at a time."""

    num_frames: int
    height: int
    width: int
    decode_t: int


class LiveBytes(TorchDispatchMode):
    """Counter of the bytes of tensors that operations create on a device type: live now, and at the peak."""

    def __init__(self, device_type: str) -> None:
        super().__init__()  # pyright: ignore[reportUnknownMemberType] - torch types its argument loosely
        self.now = self.peak = 0
        self._device_type = device_type
        self._known: weakref.WeakKeyDictionary[Any, None] = weakref.WeakKeyDictionary()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the operation and count new tensors."""
        for leaf in tree_leaves((args, kwargs)):
            if isinstance(leaf, Tensor) and leaf.device.type == self._device_type:
                self._known.setdefault(leaf.untyped_storage())  # existed before or is already counted
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor) and leaf.device.type == self._device_type:
                self._count(leaf.untyped_storage())
        return result

    def _count(self, storage: Any) -> None:
        if storage in self._known:
            return
        self._known[storage] = None
        size: int = storage.nbytes()
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._on_free, size)

    def _on_free(self, size: int) -> None:
        self.now -= size


class GpuKernels(TorchFunctionMode):
    """Torch function mode in which meta-device operations allocate memory like GPU kernels.

    Attention does not create the matrix of all pairs, and convolutions keep channels-last maps channels-last.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Replace attention and channels-last convolutions on the meta device; run other functions unchanged."""
        if func is F.scaled_dot_product_attention and args[0].is_meta:
            return _attention(args[0])
        if func is F.conv2d and args[0].is_meta and any(map(_channels_are_last, args[:2])):
            return _convolved(*args)
        return func(*args, **(kwargs or {}))


def _attention(query: Tensor) -> Tensor:
    *batch, heads, tokens, width = query.shape
    logsumexp = query.new_empty(*batch, heads, tokens, dtype=torch.float32)
    attended = query.new_empty(*batch, tokens, heads, width).transpose(-3, -2)
    del logsumexp
    return attended


def _convolved(x: Tensor, weight: Tensor, _bias: Tensor | None, stride: Any = 1, padding: Any = 0, *_: Any) -> Tensor:
    size = [len(x), len(weight)]
    for axis in (0, 1):
        step, pad = (value if isinstance(value, int) else value[axis] for value in (stride, padding))
        size.append((x.shape[2 + axis] + 2 * pad - weight.shape[2 + axis]) // step + 1)
    return torch.empty(size, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)


def _channels_are_last(maps: Tensor) -> bool:
    return maps.is_contiguous(memory_format=torch.channels_last) and not maps.is_contiguous()


def peak_of(run: Callable[[], object], device_type: str = "meta") -> int:
    """Return the peak of live bytes during a run, without tensors that existed before."""
    with torch.inference_mode(), LiveBytes(device_type) as live, GpuKernels():
        run()
    return live.peak


def weight_bytes(*modules: nn.Module) -> int:
    """Return the bytes of the modules' weights, each counted once."""
    return sum(weight.numel() * weight.element_size() for weight in weights_of(modules))


class Needs:
    """Memory needs of a model, from its modules on the meta device: bytes of weights and activations by part."""

    def __init__(
        self, conditioner: Conditioner, network: FastUNet, decoder: FastDecoder, decoder_dtype: torch.dtype, f: int
    ) -> None:
        self.conditioner, self.network, self.decoder = conditioner, network, decoder
        self.weights = {
            "clip": weight_bytes(conditioner.embedder("cond_frames_without_noise")),
            "encoder": weight_bytes(conditioner.embedder("cond_frames")),
            "network": weight_bytes(network),
            "decoder": weight_bytes(decoder),
        }
        sizes = [weight_bytes(stage) for stage in network.stages]
        self.streamed = self.weights["network"] - sum(sizes) + 2 * max(sizes)
        """Bytes of the network if its stages are streamed: two buffers, one computing while the other is filled."""
        self._dtype, self._decoder_dtype, self._f = network.shift_bias.dtype, decoder_dtype, f
        self._cache: dict[tuple[object, ...], int] = {}

    def embed_image(self, size: ClipSize) -> int:
        """Return the activation bytes of CLIP."""
        image = _blank(1, 3, size.height, size.width)
        return self._peak(("embed", image.shape), lambda: self.conditioner.embed_image(image))

    def encode(self, size: ClipSize) -> int:
        """Return the activation bytes of the encoder of the conditioning frame."""
        image = _blank(1, 3, size.height, size.width)
        return self._peak(("encode", image.shape), lambda: self.conditioner.encode_frame(image))

    def sample(self, size: ClipSize, *, together: bool) -> int:
        """Return the activation bytes of one guided step. together: both conditionings in one pass."""
        net = self.network
        shape = (size.num_frames, net.config.in_channels, size.height // self._f, size.width // self._f)
        clip, level = _blank(*shape, dtype=self._dtype), _blank(1)
        token = _blank(1, net.config.context_dim, dtype=self._dtype)
        rows = size.num_frames if self.conditioner.is_per_frame else 1
        vector = _blank(rows, net.config.adm_in_channels, dtype=self._dtype)

        def step() -> None:
            constants = [net.precompute(token, vector, size.num_frames) for _ in range(2)]
            if together:
                net([clip, clip], level, constants)
            else:
                estimates = [net([clip], level, constants[i : i + 1]) for i in range(2)]
                del estimates

        return self._peak(("sample", shape, together), step)

    def decode(self, size: ClipSize, *, low_memory: bool) -> int:
        """Return the activation bytes of the largest chunk of frames. low_memory: with the low-memory decoder."""
        frames = min(size.decode_t, size.num_frames)
        z = _blank(frames, 4, size.height // self._f, size.width // self._f, dtype=self._decoder_dtype)

        def chunk() -> None:
            self.decoder.low_memory = low_memory
            self.decoder(z).float()

        return self._peak(("decode", z.shape, low_memory), chunk)

    def _peak(self, key: tuple[object, ...], run: Callable[[], object]) -> int:
        if key not in self._cache:
            self._cache[key] = peak_of(run)
        return self._cache[key]


def _blank(*size: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.empty(size, device="meta", dtype=dtype)
