"""Who may import whom, how large a file may grow, and that importing does nothing else."""

import ast
import os
import subprocess
import sys
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

from img2vid.paths import PROJECT

PACKAGE = sorted((PROJECT / "img2vid").rglob("*.py"))
PAGE = [path for path in [PROJECT / "streamlit_app.py"] if path.is_file()]
SCRIPTS = sorted((PROJECT / "scripts").rglob("*.py"))
MODULES = sorted(
    ".".join(path.relative_to(PROJECT).with_suffix("").parts).removesuffix(".__init__")
    for path in PACKAGE
    if path.name != "__main__.py"
)

ONLY_IN = {
    "torch": ("img2vid/engine/*",),
    "torchvision": ("img2vid/engine/*",),
    "open_clip": ("img2vid/engine/*",),
    "safetensors": ("img2vid/engine/*",),
    "sgm": ("img2vid/engine/*",),
    "streamlit": ("img2vid/ui/*", "streamlit_app.py"),
    "sqlite3": ("img2vid/jobs/database.py",),
}
OF_CHECKPOINTS = [path.stem for path in PACKAGE if path.parent.name == "checkpoints"]
NEVER = {
    "img2vid/ui/*": ("img2vid.engine",),
    "streamlit_app.py": ("img2vid.engine",),
    "img2vid/media/*": (
        "img2vid.engine",
        "img2vid.settings",
        "img2vid.versions",
        "img2vid.inference",
        "img2vid.pipeline",
        "img2vid.ui",
        "img2vid.jobs",
    ),
    "img2vid/engine/*": (
        "img2vid.media",
        "img2vid.settings",
        "img2vid.versions",
        "img2vid.inference",
        "img2vid.pipeline",
        "img2vid.cli.main",
        "img2vid.ui",
        "img2vid.jobs",
        # The header of a checkpoint is read in one place; the rest of that room is not the engine's business.
        *(f"img2vid.checkpoints.{name}" for name in OF_CHECKPOINTS if name not in ("__init__", "header")),
    ),
    "img2vid/checkpoints/*": (
        "img2vid.engine",
        "img2vid.inference",
        "img2vid.pipeline",
        "img2vid.cli.main",
        "img2vid.ui",
    ),
}
LONGEST_FILE = 400
LONGEST_FUNCTION = 60


def place(path: Path) -> str:
    return path.relative_to(PROJECT).as_posix()


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


@cache
def imported(path: Path) -> list[str]:
    """Return the dotted names imported anywhere in a file; `from a import b` counts as `a` and as `a.b`."""
    names: list[str] = []
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None and node.level == 0, f"{place(path)}:{node.lineno} imports relatively"
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return names


def belongs_to(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def test_the_rules_see_the_files_they_are_about() -> None:
    """A rule about a folder that was renamed holds for ever."""
    places = [place(path) for path in PACKAGE]
    assert {"img2vid/engine/nets/unet.py", "img2vid/media/videos.py", "img2vid/cli/main.py"} <= set(places)
    found = {name.split(".")[0] for path in PACKAGE if "engine" in path.parts for name in imported(path)}
    assert {"torch", "open_clip", "safetensors"} <= found


def test_a_package_is_imported_only_in_its_room() -> None:
    wrong = [
        f"{place(path)} imports {name}"
        for path in [*PACKAGE, *PAGE]
        for name in imported(path)
        for package, rooms in ONLY_IN.items()
        if belongs_to(name, package) and not any(fnmatch(place(path), room) for room in rooms)
    ]
    assert not wrong, "\n".join(wrong)


def test_a_room_keeps_out_of_the_rooms_it_must_not_know() -> None:
    wrong = [
        f"{place(path)} imports {name}"
        for path in [*PACKAGE, *PAGE]
        for pattern, packages in NEVER.items()
        if fnmatch(place(path), pattern)
        for name in imported(path)
        if any(belongs_to(name, package) for package in packages)
    ]
    assert not wrong, "\n".join(wrong)


def test_a_file_stays_readable_in_one_sitting() -> None:
    wrong: list[str] = []
    for path in [*PACKAGE, *PAGE, *SCRIPTS]:
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) >= LONGEST_FILE:
            wrong.append(f"{place(path)} has {lines} lines")
        if path.stem in {"utils", "util", "helpers", "common", "misc"}:
            wrong.append(f"{place(path)} has a name that says nothing")
        for node in ast.walk(tree(path)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines >= LONGEST_FUNCTION:
                    wrong.append(f"{node.name} in {place(path)} has {lines} lines")
    assert not wrong, "\n".join(wrong)


def python(program: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs a program in a new interpreter with `folder` as its working folder."""
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", program]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


LIGHT = (
    "img2vid.cli.main",
    "img2vid.checkpoints.tasks",
    "img2vid.inference",
    "img2vid.pipeline",
    "img2vid.settings",
    "img2vid.versions",
    "img2vid.media.videos",
)


def test_planning_a_run_does_not_load_torch(tmp_path: Path) -> None:
    program = f"import sys, {', '.join(LIGHT)}\nprint([name for name in {[*ONLY_IN]!r} if name in sys.modules])"
    done = python(program, tmp_path)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


IMPORT_ALL = """
import importlib, sys
for name in {modules!r}:
    importlib.import_module(name)
assert not sys.modules["torch"].cuda.is_initialized()
"""


def test_importing_every_module_leaves_no_trace(tmp_path: Path) -> None:
    done = python(IMPORT_ALL.format(modules=MODULES), tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []
