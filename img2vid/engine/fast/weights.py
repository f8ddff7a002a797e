"""Typed access to layers of loosely typed modules, and parameters without gradients."""

from collections.abc import Iterable
from typing import TypeVar

from torch import Tensor, nn

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
