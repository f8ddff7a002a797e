"""Installation steps as a list, shared by the dry run and the real run."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath

from img2vid.hardware import Build
from img2vid.windows import RUNTIME_PACKAGE, RUNTIME_URL
from windows import work
from windows.builds import Choice, triton_for
from windows.machine import LONGEST_ROOT, WINDOWS_11, Machine, Obstacle, obstacles, runtime_obstacle, spaces
from windows.models import Model
from windows.requirement_files import left_out, requirement_lines

AGREED = ("--accept-package-agreements", "--accept-source-agreements")
NO_TRITON = (
    "Triton for Windows is left out, so that --compile has no effect: it needs a GPU of the series RTX 30 or newer."
)
SGM_SIZE = 1.0
"""Estimated GB of the reference package with its dependencies."""
REPAIR = 1.0
"""Estimated GB for missing packages of an installation that already has torch."""


@dataclass(frozen=True)
class Action:
    """One action of a step: its display text, and a function that returns an exit code."""

    shown: str
    do: Callable[[], int]
    required: bool = True
    """If True, a failure stops the installation; otherwise it is reported and the installation continues."""


@dataclass(frozen=True)
class Step:
    title: str
    notes: tuple[str, ...] = ()
    actions: tuple[Action, ...] = ()
    remedy: str = ""


@dataclass(frozen=True)
class Selection:
    """Installation options after all prompts."""

    choice: Choice
    models: Sequence[Model] = ()
    sgm: bool = False
    shortcuts: bool = True
    launch: bool = True
    rebuild: bool = False
    """Recreate an existing, working environment."""
    runtime: bool = False
    """Install the Visual C++ runtime with winget."""


@dataclass(frozen=True)
class Plan:
    """The steps, and the obstacles that stop the installation in the first of them."""

    steps: tuple[Step, ...]
    obstacles: tuple[Obstacle, ...] = ()

    @property
    def count(self) -> int:
        return len(self.steps)

    def text(self) -> str:
        return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        for number, step in enumerate(self.steps, 1):
            yield heading(number, self.count, step)
            yield from (f"    {note}" for note in step.notes)
            yield from self.stops() if number == 1 else ()
            yield from (f"    > {action.shown}" for action in step.actions)
            if step.actions:
                yield f"    If this fails: {step.remedy}"

    def stops(self) -> Iterator[str]:
        """Yield two lines for each obstacle."""
        for obstacle in self.obstacles:
            yield f"    Stop: {obstacle.problem}."
            yield f"    Remedy: {obstacle.remedy}."


def heading(number: int, count: int, step: Step) -> str:
    return f"{number} of {count}: {step.title}"


def make_plan(machine: Machine, selection: Selection, project: Path) -> Plan:
    """Return the plan for a machine. `project` is the folder with the requirement files."""
    choice = selection.choice
    build = choice.build or choice.meant
    assert build is not None
    there = has(machine, build) and not selection.rebuild
    needed = space_needed(build, selection, there=there)
    found = obstacles(machine, needed)
    if choice.build is None:
        found.append(Obstacle(choice.problem, choice.remedy))
    elif not selection.runtime and (missing := runtime_obstacle(machine, build)):
        found.append(missing)
    places = Places(machine.root)
    steps = (
        checks(machine, selection, build, needed),
        make_environment(machine, places, rebuild=selection.rebuild),
        install_torch(build, places, there=there),
        install_packages(project, places),
        install_sgm(project, places, chosen=selection.sgm),
        try_out(build, places, triton_for(build, machine.found.cards)),
        download(selection.models, places),
        write_starter(places, shortcuts=selection.shortcuts),
        open_dashboard(places, launch=selection.launch),
    )
    return Plan(steps, tuple(found))


def has(machine: Machine, build: Build) -> bool:
    """Return True if the environment works and has this build of torch."""
    return machine.venv not in ("none", "broken") and machine.torch == f"{build.torch}+{build.tag}"


def space_needed(build: Build, selection: Selection, *, there: bool) -> float:
    """Return the needed space in GB. `there`: torch, the largest part, is already installed."""
    packages = REPAIR if there else build.size
    return packages + sum(model.bytes for model in selection.models) / 1e9 + (SGM_SIZE if selection.sgm else 0.0)


@dataclass(frozen=True)
class Places:
    root: PurePath

    @property
    def venv(self) -> PurePath:
        return self.root / ".venv"

    @property
    def python(self) -> PurePath:
        return self.venv / ("bin/python" if isinstance(self.root, PurePosixPath) else "Scripts/python.exe")

    @property
    def starter(self) -> PurePath:
        return self.root / work.STARTER

    def stripped(self, name: str) -> PurePath:
        """Return the path of a requirement file without the packages that Windows does not need."""
        return self.venv / "windows" / name


def checks(machine: Machine, selection: Selection, build: Build, needed: float) -> Step:
    version = ".".join(map(str, machine.python_version))
    runtime = f"version {'.'.join(map(str, machine.runtime))}" if machine.runtime else "missing"
    long = "on" if machine.long_paths else "off"
    notes = [
        f"Windows {11 if machine.build >= WINDOWS_11 else 10}, build {machine.build}, {machine.architecture}",
        f"Python {version}, {machine.bits}-bit: {machine.python}",
        f"Visual C++ runtime: {runtime}",
        *map(str, machine.found.cards),
        *selection.choice.remarks,
        f"torch {build.torch} and torchvision {build.torchvision}, build {build.tag}",
        *(
            f"{free:.0f} GB free on {drive}" + (f", about {space:.0f} GB needed" if space else "")
            for drive, free, space in spaces(machine, needed)
        ),
        f"Folder {machine.root}: {len(str(machine.root))} characters (limit {LONGEST_ROOT}), long paths {long}",
    ]
    command = ["winget", "install", "--id", RUNTIME_PACKAGE, "--exact", "--source", "winget", *AGREED]
    install = Action(subprocess.list2cmdline(command), lambda: work.install_runtime(command, build.runtime))
    actions = (install,) if selection.runtime else ()
    return Step("Check this computer", tuple(notes), actions, f"install {RUNTIME_URL} and run again.")


def command(argv: Sequence[str], places: Places, *, required: bool = True) -> Action:
    return Action(subprocess.list2cmdline(argv), lambda: work.run(argv, Path(places.root)), required)


def make_environment(machine: Machine, places: Places, *, rebuild: bool) -> Step:
    title = "Create the Python environment"
    if machine.venv not in ("none", "broken") and not rebuild:
        return Step(title, (f"Reusing {places.venv} with Python {machine.venv}.",))
    notes = () if machine.venv == "none" else (f"The contents of {places.venv} are removed first.",)
    shown = subprocess.list2cmdline([str(machine.python), "-m", "venv", str(places.venv)])
    remedy = f"close all programs that use {places.venv}, check that the folder is writable, and run again."
    return Step(title, notes, (Action(shown, work.make_environment),), remedy)


def install_torch(build: Build, places: Places, *, there: bool) -> Step:
    argv = install_command(places.python, "--no-deps", "--index-url", build.index, *build.packages)
    notes = [f"Pinned in {places.venv / 'held.txt'}, a constraint for every pip of the environment."]
    if there:
        notes.append("Already installed; only missing parts are added.")
    remedy = "check the network connection (docs/windows.md, proxy) and the free space, and run again."
    action = Action(subprocess.list2cmdline(argv), lambda: work.install_torch(build))
    return Step("Install torch", tuple(notes), (action,), remedy)


def install_packages(project: Path, places: Places) -> Step:
    source, target = "pt2.txt", places.stripped("pt2.txt")
    gone = left_out(requirement_lines(project / "requirements" / source))
    return Step(
        "Install the other packages",
        (f"Skipped from requirements\\{source}: {', '.join(gone) or 'nothing'}",),
        install_actions(source, target, places, required=True),
        "check the network connection (docs/windows.md, proxy) and the free space, and run again.",
    )


def install_sgm(project: Path, places: Places, *, chosen: bool) -> Step:
    title = "Install the reference package sgm"
    if not chosen:
        return Step(title, ("Skipped; the native engine does not need it. Install it later with -WithSgm.",))
    note = f"From {work.sgm_archive(project)}; git is not needed."
    remedy = "img2vid works without it; run again with -WithSgm when the network is available."
    source, target = "sgm.txt", places.stripped("sgm.txt")
    return Step(title, (note,), install_actions(source, target, places, required=False), remedy)


def install_command(python: PurePath, *arguments: str) -> list[str]:
    """Return the command as the plan shows it; pip is used with the same arguments if uv cannot be."""
    return ["uv", "pip", "install", "--python", str(python), *arguments]


def install_actions(source: str, target: PurePath, places: Places, *, required: bool) -> tuple[Action, Action]:
    """Return the actions that write a filtered requirement file and install it."""
    argv = install_command(places.python, "-c", str(places.venv / "constraints.txt"), "-r", str(target))
    return (
        Action(f"write {target} from requirements\\{source}", lambda: work.strip(source, Path(target)), required),
        Action(subprocess.list2cmdline(argv), lambda: work.install(Path(target)), required),
    )


def try_out(build: Build, places: Places, triton: str) -> Step:
    """Return the tests of torch. `triton` is the requirement that `--compile` needs, or "" if none fits."""
    kernel = [str(places.python), "-I", str(places.root / "scripts" / "windows" / "kernel.py"), build.tag]
    doctor = [str(places.python), "-m", "img2vid", "doctor"]
    actions = [command(kernel, places), command(doctor, places, required=False)]
    notes = () if triton or build.tag == "cpu" else (NO_TRITON,)
    if triton:
        argv = install_command(places.python, "--no-deps", triton)
        add = Action(subprocess.list2cmdline(argv), lambda: work.add_triton(triton, [*kernel, "--compile"]))
        actions.insert(1, add)
    return Step(
        "Test torch on the GPU and run img2vid doctor",
        notes,
        tuple(actions),
        "follow the advice above; restart Windows after a driver update. Run again with -Cuda auto, or with -Cuda cpu "
        "to use only the CPU.",
    )


def download(models: Sequence[Model], places: Places) -> Step:
    title = "Download checkpoints"
    if not models:
        return Step(title, ("None to download; use the Models page or `img2vid models download NAME` later.",))
    argvs = [[str(places.python), "-m", "img2vid", "models", "download", model.name] for model in models]
    notes = tuple(f"{model.name}: {model.file}, {model.bytes / 1e9:.2f} GB" for model in models)
    remedy = "run again, or download it on the Models page; the download resumes."
    return Step(title, notes, tuple(command(argv, places, required=False) for argv in argvs), remedy)


def write_starter(places: Places, *, shortcuts: bool) -> Step:
    write = Action(f"write {places.starter}", lambda: work.write_starter(Path(places.starter)))
    argv = work.shortcut_command(places.root)
    links = (command(argv, places, required=False),) if shortcuts else ()
    remedy = f"check that {places.root} is writable; shortcuts can also be created by hand."
    return Step("Create the dashboard launcher", (), (write, *links), remedy)


def open_dashboard(places: Places, *, launch: bool) -> Step:
    title = "Open the dashboard"
    if not launch:
        return Step(title, (f"Skipped because of -NoLaunch; double-click {places.starter} to open it.",))
    action = Action(f'start "" "{places.starter}"', lambda: work.open_file(Path(places.starter)), required=False)
    return Step(title, (), (action,), f"double-click {places.starter}.")
