"""SV3D on the Sample and Compare pages: its controls, the picture of the camera path, and the object."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from driving import Open, caption, drop_bytes, labels, said, selectbox
from streamlit.testing.v1 import AppTest
from sv3d_model import object_picture, small_rows

from img2vid.orbit import Orbit, dynamic, level
from img2vid.ui.sample.camera_path import LIMIT, points

ORBIT = ["elev_deg", "Trajectory", "elevations", "azimuths"]


@pytest.fixture(autouse=True)
def versions(configs: Callable[..., Path]) -> None:
    from img2vid import paths

    shipped = (paths.CONFIGS / "versions.yaml").read_text(encoding="utf-8").partition("\nsvd:\n")[0]
    configs(shipped + "\n" + small_rows())


def opened(open_page: Open, version: str) -> AppTest:
    page = open_page().selectbox(key="version").set_value(version).run()
    assert not page.exception
    assert not page.error, said(page.error)
    return page


def views(page: AppTest) -> list[dict[str, Any]]:
    """Return the rows of the chart's largest data set: the views with their angles."""
    (chart,) = page.get("vega_lite_chart")
    spec = json.loads(chart.proto.spec)
    layers = [layer["data"]["values"] for layer in spec["layer"] if "data" in layer]
    return max((rows for rows in layers if "azimuth" in rows[0] and len(rows) != 72), key=len)


def test_the_controls_are_those_that_the_model_uses(open_page: Open) -> None:
    shown = labels(opened(open_page, "sv3d_p").main)
    assert [label for label in shown if label in ORBIT] == ORBIT
    assert not {"fps", "motion bucket id"} & {*shown}
    assert [label for label in labels(opened(open_page, "sv3d_u").main) if label in ORBIT] == ["elev_deg"]
    assert not {*labels(opened(open_page, "svd_tiny").main)} & {*ORBIT}


def test_the_picture_of_the_path_follows_the_controls(open_page: Open) -> None:
    page = opened(open_page, "sv3d_p")
    assert [row["azimuth"] for row in views(page)] == pytest.approx(level(6, 5).azimuths)
    page.number_input(key="elevation").set_value(30.0).run()
    assert {row["elevation"] for row in views(page)} == {30}
    assert "6 views at 30\u00b0" in caption(page)
    page.selectbox(key="trajectory").set_value("dynamic").run()
    assert [row["elevation"] for row in views(page)] == pytest.approx(dynamic(6, 30, 23).elevations)
    page.text_input(key="elevations").set_value("0, 10, 20, 10, 0, -10").run()
    assert [row["elevation"] for row in views(page)] == [0, 10, 20, 10, 0, -10]
    page.text_input(key="elevations").set_value("0 10").run()
    assert page.button(key="sample").disabled
    assert "Elevations must have one number for each of 6 views, got 2." in caption(page)


def test_a_path_means_nothing_to_a_model_of_scenes(open_page: Open) -> None:
    page = opened(open_page, "sv3d_p")
    page.number_input(key="elevation").set_value(30.0).run()
    selectbox(page, "Model Version").set_value("svd_tiny").run()
    assert "no effect" not in caption(page)
    assert not page.get("vega_lite_chart")


def test_the_object_is_shown_and_can_be_switched_off(open_page: Open) -> None:
    packed = io.BytesIO()
    object_picture().save(packed, format="PNG")
    page = drop_bytes(opened(open_page, "sv3d_p"), packed.getvalue(), "disk.png")
    assert page.selectbox(key="fitting").value == "object"
    assert "The object's outline is the picture's transparency." in caption(page)
    page.number_input(key="object_share").set_value(0.5).run()
    page.selectbox(key="fitting").set_value("fit").run()
    assert "outline" not in caption(page)
    assert "object share" not in labels(page.main)


def test_views_are_drawn_on_a_sphere() -> None:
    path = Orbit((0, 90, -45), (0, 120, 360))
    rows = points(path)
    assert [row["view"] for row in rows] == [1, 2, 3]
    for row in rows:
        x, y, near = (float(row[name]) for name in ("x", "y", "near"))
        assert x**2 + y**2 + near**2 == pytest.approx(1)
        assert max(abs(x), abs(y)) < LIMIT
    assert rows[1]["y"] == pytest.approx(3**0.5 / 2)  # the pole, seen from 30 degrees
