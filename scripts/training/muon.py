"""Optimizer of the network's inner weights."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Coefficients of the odd polynomial that moves singular values towards 1."""
ROUNDS = 5
UPDATE_SIZE = 0.2
"""Root mean square of an update at rate 1, similar to Adam's."""


class Muon(torch.optim.Optimizer):
    """Momentum orthogonalized for every weight matrix (Jordan et al. 2024; scaled as in Liu et al. 2025).

    Convolutions are treated as matrices of outputs by everything else; torch's own supports only plain matrices.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float, momentum: float = 0.95) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update the weights that have gradients."""
        for group in self.param_groups:
            alike: dict[tuple[int, int], list[tuple[Tensor, Tensor]]] = {}
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                average = self.state[weight].setdefault("average", torch.zeros_like(weight))
                average.lerp_(weight.grad, 1 - group["momentum"])
                ahead = weight.grad.lerp(average, group["momentum"])  # Nesterov momentum
                alike.setdefault((len(weight), weight[0].numel()), []).append((weight, ahead))
            for shape, pairs in alike.items():
                updates = orthogonal(torch.stack([ahead.reshape(shape) for _, ahead in pairs]))
                for (weight, _), update in zip(pairs, updates, strict=True):
                    weight.add_(update.view_as(weight), alpha=-group["lr"] * UPDATE_SIZE * max(shape) ** 0.5)


def orthogonal(matrices: Tensor) -> Tensor:
    """Return approximately the nearest matrices (n, r, c) whose singular values are all 1."""
    x = matrices / matrices.norm(dim=(-2, -1), keepdim=True).clamp_min(1e-7)
    tall = x.shape[-2] > x.shape[-1]
    x = x.mT if tall else x
    a, b, c = COEFFICIENTS
    for _ in range(ROUNDS):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    return x.mT if tall else x
