"""Importing the pages imports neither torch nor the cluster packages, which would delay the first paint."""

import os
import subprocess
import sys
from pathlib import Path

from img2vid.paths import PROJECT

HEAVY = (
    "torch",
    "huggingface_hub",
    "torchvision",
    "open_clip",
    "safetensors",
    "distributed",
    "dask",
    "pandas",
    "matplotlib",
    "cv2",
    "altair",
)
PROGRAM = f"""
import sys
import img2vid.ui.sample.page, img2vid.ui.compare.page, img2vid.ui.gallery.page, img2vid.ui.models.page
import img2vid.ui.sweeps.page, img2vid.ui.system.page, img2vid.jobs.service
print([name for name in {HEAVY!r} if name in sys.modules])
"""


def test_importing_the_page_imports_no_torch_and_says_and_writes_nothing(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "PYTHONDONTWRITEBYTECODE": "1"}
    environment["IMG2VID_HOME"] = str(tmp_path / "home")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
    assert list(tmp_path.iterdir()) == []
