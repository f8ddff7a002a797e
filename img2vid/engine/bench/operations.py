"""Operation counts of the stages, from the plain modules on torch's meta device, which needs no memory or time.

The plain modules match the reference layer by layer, with the same products of the same sizes. An operation is a
multiplication or addition in a matrix product, a convolution or attention. Element-wise operations are not counted, as
is usual.
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
    """Part of a stage: number format, operations, and the minimum of bytes to move.

    The bytes are the weights, read once per pass, and the part's inputs and outputs.
    """

    precision: str
    operations: float
    bytes: float


def count(run: Callable[[], object]) -> float:
    """Return the operations of a run. Its results are not valid, because torch's counter changes some layers."""
    with FlopCounterMode(display=False) as counter:
        run()
    return float(counter.get_total_flops())


def count_stages(config: Path, shape: Shape, precision: str) -> dict[str, list[Work]]:
    """Return the parts of "condition", "step" and "decode" in the number formats of the reference."""
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
    # Only resizing comes before the tower: it has no products and no weights.
    tower = cast(Any, clip).open_clip
    encoder = conditioner.embedder("cond_frames")
    return [
        _part(lambda: [tower(image)], tower, precision, [image]),
        _part(lambda: [encoder(image)], encoder, "fp32", [image]),
    ]


def _step(model: SvdModel, config: DiffusionConfig, shape: Shape, precision: str) -> Work:
    """Count both halves of every guided step."""
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
