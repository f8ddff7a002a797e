"""Chunked decoding of latents to frames, with a float32 fallback that prevents black frames.

Autoencoders of this family can overflow in float16: values above 65504 become infinite and the frame black. Every
chunk is therefore checked, and a chunk with NaN or infinity is decoded again in float32. Group norms compute their
statistics in float32 in any format.
"""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from img2vid.engine.interface import DTYPES
from img2vid.errors import BadInput
from img2vid.options import Precision

NAMES: dict[torch.dtype, str] = {torch.float32: "float32", torch.float16: "float16", torch.bfloat16: "bfloat16"}

DecodeChunk = Callable[[Tensor], Tensor]
"""(n, z, h, w) of consecutive latents in float32 -> (n, 3, H, W) in float32, not clamped."""


def chunk_decoder(decoder: nn.Module, dtype: torch.dtype) -> DecodeChunk:
    """Return the decoder in `dtype`; it is copied if its weights have another format."""
    module = decoder if format_of(decoder) == dtype else copy.deepcopy(decoder).to(dtype)
    return lambda z: module(z.to(dtype)).float()


def format_of(module: nn.Module) -> torch.dtype:
    """Return the number format of a module's weights."""
    return next(module.parameters()).dtype


def in_format(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the tensor in `dtype`, or in float32 if it has finite values that overflow in `dtype`."""
    short = tensor.to(dtype)
    if dtype in (tensor.dtype, torch.float32) or torch.isfinite(short).all() or not torch.isfinite(tensor).all():
        return short
    return tensor.to(torch.float32)


def in_one_format(module: nn.Module) -> None:
    """Convert a module to float32 if its weights have mixed formats because some overflowed (see `in_format`)."""
    if len({weight.dtype for weight in module.parameters()}) > 1:
        module.float()


class FrameDecoder:
    """Decoder of latents, which uses the number format of the decoder's weights unless that overflows.

    decoder: (n, z, h, w) of consecutive latents -> (n, 3, H, W). precision: the requested format; weights that
    overflow in it have another one.
    """

    def __init__(self, decoder: nn.Module, scale_factor: float, device: torch.device, precision: Precision):
        self.decoder = decoder
        self.dtype = format_of(decoder)
        self._scale_factor = scale_factor
        self._device = device
        self._weights_fit = self.dtype == DTYPES[precision]
        self._requested = NAMES[DTYPES[precision]]
        self._decode = chunk_decoder(decoder, self.dtype)

    def __call__(
        self,
        latents: Tensor,
        decode_t: int,
        on_chunk: Callable[[int, int], None] | None = None,
        on_notice: Callable[[str], None] | None = None,
    ) -> Tensor:
        """See `Engine.decode`."""
        notices: list[str] = []

        def note(sentence: str) -> None:
            if sentence not in notices:
                notices.append(sentence)
                if on_notice is not None:
                    on_notice(sentence)

        if not self._weights_fit:
            note(f"decoded in float32, because the decoder's weights are too large for {self._requested}")
        wide: DecodeChunk | None = None

        def decode(chunk: Tensor) -> Tensor:
            nonlocal wide
            z = chunk / self._scale_factor
            frames = self._decode(z)
            if self.dtype != torch.float32 and not torch.isfinite(frames).all():
                del frames  # free its memory before decoding again
                wide = wide or chunk_decoder(self.decoder, torch.float32)
                frames = wide(z)
                note(f"decoded again in float32, because {self._requested} overflowed")
            return frames

        return in_chunks(latents.to(self._device), decode_t, decode, on_chunk)


def in_chunks(
    latents: Tensor, decode_t: int, decode: DecodeChunk, on_chunk: Callable[[int, int], None] | None
) -> Tensor:
    """Return frames (T, 3, H, W) in CPU memory, decoding `decode_t` latents at a time; see `Engine.decode`."""
    if decode_t < 1:
        raise BadInput(f"decode_t must be at least 1 frame at a time, got {decode_t}")
    frames: list[Tensor] = []
    for chunk in torch.split(latents, decode_t):
        frames.append(decode(chunk).cpu())
        if on_chunk is not None:
            on_chunk(sum(len(part) for part in frames), len(latents))
    return torch.cat(frames)
