"""Sets up the project's environment if needed, then starts the program; needs only Python.

python3 scripts/run.py                    opens the dashboard in the browser; Ctrl-C stops it
python3 scripts/run.py dashboard --share  opens it to your network, with a token
python3 scripts/run.py sample IMAGE       makes a video (see `sample --help`)
python3 scripts/run.py COMMAND ...        any other command of img2vid
python3 scripts/run.py --setup-only       only sets up the environment, or repairs it
python3 scripts/run.py update             gets the newest version
python3 scripts/run.py --with text ...    installs what pictures from prompts need first; later starts keep it
python3 scripts/run.py --torch BUILD ...  on Linux, chooses the build of torch first: cpu (from PyTorch's index), cuda
                                          (the default build), auto (cpu without an NVIDIA card), keep

The first run installs the packages into `.venv` in the project folder. Later runs install nothing.
"""

from __future__ import annotations

import signal
import sys

try:
    from environment import EXTRAS, TORCH, SetupError, become, ensure, guard, with_extras
    from update import main as update
except KeyboardInterrupt:
    sys.exit(130)


def main(arguments: list[str]) -> int:
    if arguments and arguments[0] in ("-h", "--help"):
        print(__doc__)
        return 0
    if arguments[:1] == ["update"]:
        return update(arguments[1:])
    build, arguments = torch_option(arguments)
    extra, arguments = with_option(arguments)
    python = str(ensure(*with_extras(extra), torch=build))
    if arguments[:1] == ["--setup-only"]:
        return 0
    if hasattr(signal, "pthread_sigmask"):
        # Ctrl-C waits until img2vid/__main__.py accepts it; Python's own start would print a traceback.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    return become([python, "-m", "img2vid", *(arguments or ["dashboard"])])


def torch_option(arguments: list[str]) -> tuple[str, list[str]]:
    """Return the value of --torch before the command, or "", and the other arguments."""
    value, rest = own_option("--torch", arguments)
    if value is None:
        return "", arguments
    if value not in TORCH:
        raise SetupError(f"--torch takes {', '.join(TORCH)}, got {value!r}.")
    if sys.platform != "linux" and value in ("cpu", "cuda"):
        raise SetupError("--torch is for Linux; on Windows, use install_windows.cmd -Cuda cpu or -Cuda auto.")
    return value, rest


def with_option(arguments: list[str]) -> tuple[str, list[str]]:
    """Return the value of --with before the command, or "", and the other arguments."""
    value, rest = own_option("--with", arguments)
    if value is not None and value not in EXTRAS:
        raise SetupError(f"--with takes {', '.join(EXTRAS)}, got {value!r}.")
    return value or "", rest


def own_option(name: str, arguments: list[str]) -> tuple[str | None, list[str]]:
    """Return the value of an option before the command, None if it is not given, and the other arguments."""
    place = 1 if arguments[:1] == ["--setup-only"] else 0
    option, given, value = "".join(arguments[place : place + 1]).partition("=")
    if option != name:
        return None, arguments
    value = value if given else "".join(arguments[place + 1 : place + 2])
    return value, arguments[:place] + arguments[place + (1 if given else 2) :]


if __name__ == "__main__":
    guard(main)
