"""The project's own Python environment in `.venv`: made, checked and mended with the standard library alone.

`ensure` is quick when nothing changed since it last finished: it compares one stamp file. It can be interrupted at
any moment and started twice at once; the next start goes on from what is there. All its messages go to standard error.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import IO, NoReturn

PROJECT = Path(__file__).resolve().parent.parent
VENV = PROJECT / ".venv"
REQUIREMENTS = PROJECT / "requirements"
RUNTIME = ("runtime.txt",)
TESTS = (*RUNTIME, "dev.txt", "train.txt", "watermark.txt")
WITHOUT_DEPENDENCIES = ("watermark.txt",)
OLDEST, NEWEST = (3, 10), (3, 13)
LOCK_NAME = "setup.lock"
HELD_NAME = "held.json"


class SetupError(Exception):
    """The environment cannot be had; the message is one sentence for the user."""


def say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def guard(main: Callable[[list[str]], int]) -> NoReturn:
    """Runs `main` with the command line's arguments and ends the process, with one sentence where set-up fails."""
    try:
        require_supported_python()
        sys.exit(main(sys.argv[1:]))
    except SetupError as error:
        say(str(error))
        sys.exit(1)
    except OSError as error:
        say(f"{VENV} could not be set up ({error}); close the programs that use it, make sure that it can be written.")
        sys.exit(1)
    except KeyboardInterrupt:
        say("Stopped; the same command goes on from here.")
        sys.exit(130)


def require_supported_python() -> None:
    if OLDEST <= sys.version_info[:2] <= NEWEST:
        return
    oldest, newest = (".".join(map(str, version)) for version in (OLDEST, NEWEST))
    found = ".".join(map(str, sys.version_info[:3]))
    raise SetupError(
        f"img2vid runs on Python {oldest} to {newest}, and this is Python {found} ({sys.executable}); "
        f"install one of these and start the script with it, for example with python{newest}."
    )


def ensure(*files: str) -> Path:
    """The environment's Python, after everything in these requirement files has been installed."""
    stamp = VENV / "-".join(["img2vid", *(Path(name).stem for name in files)])
    if stamped(stamp) == state(files):
        return python()
    VENV.mkdir(exist_ok=True)
    with one_at_a_time():
        if stamped(stamp) != state(files):  # the other start may just have finished the same work
            stamp.unlink(missing_ok=True)
            set_up(files)
            stamp.write_text(state(files), encoding="utf-8")
    return python()


def python() -> Path:
    """Where the environment's Python is, or will be."""
    return VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def site_packages() -> Path | None:
    """The folder of the installed packages, or None while there is none."""
    return next(iter(VENV.glob("Lib/site-packages" if os.name == "nt" else "lib/python*/site-packages")), None)


def stamped(stamp: Path) -> str:
    return stamp.read_text(encoding="utf-8") if stamp.is_file() else ""


def state(files: tuple[str, ...]) -> str:
    """A digest of all that decides whether the environment is as it should be.

    The list of packages is part of it, so what another installer adds or removes is noticed, and so is the place of
    the project's folder and of the Python that the environment was made from, which an update may remove.
    """
    packages = site_packages()
    if packages is None or not python().is_file():
        return "none"
    found = sorted(entry.name for entry in os.scandir(packages) if entry.name.endswith((".dist-info", ".pth")))
    places = [str(PROJECT), str(python().resolve()), str(base_folder().is_dir())]
    digest = hashlib.sha256(json.dumps([places, found]).encode())
    for name in (*files, "lock.txt"):
        digest.update((REQUIREMENTS / name).read_bytes())
    return digest.hexdigest()


def base_folder() -> Path:
    """The folder of the Python that the environment was made from."""
    settings = VENV / "pyvenv.cfg"
    lines = settings.read_text(encoding="utf-8").splitlines() if settings.is_file() else []
    pairs = (line.partition("=") for line in lines)
    return Path(next((value.strip() for name, _, value in pairs if name.strip() == "home"), "missing"))


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Holds the set-up's lock, after waiting for another start that holds it; a process that dies lets go of it."""
    with (VENV / LOCK_NAME).open("a", encoding="utf-8") as file:
        os.set_inheritable(file.fileno(), True)  # pip holds it as well, should this process be killed before pip ends
        if not locked(file):
            say("Another start is setting up the same environment; waiting for it to finish.")
            while not locked(file):
                time.sleep(0.3)
        yield


