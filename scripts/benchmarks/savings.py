"""Speedup of each rearrangement of the network and the decoder on this machine, cumulatively.

The middle-size model with random weights, 14 frames of 512 x 256, float32, on the CPU: one network pass over one clip,
and decoding one clip. Every row includes the changes of the rows above it. Rows alternate within one process; seconds
are medians, and the error is the norm of the difference from the first row over its norm.
"""

import argparse
import statistics
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from unittest import mock

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.results import Row
from img2vid import paths
from img2vid.bench.figures import take_turns
from img2vid.engine.bench.middle_size import write_middle
from img2vid.engine.bench.session import relative_difference
from img2vid.engine.config import load_config
from img2vid.engine.fast import ops, transformer
from img2vid.engine.fast.convolutions import UpsampleConv
from img2vid.engine.fast.decoder import FastDecoder
from img2vid.engine.fast.tile_plan import CACHE, TilePlan
from img2vid.engine.fast.unet import FastUNet
from img2vid.engine.memory.device import keep_freed_memory
from img2vid.engine.model import SvdModel, build_meta
from img2vid.engine.nets.attention import Attention
from img2vid.engine.nets.blocks import Upsample
from img2vid.engine.weights.random import write_random_checkpoint

FRAMES, HEIGHT, WIDTH = 14, 32, 64
WHOLE = 2**40
PARTS = ("network", "decode")
COLUMNS = {
    "variant": "",
    **dict.fromkeys(("network_seconds", "decode_seconds"), ".2f"),
    **dict.fromkeys(("network_error", "decode_error"), ".1e"),
}
Work = Callable[[], Tensor]


class Inputs:
    """Latents and conditioning of one clip."""

    def __init__(self) -> None:
        noise = torch.Generator().manual_seed(0)
        self.x = torch.randn(FRAMES, 8, HEIGHT, WIDTH, generator=noise)
        self.z = torch.randn(FRAMES, 4, HEIGHT, WIDTH, generator=noise)
        self.crossattn = torch.randn(1, 64, generator=noise)
        self.vector = torch.randn(1, 768, generator=noise)
        self.c_noise = torch.tensor([0.3])


class Doubling(UpsampleConv):
    """Nearest-neighbor doubling, then the 3 x 3 convolution."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__(conv)
        self.conv = conv.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x: Tensor) -> Tensor:
        larger = F.interpolate(x.permute(0, 3, 1, 2), scale_factor=2.0, mode="nearest")
        return self.conv(larger).permute(0, 2, 3, 1).contiguous()


def attend_in_full(layer: Attention, x: Tensor, context: Tensor | None = None) -> Tensor:
    """Compute attention with queries, keys and a softmax even for a single token."""
    context = x if context is None else context.expand(*x.shape[:-2], *context.shape[-2:])
    query, key, value = (
        part.reshape(-1, part.shape[-2], layer.heads, part.shape[-1] // layer.heads).transpose(1, 2)
        for part in (layer.to_q(x), layer.to_k(context), layer.to_v(context))
    )
    answer = F.scaled_dot_product_attention(query, key, value)
    return layer.to_out(answer.transpose(1, 2).reshape(*x.shape[:-1], -1))


def plain(model: SvdModel, given: Inputs, *, in_full: bool) -> tuple[Work, Work]:
    """Return the layers as the checkpoint names them."""

    def network() -> Tensor:
        context = [part.expand(FRAMES, *part.shape[1:]) for part in (given.crossattn[:, None], given.vector)]
        with ExitStack() as stack:
            if in_full:
                stack.enter_context(mock.patch.object(Attention, "forward", attend_in_full))
            noise = given.c_noise.expand(FRAMES)
            return model.network(given.x, noise, context=context[0], vector=context[1], num_frames=FRAMES)

    return network, lambda: model.first_stage_model.decode(given.z)


def fused(
    model: SvdModel, given: Inputs, size: int, *, threaded: bool = False, products: bool = True, doubling: bool = True
) -> tuple[Work, Work]:
    """Return the fast form in tiles of `size` bytes.

    products: fuse the following operations into the products. doubling: double within the convolution.
    """
    budget = TilePlan(size, threaded=threaded)
    convs = [
        [layer.conv for layer in part.modules() if isinstance(layer, Upsample)]
        for part in (model.network, model.first_stage_model)
    ]
    parts = FastUNet(model.network, budget), FastDecoder(model.first_stage_model, budget)
    if not doubling:
        for part, originals in zip(parts, (convs[0], convs[1][::-1]), strict=True):
            places = [(owner, name) for owner in part.modules() for name, child in owner.named_children()
                      if isinstance(child, UpsampleConv)]  # fmt: skip
            for (owner, name), conv in zip(places, originals, strict=True):
                setattr(owner, name, Doubling(conv))
    network, decoder = parts
    constants = network.precompute(given.crossattn, given.vector, FRAMES)

    def run(work: Work) -> Work:
        def changed() -> Tensor:
            with ExitStack() as stack:
                if not products:
                    for module in (ops, transformer):
                        stack.enter_context(mock.patch.object(module, "by_onednn", lambda _: False))
                stack.enter_context(budget.at_work())
                return work()

        return changed

    return run(lambda: network([given.x], given.c_noise, [constants])[0]), run(lambda: decoder(given.z))


@torch.inference_mode()
def measure_variants(folder: Path, repetitions: int) -> list[Row]:
    """Return one row for each variant."""
    keep_freed_memory()
    config = write_middle(paths.CONFIGS / "svd.yaml", folder)
    weights = load_file(write_random_checkpoint(config, folder / "middle.safetensors", 0))

    def model() -> SvdModel:
        made = build_meta(load_config(config), config.parent)
        made.drop_unused()
        made.load_state_dict({name: tensor.clone() for name, tensor in weights.items()}, assign=True)
        return made

    given = Inputs()
    whole = {"products": False, "doubling": False}
    variants = {
        "layer by layer, cross-attention computed": plain(model(), given, in_full=True),
        "cross-attention to one token as a constant": plain(model(), given, in_full=False),
        "channels last, fused and folded layers, whole clips": fused(model(), given, WHOLE, **whole),
        "GELU, factors and sums fused into the products": fused(model(), given, WHOLE, doubling=False),
        "upsampling fused into the convolution": fused(model(), given, WHOLE),
        "in tiles that fit the cache": fused(model(), given, CACHE),
        "one thread per tile": fused(model(), given, CACHE, threaded=True),
    }
    expected = [work() for work in next(iter(variants.values()))]
    # The comparisons also warm every variant up.
    errors = {
        name: [relative_difference(work(), one) for work, one in zip(works, expected, strict=True)]
        for name, works in variants.items()
    }
    runs = {
        f"{name}, {part}": work for name, works in variants.items() for part, work in zip(PARTS, works, strict=True)
    }
    seconds = take_turns(runs, repetitions, lambda: None)
    rows: list[Row] = []
    for name, (network_error, decode_error) in errors.items():
        medians = {f"{part}_seconds": statistics.median(seconds[f"{name}, {part}"]) for part in PARTS}
        rows.append({"variant": name, **medians, "network_error": network_error, "decode_error": decode_error})
    return rows


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--repetitions", type=int, default=3)


def measure(given: argparse.Namespace) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        yield from measure_variants(Path(folder), given.repetitions)
