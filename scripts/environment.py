"""Management of the project's environment in `.venv` with the standard library only: creation, checks, repairs.

`ensure` is fast when nothing changed since its last success: it compares one stamp file. It can be interrupted at any
time and run twice at once; the next run resumes. All messages go to stderr.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NoReturn

from packages import Failed, Installer
from relocation import relocate

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))  # the leaves of img2vid need no installed package

from img2vid import NEWEST, OLDEST, SUPPORTED  # noqa: E402
from img2vid.windows import escape_output  # noqa: E402

TORCH = ("auto", "cpu", "cuda", "keep")
"""Builds of torch to choose from on Linux: PyTorch's CPU build, or the default one, which brings CUDA."""
PATIENCE = 5.0
"""Seconds that PyTorch's index has to answer."""

VENV = PROJECT / ".venv"
REQUIREMENTS = PROJECT / "requirements"
RUNTIME = ("runtime.txt",)
EXTRAS = {"text": "text.txt", "api": "api.txt"}
"""Requirement files of optional features, by the name for `run.py --with`."""
TESTS = (*RUNTIME, "dev.txt", "train.txt", "watermark.txt", *EXTRAS.values())
WITHOUT_DEPENDENCIES = ("watermark.txt",)
LOCK_NAME = "setup.lock"
HOME_LOCK_NAME = "desk.lock"
HELD_NAME = "held.json"
LOG_NAME = "setup.log"
PLACE_NAME = "place.txt"
"""File with the path of the environment, also read by img2vid/paths.py."""


class SetupError(Exception):
    """The environment cannot be set up; the message is one sentence for the user."""


def say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def guard(main: Callable[[list[str]], int]) -> NoReturn:
    """Run `main` with the command-line arguments and exit; print one sentence if setup fails."""
    escape_output()
    try:
        if os.name == "nt":  # Ctrl-Break, or the console window is closed
            signal.signal(signal.SIGBREAK, signal.default_int_handler)
        require_supported_python()
        sys.exit(main(sys.argv[1:]))
    except SetupError as error:
        say(str(error))
        sys.exit(1)
    except OSError as error:
        say(f"cannot set up {VENV} ({error}); close the programs that use it and check that it is writable.")
        sys.exit(1)
    except KeyboardInterrupt:
        say("Stopped. Run the same command again to resume.")
        sys.exit(130)


def require_supported_python() -> None:
    if OLDEST <= sys.version_info[:2] <= NEWEST:
        return
    found = ".".join(map(str, sys.version_info[:3]))
    newest = ".".join(map(str, NEWEST))
    raise SetupError(
        f"img2vid needs Python {SUPPORTED}, but this is Python {found} ({sys.executable}). "
        f"Run the script with a supported version, for example with python{newest}."
    )


def ensure(*files: str, torch: str = "") -> Path:
    """Return the environment's Python after installing everything in these requirement files.

    torch: one of `TORCH`; by default an environment keeps its torch, and a new one gets "auto".
    """
    stamp = VENV / "-".join(["img2vid", *(Path(name).stem for name in files)])
    if not torch and stamped(stamp) == state(files):
        return python()
    VENV.mkdir(exist_ok=True)
    with one_at_a_time():
        if torch or stamped(stamp) != state(files):  # another process may have finished the same work
            stamp.unlink(missing_ok=True)
            set_up(files, torch)
            stamp.write_text(state(files), encoding="utf-8")
    return python()


def with_extras(*wanted: str) -> tuple[str, ...]:
    """Return the requirement files of the program with the wanted extras, and with those installed earlier."""
    names = [name for name in EXTRAS if name in wanted or (VENV / f"img2vid-runtime-{name}").is_file()]
    return (*RUNTIME, *(EXTRAS[name] for name in names))


def python() -> Path:
    """Return the path of the environment's Python, which may not exist yet."""
    return VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def site_packages() -> Path | None:
    """Return the folder of the installed packages, or None if it does not exist."""
    return next(iter(VENV.glob("Lib/site-packages" if os.name == "nt" else "lib/python*/site-packages")), None)


def stamped(stamp: Path) -> str:
    return stamp.read_text(encoding="utf-8") if stamp.is_file() else ""


def state(files: tuple[str, ...]) -> str:
    """Return a digest of everything that determines if the environment is up to date.

    It includes the list of packages, to detect changes by other installers, and the paths of the project folder and of
    the base Python, which an update may remove.
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
    """Return the folder of the Python that created the environment."""
    settings = VENV / "pyvenv.cfg"
    lines = settings.read_text(encoding="utf-8").splitlines() if settings.is_file() else []
    pairs = (line.partition("=") for line in lines)
    return Path(next((value.strip() for name, _, value in pairs if name.strip() == "home"), "missing"))


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Hold the setup lock for the block, waiting for another process if necessary. A dead process releases it."""
    with (VENV / LOCK_NAME).open("a", encoding="utf-8") as file:
        os.set_inheritable(file.fileno(), True)  # pip inherits the lock, in case this process is killed before pip ends
        if not locked(file):
            say("Another process is setting up the environment; waiting for it to finish.")
            while not locked(file):
                time.sleep(0.3)
        yield


