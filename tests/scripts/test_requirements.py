"""Requirement files: each package has one matching locked version, on each supported Python and system."""

import itertools
import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from img2vid import NEWEST, OLDEST, SUPPORTED

FOLDER = Path(__file__).resolve().parents[2] / "requirements"
MACHINES = {
    "linux": {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix", "platform_machine": "x86_64"},
    "macos": {"sys_platform": "darwin", "platform_system": "Darwin", "os_name": "posix", "platform_machine": "arm64"},
    "windows": {"sys_platform": "win32", "platform_system": "Windows", "os_name": "nt", "platform_machine": "AMD64"},
}
PYTHONS = [f"3.{minor}" for minor in range(OLDEST[1], NEWEST[1] + 1)]


def read(name: str) -> list[Requirement]:
    lines = (FOLDER / name).read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


@pytest.mark.parametrize(("machine", "python"), list(itertools.product(MACHINES, PYTHONS)))
def test_the_lock_holds_one_fitting_version_of_each_requirement(machine: str, python: str):
    here = {**MACHINES[machine], "python_version": python, "python_full_version": f"{python}.5"}
    pins: dict[str, list[str]] = {}
    for pin in read("lock.txt"):
        if pin.marker is None or pin.marker.evaluate(here):
            (only,) = pin.specifier
            assert only.operator == "=="
            pins.setdefault(canonicalize_name(pin.name), []).append(only.version)
    for name in ("runtime.txt", "watermark.txt", "dev.txt", "train.txt", "text.txt", "api.txt"):
        for wanted in read(name):
            (version,) = pins[canonicalize_name(wanted.name)]
            assert wanted.specifier.contains(version), f"{wanted} is not met by the locked {version}"


def test_the_lock_names_no_special_build_and_no_place():
    text = (FOLDER / "lock.txt").read_text(encoding="utf-8")
    assert "opencv-python==" not in text
    assert not re.search(r"\+[a-z]|://|--\w*index|--find-links|file:", text)


def test_every_place_names_the_supported_pythons():
    oldest, newest = (".".join(map(str, version)) for version in (OLDEST, NEWEST))
    project = FOLDER.parent
    places = {
        "pyproject.toml": (f'requires-python = ">={oldest}"', f'pythonVersion = "{oldest}"'),
        ".github/workflows/tests.yml": (f'python: ["{oldest}", "{newest}"]',),
        "README.md": (f"Python {SUPPORTED}.",),
        "docs/doctor.md": (f"version {SUPPORTED}, 64-bit",),
        "docs/windows.md": (f"Python {SUPPORTED}, 64-bit",),
    }
    for name, texts in places.items():
        text = (project / name).read_text(encoding="utf-8")
        assert all(words in text for words in texts), name
