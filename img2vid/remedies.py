"""Remedies for packages that are missing or do not load, and the installation of optional ones."""

import importlib
import re
import subprocess
import sys
from importlib.util import find_spec

from img2vid import paths
from img2vid.errors import EngineUnavailable, Img2VidError, shown
from img2vid.windows import RUNTIME_URL

TEXT = ("diffusers", "transformers", "accelerate")
"""Optional packages that pictures from prompts need; requirements/text.txt."""
DOWNLOAD = "about 20 MB"
"""Size of their download."""


def setup_command() -> str:
    """Return the command that installs missing packages."""
    if paths.IS_INSTALLED:
        return _pip_command("runtime")
    return r"py scripts\run.py --setup-only" if sys.platform == "win32" else "python3 scripts/run.py --setup-only"


def reinstall_steps() -> str:
    """Return how to install everything again, as part of a sentence."""
    if paths.IS_INSTALLED:
        return "install img2vid again with the command that you used before"
    again = "run install_windows.cmd" if sys.platform == "win32" else f"run `{setup_command()}`"
    return f"delete the folder .venv and {again}"


def import_remedy(reason: str) -> str:
    """Return the remedy for a package that cannot be imported, by the error's type and message."""
    if re.search(r"DLL|WinError (?:126|127|1114)\b", reason):
        return f"Install Microsoft's Visual C++ runtime ({RUNTIME_URL}). If that does not help, {reinstall_steps()}."
    if "torchvision::" in reason:
        return f"torch and torchvision come from different builds. Reinstall: {reinstall_steps()}."
    if "ModuleNotFoundError" in reason:
        return f"Install the missing package: run `{setup_command()}`."
    return f"Reinstall: {reinstall_steps()}."


def import_problem(error: BaseException) -> str:
    """Return the message for an import that failed."""
    reason = f"{type(error).__name__}: {shown(' '.join(str(error).split()))}"
    return f"a package cannot be imported ({reason}). {import_remedy(reason)}"


def has_text() -> bool:
    """Return True if the packages for pictures from prompts are installed. They are not imported, which is slow."""
    return all(map(find_spec, TEXT))


def extra_command(name: str) -> str:
    """Return the command that installs the packages of an optional feature."""
    if paths.IS_INSTALLED:
        return _pip_command(name)
    return f"{setup_command()} --with {name}"


def _pip_command(name: str) -> str:
    """Return the command that installs the packages of a file in requirements/."""
    return f'"{sys.executable}" -m pip install -r "{paths.PROJECT / "requirements" / f"{name}.txt"}"'


def require_text() -> None:
    """Raise EngineUnavailable, with the command that installs it, if a package in TEXT is missing."""
    if missing := [name for name in TEXT if not find_spec(name)]:
        packages = f"package{'s' if len(missing) > 1 else ''} {' and '.join(missing)}"
        raise EngineUnavailable(
            f"pictures from prompts need the {packages} ({DOWNLOAD}, Apache License 2.0); run `{extra_command('text')}`"
        )


def install_text() -> None:
    """Install the packages in TEXT into this process's environment. Raise Img2VidError with the cause of a failure."""
    if paths.IS_INSTALLED:
        command = ["-m", "pip", "install", "-r", str(paths.PROJECT / "requirements" / "text.txt")]
    else:
        command = [str(paths.PROJECT / "scripts" / "run.py"), "--setup-only", "--with", "text"]
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False)
    importlib.invalidate_caches()
    if done.returncode or not has_text():
        lines = [line for line in f"{done.stdout}\n{done.stderr}".splitlines() if line.strip()]
        why = shown(lines[-1].strip()) if lines else f"exit code {done.returncode}"
        raise Img2VidError(f"the packages could not be installed ({why}); run `{extra_command('text')}` in a terminal")