def home_in_use(root: Path) -> Path | None:
    """Return the home of a running img2vid in a project folder, or None.

    It holds the lock that img2vid/file_lock.py describes, which needs an installed package.
    """
    usual = root / "outputs"
    for home in dict.fromkeys((usual, Path(os.environ.get("IMG2VID_HOME") or usual).expanduser())):
        try:
            with (home / HOME_LOCK_NAME).open("r+", encoding="utf-8") as file:
                if not locked(file):
                    return home
        except OSError:  # none there, or not ours
            continue
    return None


def locked(file: IO[str]) -> bool:
    """Try to take the lock. Return True on success."""
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


def set_up(files: tuple[str, ...], torch: str) -> None:
    """Create or repair the environment and install missing packages; keep packages that match."""
    here, place = str(VENV.resolve()), VENV / PLACE_NAME
    before = place.read_text(encoding="utf-8") if place.is_file() else ""
    if compare(files) is None:
        if site_packages():
            say(f"The environment in {VENV} does not run: it is incomplete, or its Python was moved or removed.")
        say(f"Setting up img2vid in {VENV}. This happens once and downloads up to 3 GB.")
        create()
    elif before not in ("", here):
        say(f"The environment was moved here from {before}; its files get the new path.")
        relocate(VENV, before)
    install_held()
    if torch or any(re.match(r"torch\b(?!-)", line) for line in require_environment(compare(files))["missing"]):
        settle_torch(torch)
    report = require_environment(compare(files))
    if report["missing"]:
        remove_broken(report)
        begin = time.monotonic()
        count = len(report["missing"])
        say(f"Installing {report['missing'][0] if count == 1 else f'{count} missing packages'} and dependencies.")
        install(files, report["kept"])
        say(f"Installed in {time.monotonic() - begin:.0f} s. The log is {VENV / LOG_NAME}.")
    write_path_file()
    place.write_text(here, encoding="utf-8")


def settle_torch(wanted: str) -> None:
    """Install PyTorch's CPU build on Linux if it is wanted, or replace it with the default build."""
    there = next((found.name for found in VENV.glob("lib/*/site-packages/torch-*.dist-info")), "")
    if sys.platform != "linux" or wanted == "keep" or (there and not wanted):
        return
    from img2vid.hardware import BUILDS, find_cards

    alone = platform.machine() == "x86_64" and not find_cards().cards
    cpu = wanted == "cpu" or (wanted != "cuda" and alone)
    if cpu == ("+cpu" in there) or not (cpu or there):  # the other packages bring the default build
        return
    installer, index = Installer(python(), VENV / LOG_NAME), BUILDS["cpu"].index
    if cpu and wanted != "cpu" and not installer.reaches(index, PATIENCE):
        say(f"No answer from {index}; using {'the present' if there else 'the default'} build of torch.")
        return
    what = f"PyTorch's CPU build from {index}" if cpu else "the default build of torch"
    before = torch_packages()
    options = [*(["--index-url", index] if cpu else []), *(["--force-reinstall"] if there else []), "--no-deps"]
    try:
        say(f"Installing {what}.")
        install_packages(what, *options, "-c", str(REQUIREMENTS / "lock.txt"), "torch", "torchvision")
    except SetupError as error:
        if wanted in ("cpu", "cuda"):
            raise
        say(f"{error} Using {'the present' if there else 'the default'} build of torch.")
        return
    orphans = [name for name in before - torch_packages() if name.startswith(("cuda-", "nvidia-", "triton"))]
    if orphans:
        installer.uninstall(*sorted(orphans))


def torch_packages() -> set[str]:
    """Return the names of torch and its dependencies, as far as they are installed."""
    wanted = VENV / "torch.txt"
    wanted.write_text("torch\n", encoding="utf-8")
    report = compare((str(wanted),))
    return set(report["kept"]) if report else set()


def require_environment(report: dict | None) -> dict:
    """Return the report, or raise SetupError without one."""
    if report is None:
        raise SetupError(f"The environment in {VENV} is broken; delete this folder and run again.")
    return report


def remove_broken(report: dict) -> None:
    """Remove the folders that make pip mistake partially installed packages for complete ones."""
    for folder in map(Path, report["broken"]):
        if VENV in folder.parents:
            shutil.rmtree(folder)


