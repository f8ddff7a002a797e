"""The computer beside its card: Python, packages, memory, disk, the home, the video encoder, the dashboard's port."""

import errno
import importlib.metadata
import os
import re
import shutil
import socket
import sys
import tempfile
import urllib.request
from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path

from img2vid.doctor.cards import setup_command
from img2vid.doctor.report import Finding, note, ok, problem

OLDEST, NEWEST = (3, 10), (3, 13)
GIB = 2**30
GB = 10**9
FULL_MODEL = 10 * GB
"""A full model's checkpoint and a little."""
SOME_VIDEOS = 2 * GB
ONE_VIDEO = GB // 5
ENOUGH_MEMORY, LITTLE_MEMORY, LITTLE_FREE = 12 * GIB, 3 * GIB, 2 * GIB
PORT = 8501
"""Streamlit's own, where nothing else was asked for."""


def judge_python(version: tuple[int, int, int], bits: int, place: str) -> Finding:
    """Whether img2vid runs on this Python."""
    found = f"Python {'.'.join(map(str, version))}, {bits} bits, {place}."
    oldest, newest = (".".join(map(str, one)) for one in (OLDEST, NEWEST))
    if not OLDEST <= version[:2] <= NEWEST:
        return problem("Python", found, f"Install Python {oldest} to {newest}, 64 bits, from https://www.python.org.")
    if bits != 64:
        return problem("Python", found, "Install the 64-bit Python from https://www.python.org; torch has no other.")
    return ok("Python", found)


def check_python() -> Finding:
    """Looks at the Python that runs this."""
    return judge_python(sys.version_info[:3], 64 if sys.maxsize > 2**32 else 32, sys.executable)


def check_packages(requirements: Path) -> Finding:
    """Whether every package of requirements/runtime.txt is installed here."""
    lines = requirements.read_text(encoding="utf-8").splitlines()
    found = (re.match(r"[A-Za-z0-9][\w.-]*", line) for line in lines)
    names = [match[0] for match in found if match]
    missing = [name for name in names if not _is_installed(name)]
    if missing:
        remedy = f"Run `{setup_command()}`."
        return problem("packages", f"Not installed for this Python: {', '.join(missing)}.", remedy)
    return ok("packages", f"All {len(names)} packages of {requirements.name} are installed.")


def _is_installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def judge_memory(total: int, available: int) -> Finding:
    """total, available: bytes of the machine's memory."""
    found = f"{available / GIB:.1f} of {total / GIB:.1f} GiB are free."
    if total < LITTLE_MEMORY:
        return problem("memory", found, "Use a computer with at least 4 GB; the small versions need about 1 GB free.")
    if available < LITTLE_FREE:
        return note("memory", found, "Close other programs before a video is made.")
    if total < ENOUGH_MEMORY:
        remedy = "The small versions are at home here; for a full one use a float16 checkpoint (4.78 GB) and a card."
        return note("memory", found, remedy)
    return ok("memory", found)


def check_memory() -> Finding:
    """Asks the system."""
    import psutil

    memory = psutil.virtual_memory()
    return judge_memory(memory.total, memory.available)


def judge_disk(check: str, folder: Path, free: int) -> Finding:
    """free: bytes. check: "home" is where videos go, everything else a folder of checkpoints."""
    found = f"{free / GB:.1f} GB are free in {folder}."
    if check == "disk: home":
        if free < ONE_VIDEO:
            return problem(check, found, "Free some space, or let IMG2VID_HOME name a folder on another disk.")
        if free < SOME_VIDEOS:
            return note(check, found, "Free some space; videos and what belongs to them take some MB each.")
    elif free < FULL_MODEL:
        return note(check, found, "A full model takes 4.8 to 9.6 GB; IMG2VID_CHECKPOINTS can name another disk.")
    return ok(check, found)


def check_disk(home: Path, checkpoints: Sequence[Path]) -> list[Finding]:
    """Free space where the folders are, or will be; checkpoint folders that do not exist are pointed out."""
    findings = [judge_disk("disk: home", home, shutil.disk_usage(nearest(home)).free)]
    for folder in checkpoints:
        if folder.is_dir():
            findings.append(judge_disk("disk: models", folder, shutil.disk_usage(folder).free))
        else:
            remedy = "Make the folder, or mend IMG2VID_CHECKPOINTS."
            findings.append(note("disk: models", f"There is no folder {folder}.", remedy))
    return findings


