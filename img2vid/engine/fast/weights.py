"""Taking layers out of modules that are typed loosely, and keeping tensors in modules that are never trained."""

from collections.abc import Iterable
from typing import TypeVar

from torch import Tensor, nn

Layer = TypeVar("Layer", bound=nn.Module)


def expect(kind: type[Layer], module: object) -> Layer:
    """The same module, known to be of a kind; anything else is a fault in this program."""
    assert isinstance(module, kind), f"expected {kind.__name__}, got {type(module).__name__}"
    return module


def frozen(tensor: Tensor) -> nn.Parameter:
    """A tensor as part of a module that is never trained."""
    return nn.Parameter(tensor, requires_grad=False)


def bias_of(layer: nn.Conv2d | nn.Conv3d | nn.Linear) -> Tensor:
    """The bias, which all layers of the family have but queries, keys and values."""
    assert layer.bias is not None
    return layer.bias


def weights_of(modules: Iterable[nn.Module]) -> list[Tensor]:
    """All that the modules store, each tensor once; buffers that no checkpoint holds are not among them."""
    found = {id(tensor): tensor for module in modules for tensor in module.state_dict(keep_vars=True).values()}
    return list(found.values())
