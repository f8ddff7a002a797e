"""Typed access to layers of loosely typed modules, and parameters without gradients."""

from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor, nn

from img2vid.engine.weights.packed import is_packed, scale_of, unpack

Layer = TypeVar("Layer", bound=nn.Module)


def expect(kind: type[Layer], module: object) -> Layer:
    """Return the module typed as `kind`; any other type is a bug."""
    assert isinstance(module, kind), f"expected {kind.__name__}, got {type(module).__name__}"
    return module


def frozen(tensor: Tensor) -> nn.Parameter:
    """Return the tensor as a parameter without gradient."""
    return nn.Parameter(tensor, requires_grad=False)


def bias_of(layer: nn.Conv2d | nn.Conv3d | nn.Linear) -> Tensor:
    """Return the bias, which all layers of these models have except queries, keys and values."""
    assert layer.bias is not None
    return layer.bias


def weights_of(modules: Iterable[nn.Module]) -> list[Tensor]:
    """Return each tensor that the modules store once, without non-persistent buffers."""
    found = {id(tensor): tensor for module in modules for tensor in module.state_dict(keep_vars=True).values()}
    return list(found.values())


class PackedWeight(nn.Module):
    """Weight of one byte per value with its scale. finish: function that makes the layer's weight of the product."""

    scale: Tensor

    def __init__(self, values: Tensor, scale: Tensor, finish: Callable[[Tensor], Tensor] | None) -> None:
        super().__init__()
        self.values, self.finish = frozen(values), finish
        self.register_buffer("scale", scale)

    def forward(self, dtype: torch.dtype) -> Tensor:
        """Return the weight in a number format."""
        weight = unpack(self.values, self.scale, dtype)
        return weight if self.finish is None else self.finish(weight)


def hold(
    layer: nn.Module,
    name: str,
    parts: Sequence[Tensor],
    like: Tensor,
    arrange: Callable[[Tensor], Tensor] = lambda weight: weight,
    factor: Tensor | None = None,
    finish: Callable[[Tensor], Tensor] | None = None,
) -> None:
    """Set `layer.name` to a weight: parts joined along the first axis, arranged, times a factor, then finished.

    Packed parts of one format stay packed; the attribute is set only inside of `unpacked`, and factor is part of the
    scale. like: a tensor in the number format of the computation. arrange: a change of the memory layout only.
    """
    layer._parameters.pop(name, None)  # pyright: ignore[reportPrivateUsage] - no public API
    if all(is_packed(part) for part in parts) and len({part.dtype for part in parts}) == 1:
        raw = [part.data.view(torch.uint8) for part in parts]
        values = arrange(raw[0] if len(raw) == 1 else torch.cat(raw)).view(parts[0].dtype)
        scales = [scale_of(part) for part in parts]
        scale = scales[0]
        if len(scales) > 1:
            ones = (1,) * (values.ndim - 1)
            scale = torch.cat([one.expand(len(part), *ones) for one, part in zip(scales, parts, strict=True)])
        if scale.ndim:
            scale = scale.reshape(-1, *(1,) * (values.ndim - 1))
        scale = scale if factor is None else scale * factor.float()
        packed: nn.ModuleDict = getattr(layer, "packed", None) or nn.ModuleDict()
        packed[name] = PackedWeight(values, scale.to(values.device), finish)
        layer.packed = packed
        setattr(layer, name, None)
        return
    plain = [unpack(part, scale_of(part), like.dtype) if is_packed(part) else part for part in parts]
    weight = arrange(plain[0] if len(plain) == 1 else torch.cat(plain))
    weight = weight if factor is None else weight * factor.to(weight.dtype)
    setattr(layer, name, frozen(weight if finish is None else finish(weight)))


def hold_linears(module: nn.Module) -> None:
    """Keep packed weights of plain linear layers packed."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear) and is_packed(layer.weight):
            hold(layer, "weight", [layer.weight], layer.weight)


@contextmanager
def unpacked(modules: Iterable[nn.Module], dtype: torch.dtype) -> Generator[None, None, None]:
    """Set the packed weights of these modules, without those of their children, to usable ones inside the block."""
    held = [(one, name, weight) for one in modules for name, weight in getattr(one, "packed", nn.ModuleDict()).items()]
    try:
        for layer, name, weight in held:
            setattr(layer, name, weight(dtype))
        yield
    finally:
        for layer, name, _ in held:
            setattr(layer, name, None)
