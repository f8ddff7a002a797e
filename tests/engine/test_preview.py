"""Previews: a linear map fitted to an image and its latents."""

import numpy as np
import pytest
import torch
from torch import Tensor

from img2vid.engine.preview import LatentPreview

MAP = torch.tensor([[0.3, -0.1, 0.0], [0.0, 0.2, 0.1], [-0.1, 0.0, 0.2], [0.05, 0.05, -0.2], [0.1, -0.2, 0.3]])
"""Map from four latent channels and a constant to RGB."""


def colors(latents: Tensor) -> Tensor:
    """(t, 4, h, w) -> (t, 3, h, w)."""
    return torch.einsum("tzhw,zc->tchw", latents, MAP[:4]) + MAP[4][None, :, None, None]


def enlarged(picture: Tensor) -> Tensor:
    return picture.repeat_interleave(8, dim=2).repeat_interleave(8, dim=3)


def test_a_linear_map_is_recovered_and_holds_for_other_latents() -> None:
    latents = torch.randn(1, 4, 8, 12)
    preview = LatentPreview.fit(enlarged(colors(latents)), latents)
    torch.testing.assert_close(preview.matrix, MAP, atol=2e-3, rtol=0)
    others = torch.randn(5, 4, 4, 6)
    shown = preview(others)
    assert (shown.shape, shown.dtype) == ((5, 4, 6, 3), np.uint8)
    expected = ((colors(others).clamp(-1, 1) + 1) * 127.5).permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(shown, expected, atol=1.5)


@pytest.mark.parametrize("brightness", [-1.0, 0.0, 0.6, 1.0])
def test_a_plain_picture_with_plain_latents_shows_its_color(brightness: float) -> None:
    """Least squares alone has no unique answer here."""
    latents = torch.full((1, 4, 8, 8), 0.7)
    preview = LatentPreview.fit(torch.full((1, 3, 64, 64), brightness), latents)
    np.testing.assert_allclose(preview(latents), (brightness + 1) * 127.5, atol=1.5)
    assert preview.matrix.abs().max() <= 1


def test_colors_out_of_range_are_cut_off_and_not_wrapped_around() -> None:
    preview = LatentPreview(torch.tensor([[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]]))
    shown = preview(torch.tensor([-5.0, 5.0])[:, None, None, None])
    assert shown[:, 0, 0, 0].tolist() == [0, 255]


def test_half_precision_latents_will_do() -> None:
    latents = torch.randn(1, 4, 8, 8)
    preview = LatentPreview.fit(enlarged(colors(latents)), latents)
    np.testing.assert_allclose(preview(latents.half()).astype(int), preview(latents).astype(int), atol=1)