def locked(file: IO[str]) -> bool:
    """Whether the lock could be taken right now."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True


def set_up(files: tuple[str, ...]) -> None:
    """Makes or mends the environment and installs what is missing; what is there and fits is left alone."""
    if compare(files) is None:
        say(f"Setting up img2vid in {VENV}: done once, downloads up to 3 GB and takes 2 to 10 minutes.")
        create()
    install_held()
    report = require_environment(compare(files))
    if report["missing"]:
        remove_broken(report)
        say(f"Installing what is missing: {', '.join(report['missing'])}")
        install(files, report["kept"])
    write_path_file()


def require_environment(report: dict | None) -> dict:
    """The report, or SetupError where there is none."""
    if report is None:
        raise SetupError(f"The environment in {VENV} does not run; delete this folder and start again.")
    return report


def remove_broken(report: dict) -> None:
    """Removes the folders that make pip take half-installed packages for whole ones."""
    for folder in map(Path, report["broken"]):
        if VENV in folder.parents:
            shutil.rmtree(folder)


def compare(files: tuple[str, ...], without_dependencies: tuple[str, ...] = WITHOUT_DEPENDENCIES) -> dict | None:
    """What `installed.py` reports about the environment, or None where the environment does not even run that."""
    if not python().is_file():
        return None
    paths = [str(REQUIREMENTS / name) for name in files if name not in without_dependencies]
    alone = [str(REQUIREMENTS / name) for name in files if name in without_dependencies]
    command = [str(python()), "-I", str(PROJECT / "scripts" / "installed.py"), *paths, "--alone", *alone]
    try:
        done = subprocess.run(command, capture_output=True, check=True)
        return json.loads(done.stdout)
    except (OSError, subprocess.CalledProcessError, ValueError):
        return None


def create() -> None:
    """An empty environment in the place of whatever is there."""
    if importlib.util.find_spec("ensurepip") is None:
        raise SetupError(
            "This Python cannot make environments because its module ensurepip is missing; "
            "on Debian and Ubuntu `sudo apt install python3-venv` adds it."
        )
    base = getattr(sys, "_base_executable", "") or sys.executable  # this script may run on the Python that goes away
    for entry in VENV.iterdir():
        if entry.name in (LOCK_NAME, HELD_NAME):
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    if call([base, "-m", "venv", str(VENV)]) != 0:
        raise SetupError(f"The environment could not be made in {VENV}; what Python said about it stands above.")


def install(files: tuple[str, ...], kept: dict[str, str]) -> None:
    """Lets pip install the files at the locked versions."""
    constraints = VENV / "constraints.txt"
    constraints.write_text("\n".join(constraint_lines(kept)) + "\n", encoding="utf-8")
    command = pip_install(python(), "-c", str(constraints))
    for options, names in (
        ([], [name for name in files if name not in WITHOUT_DEPENDENCIES]),
        (["--no-deps"], [name for name in files if name in WITHOUT_DEPENDENCIES]),
    ):
        paths = [part for name in names for part in ("-r", str(REQUIREMENTS / name))]
        if paths and call([*command, *options, *paths]) != 0:
            raise SetupError(
                "The packages could not be installed, pip's own words stand above; look after the network connection "
                "and the free disk space (7 GB), then start the same command again: it goes on from here."
            )


def pip_install(python: PurePath, *arguments: str) -> list[str]:
    """pip's command for an installation by the Python of an environment."""
    return [str(python), "-I", "-m", "pip", "install", "--disable-pip-version-check", *arguments]


def hold(index: str, packages: Sequence[str]) -> None:
    """From now on the environment has these packages ("torch==2.7.1+cu118") from this index, until others are held."""
    (VENV / HELD_NAME).write_text(json.dumps({"index": index, "packages": packages}), encoding="utf-8")


def install_held() -> None:
    """Installs the held packages where they are missing, and makes every pip of the environment keep to them.

    An environment that has to be made anew gets them again, and a pip that somebody starts by hand refuses what does
    not fit them, instead of bringing another build.
    """
    file = VENV / HELD_NAME
    if not file.is_file():
        return
    held = json.loads(file.read_text(encoding="utf-8"))
    constraints = VENV / "held.txt"
    constraints.write_text("\n".join(held["packages"]) + "\n", encoding="utf-8")
    # Written at each set-up, as the path does not survive a move of the folder; a URL, as pip splits paths at spaces.
    settings = VENV / ("pip.ini" if os.name == "nt" else "pip.conf")
    settings.write_text(f"[global]\nconstraint = {constraints.as_uri()}\n", encoding="utf-8")
    report = require_environment(compare((str(constraints),), (str(constraints),)))
    if report["missing"]:
        remove_broken(report)
        say(f"Installing {', '.join(held['packages'])} from {held['index']}")
        command = pip_install(python(), "--no-deps", "--index-url", held["index"], *held["packages"])
        if call(command) != 0:
            raise SetupError(
                f"{' and '.join(held['packages'])} could not be installed from {held['index']}, pip's own words stand "
                "above; look after the network connection and the free disk space, then start again."
            )


def constraint_lines(kept: dict[str, str]) -> list[str]:
    """The lock without the packages that stay as they are.

    A version with a label ("2.7.1+cu118") was brought by another installer from a place of its own. It is held, so that
    pip says so where something does not fit it, and never replaces it by the common build.
    """
    lock = (REQUIREMENTS / "lock.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lock if line and not line.startswith("#")]
    held = [f"{name}=={version}" for name, version in kept.items() if "+" in version]
    return held + [line for line in pins if normalized(line.split("==")[0]) not in kept]


def normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).strip().lower()


def write_path_file() -> None:
    """Makes `import img2vid` work in the environment, by a relative path that survives a move of the folder."""
    packages = site_packages()
    if packages is not None:
        up = os.path.relpath(PROJECT, packages)
        (packages / "img2vid.pth").write_text(up + "\n", encoding="utf-8")


def call(command: list[str]) -> int:
    """Runs a set-up command with its output on standard error."""
    return subprocess.run(command, stdout=sys.stderr, close_fds=False, check=False).returncode


def become(command: list[str]) -> int:
    """Hands the process over to a command, with its working directory, its exit code and Ctrl-C."""
    # `-m` would import from the caller's folder first, where any random.py or another copy of the project may lie.
    surroundings = {**os.environ, "PYTHONSAFEPATH": "1"}
    if os.name != "nt":
        os.execve(command[0], command, surroundings)
    with subprocess.Popen(command, env=surroundings) as process:
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:
                continue  # the console sends Ctrl-C to the command as well, and it decides what follows
