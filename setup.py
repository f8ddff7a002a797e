"""Adds the files that img2vid reads to the wheel, as `img2vid/project`; pyproject.toml has everything else."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

FILES = (
    "streamlit_app.py",
    ".streamlit/config.toml",
    "configs/*.yaml",
    "configs/clip/*.json",
    "checkpoints/svd_tiny*.safetensors",
    "assets/*.jpg",
    "requirements/runtime.txt",
    "requirements/text.txt",
    "requirements/api.txt",
)
PERSONAL = "versions.local.yaml"


class BuildWithFiles(build_py):
    """Builds the package with its files; an editable installation reads them in the checkout."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        here = Path(__file__).parent
        for source in (path for pattern in FILES for path in here.glob(pattern) if path.name != PERSONAL):
            target = Path(self.build_lib) / "img2vid" / "project" / source.relative_to(here)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)


setup(cmdclass={"build_py": BuildWithFiles})
