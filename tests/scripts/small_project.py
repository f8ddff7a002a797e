"""A small project with a copy of the setup scripts and locally built wheels, so no package index is used."""

import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
BIN = Path(sys.executable).parent
"""Folder with uv."""
PROGRAM = """
import json, os, sys
print(json.dumps({"arguments": sys.argv[1:], "folder": os.getcwd(), "prefix": sys.prefix}))
sys.exit(7)
"""


def write_wheel(folder: Path, name: str, version: str, requires: str = "") -> None:
    """Write a wheel of one module whose VERSION identifies the build."""
    folder.mkdir(parents=True, exist_ok=True)
    info = f"{name}-{version}.dist-info"
    needs = f"Requires-Dist: {requires}\n" if requires else ""
    files = {
        f"{name}.py": f"VERSION = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)


@dataclass
class Project:
    """A project folder with the real scripts, a program that reports its arguments, and its wheels."""

    folder: Path
    wheels: Path
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "PYTHON"))}
        own = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.wheels), "PIP_CONFIG_FILE": os.devnull}
        tools = {"UV_CACHE_DIR": str(self.wheels.parent / "uv"), "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
        self.environment = {**kept, **own, **tools}

    @property
    def venv(self) -> Path:
        return self.folder / ".venv"

    @property
    def python(self) -> Path:
        return self.venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")

    @property
    def packages(self) -> Path:
        return next(self.venv.glob("Lib/site-packages" if os.name == "nt" else "lib/python*/site-packages"))

    def command(self, *arguments: str, script: str = "run.py") -> list[str]:
        return [sys.executable, str(self.folder / "scripts" / script), *arguments]

    def start(
        self, *arguments: str, script: str = "run.py", cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        command = self.command(*arguments, script=script)
        return subprocess.run(
            command, cwd=cwd, env=self.environment, capture_output=True, text=True, timeout=400, check=False
        )

    def require(self, *lines: str, lock: tuple[str, ...] = (), file: str = "runtime.txt") -> None:
        (self.folder / "requirements" / file).write_text("\n".join(lines) + "\n", encoding="utf-8")
        if lock:
            (self.folder / "requirements" / "lock.txt").write_text("\n".join(lock) + "\n", encoding="utf-8")

    def version_of(self, module: str) -> str:
        command = [str(self.python), "-c", f"import {module}; print({module}.VERSION)"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def make_project(folder: Path, wheels: Path) -> Project:
    """Create a project that needs `lamp`, which needs `bulb`; the lock has older versions than the newest available."""
    shutil.copytree(SCRIPTS, folder / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "requirements").mkdir()
    (folder / "img2vid").mkdir()
    for name in ("__init__.py", "hardware.py", "windows.py"):
        shutil.copy(SCRIPTS.parent / "img2vid" / name, folder / "img2vid")
    (folder / "img2vid" / "__main__.py").write_text(PROGRAM, encoding="utf-8")
    project = Project(folder, wheels)
    project.require("lamp>=1", lock=("lamp==1.1", "bulb==1.1"))
    for name in ("watermark.txt", "dev.txt", "train.txt", "text.txt", "api.txt"):
        project.require("# nothing", file=name)
    project.require("uv", file="uv.txt")
    return project
