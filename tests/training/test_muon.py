"""Muon updates: orthogonal, independent of the gradient's scale, and decreasing the loss."""

import pytest
import torch
from torch import nn
from training.muon import UPDATE_SIZE, Muon, orthogonal


@pytest.mark.parametrize("shape", [(3, 4, 9), (2, 9, 4), (1, 6, 6)])
def test_singular_values_come_near_1(shape: tuple[int, int, int]) -> None:
    matrices = torch.randn(*shape, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonal(matrices))
    assert bool(((values > 0.5) & (values < 1.3)).all())


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_the_size_of_an_update_does_not_depend_on_the_gradient(scale: float) -> None:
    weight = nn.Parameter(torch.zeros(8, 4, 3, 3))
    weight.grad = scale * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1))
    Muon([weight], lr=0.01).step()
    rms = float(weight.detach().square().mean().sqrt())
    # the updates of an 8 x 36 matrix with singular values of 1 have a root mean square of 36 ** -0.5 before scaling
    assert rms == pytest.approx(0.01 * UPDATE_SIZE, rel=0.3)


def test_it_finds_the_least_squares() -> None:
    generator = torch.Generator().manual_seed(2)
    target = torch.randn(4, 6, generator=generator)
    weight, untouched = nn.Parameter(torch.zeros(4, 6)), nn.Parameter(torch.ones(3, 3))
    optimizer = Muon([weight, untouched], lr=0.1)
    for step in range(300):
        optimizer.param_groups[0]["lr"] = 0.1 * (1 - step / 300)
        x = torch.randn(6, 32, generator=generator)
        weight.grad = None
        ((weight - target) @ x).square().mean().backward()
        optimizer.step()
    torch.testing.assert_close(weight.detach(), target, atol=0.05, rtol=0)
    assert torch.equal(untouched.detach(), torch.ones(3, 3))
