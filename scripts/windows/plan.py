"""The steps of the installation as one list: what the dry run prints is what is carried out."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath

import environment

from windows import work
from windows.builds import Build, Choice
from windows.machine import LONGEST_ROOT, WINDOWS_11, Machine, Obstacle, obstacles, spaces
from windows.models import Model
from windows.requirement_files import left_out, requirement_lines

SGM_SIZE = 1.0
"""GB that the reference package takes with what it imports; an estimate."""
REPAIR = 1.0
"""GB for what may be missing of an installation that has its torch; an estimate."""


@dataclass(frozen=True)
class Action:
    """One thing that a step does: how it is shown, and what is called for it, which returns an exit code."""

    shown: str
    do: Callable[[], int]
    required: bool = True
    """Whether the installation stops where this fails; otherwise that is reported, and the rest goes on."""


@dataclass(frozen=True)
class Step:
    title: str
    notes: tuple[str, ...] = ()
    actions: tuple[Action, ...] = ()
    remedy: str = ""


@dataclass(frozen=True)
class Wishes:
    """What is to be installed, after all questions have been answered."""

    choice: Choice
    models: Sequence[Model] = ()
    sgm: bool = False
    shortcuts: bool = True
    launch: bool = True
    rebuild: bool = False
    """Whether an environment that is there and runs is made anew all the same."""


@dataclass(frozen=True)
class Plan:
    """The steps, or only the first of them where there are obstacles."""

    steps: tuple[Step, ...]
    obstacles: tuple[Obstacle, ...] = ()

    @property
    def count(self) -> int:
        return 9 if self.obstacles else len(self.steps)

    def text(self) -> str:
        return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        for number, step in enumerate(self.steps, 1):
            yield heading(number, self.count, step)
            yield from (f"    {note}" for note in step.notes)
            yield from (f"    > {action.shown}" for action in step.actions)
            if step.actions:
                yield f"    If this fails: {step.remedy}"
        for obstacle in self.obstacles:
            yield f"    Stop: {obstacle.problem}."
            yield f"    Remedy: {obstacle.remedy}."


def heading(number: int, count: int, step: Step) -> str:
    return f"{number} of {count}: {step.title}"


def make_plan(machine: Machine, wishes: Wishes, project: Path) -> Plan:
    """The plan for a machine; `project` is where the requirement files are read now."""
    build = wishes.choice.build
    there = build is not None and has(machine, build) and not wishes.rebuild
    needed = space_needed(wishes, there=there)
    found = obstacles(machine, needed)
    if build is None:
        found.append(Obstacle(wishes.choice.problem, wishes.choice.remedy))
    first = checks(machine, wishes, needed)
    if build is None or found:
        return Plan((first,), tuple(found))
    places = Places(machine.root)
    steps = (
        first,
        make_environment(machine, places, rebuild=wishes.rebuild),
        install_torch(build, places, there=there),
        install_packages(project, places),
        install_sgm(project, places, chosen=wishes.sgm),
        try_out(build, places),
        download(wishes.models, places),
        write_starter(places, shortcuts=wishes.shortcuts),
        open_dashboard(places, launch=wishes.launch),
    )
    return Plan(steps)


def has(machine: Machine, build: Build) -> bool:
    """Whether the environment runs and has this build of torch."""
    return machine.venv not in ("none", "broken") and machine.torch == f"{build.torch}+{build.tag}"


def space_needed(wishes: Wishes, *, there: bool) -> float:
    """In GB; `there` says whether torch, the largest part, is installed already."""
    build = wishes.choice.build
    packages = 0.0 if build is None else REPAIR if there else build.size
    return packages + sum(model.bytes for model in wishes.models) / 1e9 + (SGM_SIZE if wishes.sgm else 0.0)


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
        """Where a requirement file goes without what Windows has no use for."""
        return self.venv / "windows" / name


def checks(machine: Machine, wishes: Wishes, needed: float) -> Step:
    version = ".".join(map(str, machine.python_version))
    build = wishes.choice.build
    long = "on" if machine.long_paths else "off"
    notes = [
        f"Windows {11 if machine.build >= WINDOWS_11 else 10}, build {machine.build}, {machine.architecture}",
        f"Python {version}, {machine.bits}-bit: {machine.python}",
        *map(str, machine.found.cards or [f"No NVIDIA card: {machine.found.reason}"]),
        *wishes.choice.remarks,
        *([f"torch {build.torch} and torchvision {build.torchvision}, build {build.tag}"] if build else []),
        *(
            f"{free:.0f} GB free on {drive}" + (f", about {space:.0f} GB needed" if space else "")
            for drive, free, space in spaces(machine, needed)
        ),
        f"Folder {machine.root}: {len(str(machine.root))} characters (up to {LONGEST_ROOT} will do), long paths {long}",
    ]
    return Step("Check this computer", tuple(notes))


def command(argv: Sequence[str], places: Places, *, required: bool = True) -> Action:
    return Action(subprocess.list2cmdline(argv), lambda: work.run(argv, Path(places.root)), required)


def make_environment(machine: Machine, places: Places, *, rebuild: bool) -> Step:
    title = "Make the Python environment"
    if machine.venv not in ("none", "broken") and not rebuild:
        return Step(title, (f"{places.venv} is there, with Python {machine.venv}, and runs: it is used again.",))
    notes = () if machine.venv == "none" else (f"What is in {places.venv} is removed first.",)
    shown = subprocess.list2cmdline([str(machine.python), "-m", "venv", str(places.venv)])
    remedy = f"close all windows that use {places.venv}, make sure that the folder can be written, and start again."
    return Step(title, notes, (Action(shown, work.make_environment),), remedy)


def install_torch(build: Build, places: Places, *, there: bool) -> Step:
    argv = environment.pip_install(places.python, "--no-deps", "--index-url", build.index, *build.packages)
    notes = [f"Pinned in {places.venv / 'held.txt'}, to which every pip of the environment keeps."]
    if there:
        notes.append("It is installed already, and is left alone where nothing of it is missing.")
    remedy = "look after the network connection (docs/windows.md, proxy) and the free space, and start again."
    action = Action(subprocess.list2cmdline(argv), lambda: work.install_torch(build))
    return Step("Install torch", tuple(notes), (action,), remedy)


def install_packages(project: Path, places: Places) -> Step:
    source, target = "pt2.txt", places.stripped("pt2.txt")
    gone = left_out(requirement_lines(project / "requirements" / source))
    return Step(
        "Install the other packages",
        (f"Left out of requirements\\{source}: {', '.join(gone) or 'nothing'}",),
        pip_actions(source, target, places, required=True),
        "look after the network connection (docs/windows.md, proxy) and the free space, and start again.",
    )


def install_sgm(project: Path, places: Places, *, chosen: bool) -> Step:
    title = "Install the reference package sgm"
    if not chosen:
        return Step(title, ("Not chosen; the native engine needs nothing of it. -WithSgm installs it later.",))
    note = f"From {work.sgm_archive(project)}; git is not needed."
    remedy = "img2vid works without it; start again with -WithSgm when the network is there."
    source, target = "sgm.txt", places.stripped("sgm.txt")
    return Step(title, (note,), pip_actions(source, target, places, required=False), remedy)


def pip_actions(source: str, target: PurePath, places: Places, *, required: bool) -> tuple[Action, Action]:
    """The writing of a stripped requirement file, and its installation."""
    argv = environment.pip_install(places.python, "-c", str(places.venv / "constraints.txt"), "-r", str(target))
    return (
        Action(f"write {target} from requirements\\{source}", lambda: work.strip(source, Path(target)), required),
        Action(subprocess.list2cmdline(argv), lambda: work.install(Path(target)), required),
    )


def try_out(build: Build, places: Places) -> Step:
    kernel = [str(places.python), "-I", str(places.root / "scripts" / "windows" / "kernel.py"), build.tag]
    doctor = [str(places.python), "-m", "img2vid", "doctor"]
    return Step(
        "Try torch on the card, and let img2vid check itself",
        (),
        (command(kernel, places), command(doctor, places, required=False)),
        "do what the lines above say; after a new driver restart Windows; start again with -Cuda auto, or with "
        "-Cuda cpu to do without the card.",
    )


def download(models: Sequence[Model], places: Places) -> Step:
    title = "Download checkpoints"
    if not models:
        return Step(title, ("None to download; the Models page and `img2vid models download NAME` do it later.",))
    argvs = [[str(places.python), "-m", "img2vid", "models", "download", model.name] for model in models]
    notes = tuple(f"{model.name}: {model.file}, {model.bytes / 1e9:.2f} GB" for model in models)
    remedy = "start again, or download it on the Models page: what has arrived is kept."
    return Step(title, notes, tuple(command(argv, places, required=False) for argv in argvs), remedy)


def write_starter(places: Places, *, shortcuts: bool) -> Step:
    write = Action(f"write {places.starter}", lambda: work.write_starter(Path(places.starter)))
    argv = work.shortcut_command(places.root)
    links = (command(argv, places, required=False),) if shortcuts else ()
    remedy = f"make sure that {places.root} can be written; shortcuts can also be made by hand."
    return Step("Write what starts the dashboard", (), (write, *links), remedy)


def open_dashboard(places: Places, *, launch: bool) -> Step:
    title = "Open the dashboard"
    if not launch:
        return Step(title, (f"Not opened, as -NoLaunch says; a double-click on {places.starter} does it.",))
    action = Action(f'start "" "{places.starter}"', lambda: work.open_file(Path(places.starter)), required=False)
    return Step(title, (), (action,), f"double-click {places.starter}.")
