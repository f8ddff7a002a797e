"""What the stages have to compute, counted on the plain modules on torch's meta device: no memory, no time.

The plain modules compute layer by layer what the reference computes, with the same products of the same sizes. An
operation is a multiplication or an addition inside a matrix product, a convolution or attention; what is done element
by element is not counted, as is usual.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from img2vid.engine.bench.backends import Run, Shape
from img2vid.engine.config import DiffusionConfig, load_config
from img2vid.engine.interface import DTYPES
from img2vid.engine.model import SvdModel, build_meta


@dataclass(frozen=True)
class Work:
    """One part of a stage: the format it is computed in, its operations, and the bytes that must move at least.

    The bytes are the weights, read once for each pass over them, and the part's inputs and outputs.
    """

    precision: str
    operations: float
    bytes: float


def count(run: Callable[[], object]) -> float:
    """The operations of a run, whose results are of no use: under torch's counter some layers compute otherwise."""
    with FlopCounterMode(display=False) as counter:
        run()
    return float(counter.get_total_flops())


def count_stages(config: Path, shape: Shape, precision: str) -> dict[str, list[Work]]:
    """The parts of "condition", "step" and "decode" in the formats in which the reference computes them."""
    model_config = load_config(config)
    model = build_meta(model_config, config.parent)
    model.drop_unused()
    return {
        "condition": _condition(model, shape, precision),
        "step": [_step(model, model_config, shape, precision)],
        "decode": _decode(model, model_config, shape),
    }


def _condition(model: SvdModel, shape: Shape, precision: str) -> list[Work]:
    image = _blank(1, 3, shape.height, shape.width)
    conditioner = model.conditioner
    clip = conditioner.embedder("cond_frames_without_noise")
    # What comes before the tower is resizing: no products, and the tower's weights are all that CLIP must read.
    tower = cast(Any, clip).open_clip
    encoder = conditioner.embedder("cond_frames")
    return [
        _part(lambda: [tower(image)], tower, precision, [image]),
        _part(lambda: [encoder(image)], encoder, "fp32", [image]),
    ]


def _step(model: SvdModel, config: DiffusionConfig, shape: Shape, precision: str) -> Work:
    """Both halves of every step."""
    network, frames = config.network_config, 2 * shape.num_frames
    f = config.first_stage.downsampling
    x = _blank(frames, network.in_channels, shape.height // f, shape.width // f)
    level = _blank(frames)
    context, vector = _blank(frames, 1, network.context_dim), _blank(frames, network.adm_in_channels)

    def once() -> list[Tensor]:
        return [model.network(x, level, context=context, vector=vector, num_frames=shape.num_frames)]

    part = _part(once, model.network, precision, [x, context, vector])
    return Work(precision, shape.steps * part.operations, shape.steps * part.bytes)


def _decode(model: SvdModel, config: DiffusionConfig, shape: Shape) -> list[Work]:
    f, z = config.first_stage.downsampling, config.first_stage.z_channels
    chunks = torch.split(_blank(shape.num_frames, z, shape.height // f, shape.width // f), shape.decode_t)
    stage = model.first_stage_model

    def decode(chunk: Tensor) -> Callable[[], list[Tensor]]:
        return lambda: [stage.decode(chunk)]

    return [_part(decode(chunk), stage, "fp32", [chunk]) for chunk in chunks]


def _blank(*size: int) -> Tensor:
    return torch.empty(size, device="meta")


@torch.no_grad()  # in inference mode, PyTorch before 2.5 counts nothing
def _part(run: Run, weights: nn.Module, precision: str, inputs: list[Tensor]) -> Work:
    outputs: list[Tensor] = []
    operations = count(lambda: outputs.extend(run()))
    values = sum(tensor.numel() for tensor in [*weights.parameters(), *inputs, *outputs])
    return Work(precision, operations, values * DTYPES[precision].itemsize)  # type: ignore[index]
