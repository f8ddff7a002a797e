"""Import rules between packages, maximum file size, and imports without side effects."""

import ast
import os
import re
import subprocess
import sys
from collections import Counter
from fnmatch import fnmatch
from functools import cache
from graphlib import CycleError, TopologicalSorter
from importlib.util import find_spec
from pathlib import Path

import pytest

from img2vid.paths import PROJECT

PACKAGE = sorted((PROJECT / "img2vid").rglob("*.py"))
PAGE = [path for path in [PROJECT / "streamlit_app.py"] if path.is_file()]
SCRIPTS = sorted((PROJECT / "scripts").rglob("*.py"))
MODULES = sorted(
    ".".join(path.relative_to(PROJECT).with_suffix("").parts).removesuffix(".__init__")
    for path in PACKAGE
    if path.name != "__main__.py" and (path.name != "triton_kernels.py" or find_spec("triton"))  # Linux only
)

LAYERS = (
    ("control", "errors", "file_lock", "files", "hardware", "orbit", "progress", "windows"),
    ("background", "documents", "options", "paths", "settings"),
    ("settings_validation",),
    ("remedies", "versions"),
    ("checkpoints", "media", "presets"),
    ("engine",),
    ("comfyui", "inference"),
    ("bench", "doctor", "pipeline", "text_to_image"),
    ("jobs",),
    ("gallery",),
    ("web",),
    ("ui",),
    ("cli",),
)
"""Packages and top-level modules of img2vid, lowest layer first. Each imports only from lower layers."""
LEVELS = {name: level for level, names in enumerate(LAYERS) for name in names}
APART = {
    "engine": ("media", "settings", "versions"),
    "media": ("paths", "settings", "versions"),
    "ui": ("engine", "pipeline", "bench"),
}
"""Lower packages that a package must not import."""
ONLY_IN = {
    "torch": ("img2vid/engine/*",),
    "torchvision": ("img2vid/engine/*",),
    "open_clip": ("img2vid/engine/*",),
    "einops": ("img2vid/engine/nets/*",),
    "safetensors": ("img2vid/engine/*",),
    "sgm": ("img2vid/engine/*",),
    "diffusers": ("img2vid/engine/*",),
    "transformers": ("img2vid/engine/*",),
    "fastapi": ("img2vid/web/*",),
    "streamlit": ("img2vid/ui/*", "streamlit_app.py"),
    "sqlite3": ("img2vid/jobs/database.py",),
}
MOST_MODULES = 20
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


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(PROJECT).with_suffix("").parts).removesuffix(".__init__")


def belongs_to(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def test_the_rules_see_the_files_they_are_about() -> None:
    """A rule about a renamed folder would never fail."""
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


def package_of(name: str) -> str:
    """Return the package or top-level module of a dotted name, "" for img2vid itself and foreign names."""
    parts = name.split(".")
    return parts[1] if parts[0] == "img2vid" and len(parts) > 1 and parts[1] in LEVELS else ""


def test_every_package_has_a_layer() -> None:
    names = {name.split(".")[1] for name in MODULES if "." in name}
    assert names == LEVELS.keys()


def test_imports_point_downward() -> None:
    """Imports inside functions and for type checking count too."""
    wrong = [
        f"{place(path)} imports {name}"
        for path in PACKAGE
        if (own := package_of(module_of(path)))
        for name in imported(path)
        if (other := package_of(name)) and other != own
        if LEVELS[other] >= LEVELS[own] or other in APART.get(own, ())
    ]
    assert not wrong, "\n".join(wrong)


def drawn() -> tuple[dict[str, tuple[str, ...]], list[tuple[str, str]]]:
    """Return the nodes of the diagram in docs/architecture.md, with the packages each stands for, and its arrows."""
    text = (PROJECT / "docs" / "architecture.md").read_text(encoding="utf-8")
    diagram = text.partition("flowchart TD")[2].partition("```")[0]
    labels = {node: tuple(label.split(", ")) for node, label in re.findall(r'(\w+)\["([^"]+)"\]', diagram)}
    arrows: list[tuple[str, str]] = []
    for line in re.sub(r'\["[^"]+"\]', "", diagram).split("\n"):
        if "-->" in line:
            above, below = (side.split("&") for side in line.split("-->"))
            arrows += [(one.strip(), other.strip()) for one in above for other in below]
    nodes = {node: labels.get(node, (node,)) for arrow in arrows for node in arrow}
    return nodes, arrows


def test_the_diagram_shows_these_packages_and_what_they_import() -> None:
    """Imports that skip levels are not drawn, but the arrows lead to them."""
    nodes, arrows = drawn()
    assert sorted(name for names in nodes.values() for name in names) == sorted(LEVELS)
    below: dict[str, set[str]] = {node: set() for node in nodes}
    for node in TopologicalSorter({node: {b for a, b in arrows if a == node} for node in nodes}).static_order():
        direct = {other for one, other in arrows if one == node}
        below[node] = direct.union(*(below[other] for other in direct))
    node_of = {name: node for node, names in nodes.items() for name in names}
    missing = {
        f"{own} imports {other}"
        for path in PACKAGE
        if (own := package_of(module_of(path)))
        for name in imported(path)
        if (other := package_of(name)) and node_of[other] not in {node_of[own], *below[node_of[own]]}
    }
    assert not missing, "\n".join(sorted(missing))


def test_no_module_imports_itself_by_a_detour() -> None:
    known = set(MODULES)
    graph = {
        module_of(path): {name for name in imported(path) if name in known and name != module_of(path)}
        for path in PACKAGE
    }
    # An import of a name from a package counts as one of its module alone if the name is a module.
    for module, names in graph.items():
        path = PROJECT.joinpath(*module.split("."))
        source = path.with_suffix(".py") if path.with_suffix(".py").is_file() else path / "__init__.py"
        graph[module] = names - packages_named_only_for_a_module(source, known)
    try:
        tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def packages_named_only_for_a_module(path: Path, known: set[str]) -> set[str]:
    """Return packages that a file names only in `from package import module`."""
    only: set[str] = set()
    others: set[str] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            others |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules = all(f"{node.module}.{alias.name}" in known for alias in node.names)
            (only if modules else others).add(node.module)
    return only - others


def test_no_folder_holds_more_modules_than_can_be_taken_in() -> None:
    counts = Counter(path.parent for path in PACKAGE if path.name != "__init__.py")
    assert not {place(folder): count for folder, count in counts.items() if count > MOST_MODULES}


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
    """Run a program in a new interpreter with `folder` as its working folder."""
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
