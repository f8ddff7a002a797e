"""SV3D in a browser: the camera path follows the controls, and frames and poses are downloaded."""

import io
import json
import re
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from dashboard import Dashboard, until
from PIL import Image
from playwright.sync_api import Browser, expect
from sv3d_model import object_picture, small_rows
from visitor import Visit, Visitor

from img2vid import paths
from img2vid.media.videos import read_frames
from img2vid.orbit import dynamic

PICTURE = "[data-testid=stVegaLiteChart]"


@pytest.fixture(scope="module")
def dashboard(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    """Server whose versions are sv3d_u and sv3d_p with small networks."""
    configs = shutil.copytree(paths.CONFIGS, tmp_path_factory.mktemp("configs"), dirs_exist_ok=True)
    (configs / "versions.yaml").write_text(small_rows(), encoding="utf-8")
    home, checkpoints = (tmp_path_factory.mktemp(name) for name in ("outputs", "checkpoints"))
    dashboard = Dashboard(home, checkpoints, configs=configs)
    try:
        dashboard.start()
        yield dashboard
    finally:
        dashboard.stop()


def drawn(visitor: Visitor) -> bytes:
    """Return the pixels of the picture of the path."""
    return visitor.page.locator(PICTURE).screenshot()


def test_views_along_a_chosen_path_are_made_and_downloaded(dashboard: Dashboard, visit: Visit, tmp_path: Path) -> None:
    visitor = visit()
    visitor.choose("Model Version", "sv3d_p")
    visitor.wait_for("Camera path: 6 views at 5\u00b0.")
    expect(visitor.page.locator(PICTURE)).to_be_visible()
    level = drawn(visitor)

    visitor.set({"elev_deg": 30})
    visitor.wait_for("Camera path: 6 views at 30\u00b0.")
    until(lambda: drawn(visitor) != level, "a path at another elevation")
    higher = drawn(visitor)
    visitor.choose("Trajectory", "dynamic")
    visitor.wait_for(re.compile(r"Camera path: 6 views from -?\d+\u00b0 to \d+\u00b0\."))
    until(lambda: drawn(visitor) != higher, "a path that moves up and down")

    packed = io.BytesIO()
    object_picture().save(packed, format="PNG")
    visitor.drop(name="disk.png", data=packed.getvalue(), kind="image/png")
    visitor.wait_for("The object's outline is the picture's transparency.")
    visitor.picture("sv3d")
    visitor.press("Sample")
    visitor.wait_for_result(23)
    (job,) = dashboard.store().jobs()
    assert (job.settings.trajectory, job.settings.elevation) == ("dynamic", 30)

    path = dynamic(6, 30, 23)
    with zipfile.ZipFile(visitor.download("PNG").path()) as archive:
        poses = json.loads(archive.read("transforms.json"))
        frames = [np.asarray(Image.open(archive.open(row["file_path"]))) for row in poses["frames"]]
    assert np.array_equal(frames, read_frames(job.results[0].video))
    assert [row["elevation"] for row in poses["frames"]] == pytest.approx(path.elevations)
    assert np.allclose([row["transform_matrix"] for row in poses["frames"]], path.poses())
