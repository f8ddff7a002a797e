"""Programs of tests that run on every system, and their interruption as by the console."""

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

IN_OWN_GROUP: dict[str, Any] = (
    {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP} if os.name == "nt" else {"start_new_session": True}
)
"""Options of a process that can be interrupted alone, with its children."""


def interrupt(process: "subprocess.Popen[Any]") -> None:
    """Interrupt a process and its children, with Ctrl-Break on Windows, where Ctrl-C reaches the whole console."""
    if os.name == "nt":
        process.send_signal(signal.CTRL_BREAK_EVENT)
    else:
        os.killpg(process.pid, signal.SIGINT)


def write_program(folder: Path, name: str, *, shell: str, batch: str) -> Path:
    """Write a program in the system's own script language; return its path."""
    path = folder / (f"{name}.cmd" if os.name == "nt" else name)
    path.write_text(f"@echo off\n{batch}\n" if os.name == "nt" else f"#!/bin/sh\n{shell}\n", encoding="utf-8")
    path.chmod(0o755)
    return path