def nearest(folder: Path) -> Path:
    """The folder itself, or the nearest one above it that exists."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder


def check_home(home: Path) -> Finding:
    """Really writes a file, since permissions alone say little on Windows; nothing stays behind."""
    place = nearest(home)
    try:
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(b"img2vid")
    except OSError as error:
        found = f"Nothing can be written to {place} ({error.strerror or error})."
        return problem("home", found, "Let IMG2VID_HOME name a folder that you may write to.")
    return ok("home", f"{home} can be written." if home == place else f"{home} can be made in {place}.")


def check_encoder() -> Finding:
    """Encodes a tiny clip in H.264 and reads it back."""
    import numpy as np

    from img2vid.media.videos import read_frames, write_video

    ramp = np.linspace(40, 200, 64, dtype=np.uint8)
    frames = np.stack([np.broadcast_to(np.roll(ramp, 4 * index)[None, :, None], (48, 64, 3)) for index in range(4)])
    with tempfile.TemporaryDirectory() as folder:
        path = write_video(Path(folder) / "clip.mp4", frames, fps=6, metadata={})
        size, back = path.stat().st_size, read_frames(path)
    remedy = f"Run `{setup_command()}`; if that does not help, delete the folder .venv first."
    if back.shape != frames.shape:
        return problem("video encoder", f"A clip of {frames.shape} came back as {back.shape}.", remedy)
    error = float(np.abs(back.astype(float) - frames).mean())
    if error > 8:
        return problem("video encoder", f"A clip came back with other colours, {error:.0f} of 255 off.", remedy)
    return ok("video encoder", f"A clip in H.264 was written ({size / 1000:.1f} kB) and read back.")


def check_port(variable: str | None, dashboard_runs: bool) -> Finding:
    """variable: STREAMLIT_SERVER_PORT. dashboard_runs: whether one is active for this home."""
    if variable and not re.fullmatch(r"\d{1,5}", variable.strip()):
        found = f"STREAMLIT_SERVER_PORT is {variable!r}, which is no port."
        return problem("port", found, "Unset STREAMLIT_SERVER_PORT, or give it a number from 1024 to 65535.")
    port = int(variable) if variable else PORT
    if _answers(port):
        return _taken(port, bool(variable), dashboard_runs)
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as server:
            if os.name != "nt":  # as Streamlit does: a port that was in use a moment ago is free
                server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.bind(("127.0.0.1", port))
    except (OSError, OverflowError) as error:
        if getattr(error, "errno", None) == errno.EADDRINUSE:
            return _taken(port, bool(variable), dashboard_runs)
        found = f"Port {port} cannot be opened ({getattr(error, 'strerror', None) or error})."
        return problem("port", found, "Let STREAMLIT_SERVER_PORT name another one, such as 8600.")
    return ok("port", f"Port {port} is free.")


def _taken(port: int, wanted: bool, dashboard_runs: bool) -> Finding:
    if _is_streamlit(port):
        if dashboard_runs:
            return ok("port", f"A dashboard is running at http://localhost:{port}.")
        found = f"Port {port} is taken by a Streamlit page that is not the dashboard of this home."
    else:
        found = f"Port {port} is taken by another program."
    if wanted:
        return problem("port", found, "Let STREAMLIT_SERVER_PORT name another one, such as 8600, or end that program.")
    return note("port", found, "Nothing has to be done: the dashboard takes the next free port and says which.")


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=2).close()
    except (OSError, OverflowError):
        return False
    return True


def _is_streamlit(port: int) -> bool:
    # Without a proxy: what the system has set for the internet is not for this computer's own addresses.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://127.0.0.1:{port}/_stcore/health", timeout=3) as answer:
            return answer.status == 200 and answer.read(16).strip() == b"ok"
    except (OSError, HTTPException, ValueError):  # URLError is an OSError
        return False
