"""Noise coupled to a guide is still noise, and determines how a clip moves."""

import torch
from training.noise_motion import GUIDES, noise_directions, tie


def draw(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_tied_noise_carries_its_guide() -> None:
    noise, guide = draw(0, 14, 8, 24, 40), draw(1, GUIDES, 24, 40)
    tied = tie(noise, guide)
    torch.testing.assert_close(tied[:, -GUIDES:].mean(dim=0) * 14**0.5, guide)
    assert torch.equal(tied[:, :-GUIDES], noise[:, :-GUIDES])


def test_tied_noise_is_normal_and_independent_from_frame_to_frame() -> None:
    tied = torch.stack([tie(draw(2 * n, 5, 3, 16, 16), draw(2 * n + 1, GUIDES, 16, 16)) for n in range(40)])
    carried = tied[:, :, -GUIDES:]
    assert abs(float(carried.mean())) < 0.02
    covariance = torch.cov(carried.transpose(0, 1).flatten(1))
    torch.testing.assert_close(covariance, torch.eye(5), atol=0.04, rtol=0)


def test_directions_are_about_1_long() -> None:
    lengths = []
    for seed in range(10):
        field = noise_directions(draw(seed, GUIDES, 24, 40))
        assert field.shape == (2, 6, 10)
        lengths.append(field.norm(dim=0).mean())
    assert 0.7 < float(torch.stack(lengths).mean()) <= 1


def test_directions_follow_the_mean_of_the_noise_around() -> None:
    guide = torch.zeros(GUIDES, 24, 40)
    guide[0, :, :20], guide[1, :, 20:] = 3.0, -3.0
    field = noise_directions(guide)
    torch.testing.assert_close(field[:, 3, 1], torch.tensor([1.0, 0.0]), atol=0.05, rtol=0)
    torch.testing.assert_close(field[:, 3, 8], torch.tensor([0.0, -1.0]), atol=0.05, rtol=0)