def compare(files: tuple[str, ...], without_dependencies: tuple[str, ...] = WITHOUT_DEPENDENCIES) -> dict | None:
    """Return the report of `installed.py` on the environment, or None if the environment cannot run it."""
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
    """Create an empty environment, replacing the existing one."""
    if importlib.util.find_spec("ensurepip") is None:
        raise SetupError(
            "This Python cannot create environments because its module ensurepip is missing. "
            "On Debian and Ubuntu, run `sudo apt install python3-venv`."
        )
    base = getattr(sys, "_base_executable", "") or sys.executable  # this Python may be the one being removed
    for entry in VENV.iterdir():
        if entry.name in (LOCK_NAME, HELD_NAME):
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    done = subprocess.run([base, "-m", "venv", str(VENV)], stdout=sys.stderr, close_fds=False, check=False)
    if done.returncode != 0:
        raise SetupError(f"Cannot create the environment in {VENV}; see Python's error above.")


def install(files: tuple[str, ...], kept: dict[str, str]) -> None:
    """Install the files at the locked versions."""
    constraints = VENV / "constraints.txt"
    constraints.write_text("\n".join(constraint_lines(kept)) + "\n", encoding="utf-8")
    for options, names in (
        ([], [name for name in files if name not in WITHOUT_DEPENDENCIES]),
        (["--no-deps"], [name for name in files if name in WITHOUT_DEPENDENCIES]),
    ):
        paths = [part for name in names for part in ("-r", str(REQUIREMENTS / name))]
        if paths:
            install_packages("the packages", "-c", str(constraints), *options, *paths)


def install_packages(what: str, *arguments: str) -> None:
    """Install packages with uv or pip. Raise SetupError with the cause of a failure."""
    log = VENV / LOG_NAME
    try:
        Installer(python(), log).install(*arguments)
    except Failed as failure:
        raise SetupError(
            f"Cannot install {what}: {failure}. Run the same command again to resume. The log is {log}."
        ) from None


def hold(index: str, packages: Sequence[str]) -> None:
    """Pin packages ("torch==2.7.1+cu118") and their index for all future installations in the environment."""
    (VENV / HELD_NAME).write_text(json.dumps({"index": index, "packages": packages}), encoding="utf-8")


def install_held() -> None:
    """Install missing pinned packages, and make the pins a constraint for every pip of the environment.

    A recreated environment gets the same packages, and a manual pip install fails on a conflict instead of replacing
    the build.
    """
    file = VENV / HELD_NAME
    if not file.is_file():
        return
    held = json.loads(file.read_text(encoding="utf-8"))
    constraints = VENV / "held.txt"
    constraints.write_text("\n".join(held["packages"]) + "\n", encoding="utf-8")
    # Written at each setup because the path changes when the folder moves; a URL because pip splits paths at spaces.
    settings = VENV / ("pip.ini" if os.name == "nt" else "pip.conf")
    settings.write_text(f"[global]\nconstraint = {constraints.as_uri()}\n", encoding="utf-8")
    report = require_environment(compare((str(constraints),), (str(constraints),)))
    if report["missing"]:
        remove_broken(report)
        say(f"Installing {', '.join(held['packages'])} from {held['index']}")
        what = f"{' and '.join(held['packages'])} from {held['index']}"
        install_packages(what, "--no-deps", "--index-url", held["index"], *held["packages"])


def constraint_lines(kept: dict[str, str]) -> list[str]:
    """Return the lock without the packages that are kept as installed.

    A version with a local label ("2.7.1+cu118") comes from another index. It is pinned, so that pip reports conflicts
    instead of replacing it with the default build.
    """
    lock = (REQUIREMENTS / "lock.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lock if line and not line.startswith("#")]
    held = [f"{name}=={version}" for name, version in kept.items() if "+" in version]
    return held + [line for line in pins if normalized(line.split("==")[0]) not in kept]


def normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).strip().lower()


def write_path_file() -> None:
    """Make `import img2vid` work in the environment through a relative path, which survives moving the folder."""
    packages = site_packages()
    if packages is not None:
        up = os.path.relpath(PROJECT, packages)
        (packages / "img2vid.pth").write_text(up + "\n", encoding="utf-8")


def become(command: list[str]) -> int:
    """Replace this process with a command, keeping the working directory, exit code and Ctrl-C."""
    # `-m` would import from the caller's folder first, which may have a random.py or another copy of the project.
    surroundings = {**os.environ, "PYTHONSAFEPATH": "1"}
    if os.name != "nt":
        os.execve(command[0], command, surroundings)
    with subprocess.Popen(command, env=surroundings) as process:
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:
                continue  # the console sends Ctrl-C to the command as well, which handles it
