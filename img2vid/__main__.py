"""Entry point of `python -m img2vid`: the command line."""

import os
import sys
from types import ModuleType
from typing import NoReturn


def exit_at_once(*_: object) -> None:
    """Exit like `img2vid.cli.main` after Ctrl-C, as a signal handler."""
    os._exit(130)


def run_update(script: str) -> NoReturn:
    """Run `img2vid update` with the base Python, as Windows cannot replace libraries that a process has loaded."""
    import signal
    import subprocess

    base: str = getattr(sys, "_base_executable", "") or sys.executable
    command = [base, script, *sys.argv[1:]]
    if os.name != "nt":
        os.execv(base, command)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the script, which restores everything
    sys.exit(subprocess.run(command, check=False).returncode)


def import_command_line() -> ModuleType:
    """Import the command line. If a package is missing or broken, run the doctor alone, or exit with one sentence."""
    from img2vid import paths
    from img2vid.remedies import setup_command

    if sys.argv[1:2] == ["update"] and not paths.IS_INSTALLED:
        run_update(str(paths.PROJECT / "scripts" / "run.py"))
    fault = paths.setup_fault()
    if fault and sys.argv[1:2] != ["doctor"]:
        sys.stderr.write(f"img2vid: {fault}. Run `{setup_command()}`, which repairs it.\n")
    try:
        from img2vid.cli import main as command_line
    except (ImportError, OSError) as error:  # OSError: a library that does not load
        if sys.argv[1:2] == ["doctor"]:
            from img2vid.doctor.command import main as doctor

            sys.exit(doctor("img2vid doctor", sys.argv[2:]))
        if fault:
            sys.exit(1)  # reported above
        reason = " ".join(str(error).split())[:400].rstrip(".")
        command = f'"{sys.executable}" -m img2vid doctor'
        sys.exit(f"img2vid cannot start ({reason}). Run `{command}`, which names the remedy.")
    return command_line


def main() -> None:
    """Run the command line. Ctrl-C exits at once during its imports, which take a second."""
    try:
        import signal

        interruptible = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        # Windows sends SIGBREAK after Ctrl-Break and when the console window is closed.
        interrupts = [getattr(signal, name) for name in ("SIGINT", "SIGBREAK") if hasattr(signal, name)]
        for number in interrupts if interruptible else ():
            # An exception could get lost inside an import, and nothing needs to be cleaned up yet.
            signal.signal(number, exit_at_once)
        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # blocked by scripts/run.py
        command_line = import_command_line()
        for number in interrupts if interruptible else ():
            signal.signal(number, signal.default_int_handler)
        command_line.main()
    except KeyboardInterrupt:
        exit_at_once()


if __name__ == "__main__":
    main()
