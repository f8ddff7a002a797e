"""Row tiles: a large frame is processed a few rows at a time to keep intermediate results small."""

from torch import Tensor
from torch.nn import functional as F

from img2vid.engine.fast.convolutions import Conv
from img2vid.engine.fast.norms import Moments, Norm
from img2vid.engine.fast.tile_plan import TilePlan


def rows_of(x: Tensor, budget: TilePlan) -> list[slice]:
    """Return the row tiles of a frame (1, h, w, c)."""
    return budget.spans(x.shape[1], x[0, 0].numel() * x.element_size())


def norm_silu_conv(
    x: Tensor, norm: Norm, conv: Conv, out: Tensor, budget: TilePlan, *, bias: Tensor | None = None, add: bool = False
) -> None:
    """Normalize a frame (1, h, w, c), apply SiLU and a 3 x 3 convolution, and write the result to `out` (1, h, w, m).

    bias: (m,) or (1, m), replaces the convolution's own. add: add to `out` instead of overwriting it.
    """
    height, tiles = x.shape[1], rows_of(x, budget)
    moments = Moments.joined(budget.each(lambda rows: Moments.of(x[:, rows]), tiles))
    coefficients = norm.coefficients(moments)

    def work(rows: slice) -> None:
        above, below = max(rows.start - 1, 0), min(rows.stop + 1, height)
        part = norm.silu_with(x[:, above:below], coefficients)
        missing = (above - (rows.start - 1), rows.stop + 1 - below)
        if any(missing):  # the convolution pads the frame's edges with zeros
            part = F.pad(part, (0, 0, 0, 0, *missing))
        y = conv.row_tile(part, bias)
        if add:
            out[:, rows] += y
        else:
            out[:, rows] = y

    budget.each(work, tiles)
