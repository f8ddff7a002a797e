"""Picture of a camera path: the views around the object on a sphere, seen from above and aside."""

from contextlib import suppress
from typing import Any, cast

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from img2vid.errors import BadInput
from img2vid.orbit import Orbit, level
from img2vid.ui.state import PageState, report_drawing_errors

SEEN_FROM = (30, -20)
"""Elevation and azimuth in degrees from which the reference demo draws the path."""
SIZE, LIMIT = 300, 1.15
"""Pixels of each side, and half of the side in radii of the sphere."""
Rows = list[dict[str, float | str]]


def camera_path(page: PageState) -> None:
    """Draw the path of the tab's controls, if the model moves a camera around an object."""
    if page.version.orbit is None:
        return
    with report_drawing_errors("The camera path"), suppress(BadInput):  # the fields and Sample say what is wrong
        path = page.version.camera_path(page.settings())
        assert path is not None
        cast(Any, st).altair_chart(chart(path), width="content", key="camera_path")
        low, high = (f"{limit(path.elevations):.0f}\u00b0" for limit in (min, max))
        between = f"at {low}" if low == high else f"from {low} to {high}"
        st.caption(f"Camera path: {len(path.azimuths)} views {between}. The last one, ringed, is the input's.")


def chart(path: Orbit) -> Any:
    """Return an Altair chart of a path; a tooltip shows the angles of each view."""
    import altair  # slow to import

    alt = cast(Any, altair)
    scale = alt.Scale(domain=[-LIMIT, LIMIT])
    x, y = (alt.X("x:Q", scale=scale, axis=None), alt.Y("y:Q", scale=scale, axis=None))

    def base(rows: Rows) -> Any:
        return alt.Chart(alt.Data(values=rows)).encode(x, y)

    views = points(path)
    tips = [
        alt.Tooltip("view:O"),
        alt.Tooltip("elevation:Q", format=".1f"),
        alt.Tooltip("azimuth:Q", format=".1f"),
    ]
    order = alt.Order("view:Q")
    color = alt.Color("view:Q", scale=alt.Scale(scheme="viridis"), legend=None)
    near = alt.Size("near:Q", scale=alt.Scale(domain=[-1, 1], range=[25, 160]), legend=None)
    horizon = base(points(level(72, 0))).mark_line(strokeDash=[3, 3], opacity=0.5).encode(order=order)
    center = base([{"x": 0.0, "y": 0.0}]).mark_point(shape="diamond", filled=True, size=90, opacity=0.6)
    line = base(views).mark_line(opacity=0.6).encode(order=order)
    dots = base(views).mark_circle(opacity=1).encode(color, near, order=order, tooltip=tips)
    ring = base(views[-1:]).mark_point(size=320, strokeWidth=2)
    return alt.layer(horizon, center, line, dots, ring).properties(width=SIZE, height=SIZE)


def points(path: Orbit) -> Rows:
    """Return a row per view: its number, angles, position in the picture, and nearness from -1 to 1."""
    rows = zip(_seen(path.positions()), path.elevations, path.azimuths, strict=True)
    return [
        {"view": view, "x": float(x), "y": float(y), "near": float(near), "elevation": elevation, "azimuth": azimuth}
        for view, ((x, y, near), elevation, azimuth) in enumerate(rows, 1)
    ]


def _seen(positions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Project positions (n, 3) to the right, up and near axes of the viewer."""
    (viewer,) = Orbit(SEEN_FROM[:1], SEEN_FROM[1:]).poses()
    return positions @ viewer[:3, :3]
