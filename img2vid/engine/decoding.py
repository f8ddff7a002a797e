"""Latents to frames, chunk by chunk, in a number format that never shows black frames.

Autoencoders of this family can overflow in float16: numbers above 65504 become infinite, and the frame black. Every
chunk is therefore looked at, and one that holds what is no number is decoded again in float32. Group norms take their
statistics in float32 in any format.
"""

import copy
from collections.abc import Callable

import torch
from torch import Tensor

from img2vid.engine.interface import DTYPES, Precision
from img2vid.engine.nets.autoencoder import Autoencoder
from img2vid.errors import BadInput

NAMES: dict[torch.dtype, str] = {torch.float32: "float32", torch.float16: "float16", torch.bfloat16: "bfloat16"}

DecodeChunk = Callable[[Tensor], Tensor]
"""(n, z, h, w) of consecutive latents, unscaled, in float32 -> (n, 3, H, W) in float32, not clamped."""


def chunk_decoder(first_stage: Autoencoder, dtype: torch.dtype) -> DecodeChunk:
    """The first stage's decoder in a number format; a copy of it where it has another one."""
    same = first_stage.dtype == dtype
    module = first_stage if same else copy.deepcopy(first_stage).to(dtype)
    return lambda z: module.decode(z.to(dtype)).float()


def in_format(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """The tensor in a number format, or in float32 where it holds numbers that the format cannot hold."""
    short = tensor.to(dtype)
    if dtype in (tensor.dtype, torch.float32) or torch.isfinite(short).all() or not torch.isfinite(tensor).all():
        return short
    return tensor.to(torch.float32)


class FrameDecoder:
    """Decodes the latents of clips with the first stage of a model, whose weights are in `precision`.

    Weights that did not fit the format, see `in_format`, leave the whole first stage in float32.
    """

    def __init__(self, first_stage: Autoencoder, scale_factor: float, device: torch.device, precision: Precision):
        self._first_stage = first_stage
        self._scale_factor = scale_factor
        self._device = device
        wanted = DTYPES[precision]
        self._weights_fit = all(weight.dtype == wanted for weight in first_stage.parameters())
        self.dtype = wanted if self._weights_fit else torch.float32
        if not self._weights_fit:
            first_stage.float()
        self._wanted = NAMES[wanted]
        self._decode = chunk_decoder(first_stage, self.dtype)

    def __call__(
        self,
        latents: Tensor,
        decode_t: int,
        on_chunk: Callable[[int, int], None] | None = None,
        on_notice: Callable[[str], None] | None = None,
    ) -> Tensor:
        """See `Engine.decode`."""
        if decode_t < 1:
            raise BadInput(f"decode_t must be at least 1 frame at a time, got {decode_t}")
        notices: list[str] = []

        def note(sentence: str) -> None:
            if sentence not in notices:
                notices.append(sentence)
                if on_notice is not None:
                    on_notice(sentence)

        if not self._weights_fit:
            note(f"decoded in float32, because the decoder's weights are too large for {self._wanted}")
        wide: DecodeChunk | None = None
        frames: list[Tensor] = []
        for chunk in torch.split(latents.to(self._device), decode_t):
            z = chunk / self._scale_factor
            found = self._decode(z)
            if self.dtype != torch.float32 and not torch.isfinite(found).all():
                del found  # its memory is needed now
                wide = wide or chunk_decoder(self._first_stage, torch.float32)
                found = wide(z)
                note(f"decoded again in float32, because {self._wanted} overflowed")
            frames.append(found.cpu())
            if on_chunk is not None:
                on_chunk(sum(len(part) for part in frames), len(latents))
        return torch.cat(frames)
