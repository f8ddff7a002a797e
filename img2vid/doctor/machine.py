"""Checks besides the GPU: Python, packages, memory, disk, home folder, video encoder, dashboard port."""

import errno
import importlib.metadata
import os
import re
import shutil
import socket
import sys
import tempfile
import urllib.request
from collections.abc import Mapping, Sequence
from http.client import HTTPException
from pathlib import Path

from img2vid import NEWEST, OLDEST, SUPPORTED, paths, windows
from img2vid.doctor.report import Finding, note, ok, problem
from img2vid.errors import AUTOMATIC_PAGING_FILE
from img2vid.remedies import setup_command

GIB = 2**30
GB = 10**9
FULL_MODEL = 10 * GB
"""Bytes of a full model's checkpoint, with a margin."""
SOME_VIDEOS = 2 * GB
ONE_VIDEO = GB // 5
ENOUGH_MEMORY, LITTLE_MEMORY, LITTLE_FREE = 12 * GIB, 3 * GIB, 2 * GIB
BESIDES_WEIGHTS = 4 * GIB
"""Estimated bytes of Python, torch with CUDA and a clip."""
PORT = 8501
"""Streamlit's default port."""


def judge_python(version: tuple[int, int, int], bits: int, place: str) -> Finding:
    """Judge whether img2vid runs on this Python. bits: 32 or 64; place: path of the interpreter."""
    found = f"Python {'.'.join(map(str, version))}, {bits}-bit, {place}."
    if version[:2] < OLDEST:
        return problem("Python", found, f"Install 64-bit Python {SUPPORTED} from https://www.python.org.")
    if bits != 64:
        return problem("Python", found, "Install 64-bit Python from https://www.python.org; torch requires it.")
    if version[:2] > NEWEST:
        return note("Python", found, f"img2vid is tested with Python {SUPPORTED}. Use one of these if it fails.")
    return ok("Python", found)


def check_python() -> Finding:
    """Check the running Python."""
    return judge_python(sys.version_info[:3], 64 if sys.maxsize > 2**32 else 32, sys.executable)


def check_packages(requirements: Path) -> Finding:
    """Check that every package listed in requirements/runtime.txt is installed."""
    lines = requirements.read_text(encoding="utf-8").splitlines()
    found = (re.match(r"[A-Za-z0-9][\w.-]*", line) for line in lines)
    names = [match[0] for match in found if match]
    missing = [name for name in names if not _is_installed(name)]
    remedy = f"Run `{setup_command()}`."
    if fault := paths.setup_fault():
        return problem("packages", f"{fault[0].upper()}{fault[1:]}.", remedy)
    if missing:
        return problem("packages", f"Not installed for this Python: {', '.join(missing)}.", remedy)
    return ok("packages", f"All {len(names)} packages of {requirements.name} are installed.")


def _is_installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def judge_memory(total: int, available: int) -> Finding:
    """Judge the computer's memory. total, available: bytes."""
    found = f"{available / GIB:.1f} of {total / GIB:.1f} GiB free."
    if total < LITTLE_MEMORY:
        return problem("memory", found, "Use a computer with at least 4 GB. The small versions need about 1 GB free.")
    if available < LITTLE_FREE:
        return note("memory", found, "Close other programs before you make a video.")
    if total < ENOUGH_MEMORY:
        remedy = "Use a small version. For a full one, use a float16 checkpoint (4.78 GB) and a GPU."
        return note("memory", found, remedy)
    return ok("memory", found)


def check_memory() -> Finding:
    """Check this computer's memory."""
    import psutil

    memory = psutil.virtual_memory()
    return judge_memory(memory.total, memory.available)


def judge_commit_limit(limit: int, grows: bool, checkpoints: Mapping[str, int]) -> Finding:
    """Compare the bytes that Windows lets all programs allocate with what the installed versions need.

    grows: whether Windows enlarges the paging file. checkpoints: file sizes by version. Windows reserves memory for the
    whole file while it is read, and the weights in half precision wait in memory for the GPU.
    """
    found = f"Memory and paging file together hold {limit / GIB:.1f} GiB."
    needs = {name: size * 3 // 2 + BESIDES_WEIGHTS for name, size in checkpoints.items()}
    short = [name for name, need in needs.items() if need > limit]
    if not short:
        return ok("paging file", found)
    if grows:
        return ok("paging file", f"{found} Windows enlarges the paging file when needed.")
    found += f" {' and '.join(short)} may need {max(needs[name] for name in short) / GIB:.0f} GiB."
    return note("paging file", found, f"{AUTOMATIC_PAGING_FILE[0].upper()}{AUTOMATIC_PAGING_FILE[1:]}.")


def check_commit_limit(checkpoints: Mapping[str, int]) -> list[Finding]:
    """Check the paging file, on Windows only."""
    limit = windows.commit_limit()
    return [] if limit is None else [judge_commit_limit(limit, windows.paging_file_grows(), checkpoints)]


def judge_disk(check: str, folder: Path, free: int) -> Finding:
    """Judge the free space of a folder. check: "disk: home" for videos, else for checkpoints; free: bytes."""
    found = f"{free / GB:.1f} GB free in {folder}."
    if check == "disk: home":
        if free < ONE_VIDEO:
            return problem(check, found, "Free some space, or set IMG2VID_HOME to a folder on another disk.")
        if free < SOME_VIDEOS:
            return note(check, found, "Free some space. Each video and its files take several MB.")
    elif free < FULL_MODEL:
        return note(check, found, "A full model takes 4.8 to 9.6 GB. Set IMG2VID_CHECKPOINTS to use another disk.")
    return ok(check, found)


def check_disk(home: Path, checkpoints: Sequence[Path]) -> list[Finding]:
    """Check the free space of the home, which need not exist, and of the checkpoint folders; note missing ones."""
    findings = [judge_disk("disk: home", home, shutil.disk_usage(nearest(home)).free)]
    for folder in checkpoints:
        if folder.is_dir() or folder == paths.user_folder() / "checkpoints":  # created by the first download
            findings.append(judge_disk("disk: models", folder, shutil.disk_usage(nearest(folder)).free))
        else:
            remedy = "Create the folder, or correct IMG2VID_CHECKPOINTS."
            findings.append(note("disk: models", f"The folder {folder} does not exist.", remedy))
    return findings


def nearest(folder: Path) -> Path:
    """Return the folder, or its nearest existing parent."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder


def check_home(home: Path) -> Finding:
    """Check that the home is writable by writing a temporary file; permission bits mean little on Windows."""
    place = nearest(home)
    try:
        paths.try_writing(home, place)
    except OSError as error:
        found = f"Cannot write to {place} ({error.strerror or error})."
        return problem("home", found, "Set IMG2VID_HOME to a writable folder.")
    return ok("home", f"{home} is writable." if home == place else f"{home} can be created in {place}.")


def check_encoder() -> Finding:
    """Encode a tiny clip in H.264 and read it back."""
    import numpy as np

    from img2vid.media.videos import read_frames, write_video

    ramp = np.linspace(40, 200, 64, dtype=np.uint8)
    frames = np.stack([np.broadcast_to(np.roll(ramp, 4 * index)[None, :, None], (48, 64, 3)) for index in range(4)])
    with tempfile.TemporaryDirectory() as folder:
        path = write_video(Path(folder) / "clip.mp4", frames, fps=6, metadata={})
        size, back = path.stat().st_size, read_frames(path)
    remedy = f"Run `{setup_command()}`. If that does not help, delete the folder .venv and run it again."
    if back.shape != frames.shape:
        return problem("video encoder", f"A clip of {frames.shape} was read back as {back.shape}.", remedy)
    error = float(np.abs(back.astype(float) - frames).mean())
    if error > 8:
        return problem("video encoder", f"A clip was read back with wrong colors, off by {error:.0f} of 255.", remedy)
    return ok("video encoder", f"Wrote an H.264 clip ({size / 1000:.1f} kB) and read it back.")


def check_port(variable: str | None, dashboard_runs: bool) -> Finding:
    """Check the dashboard's port.

    variable: value of STREAMLIT_SERVER_PORT, if set. dashboard_runs: whether a dashboard runs for this home.
    """
    if variable and not re.fullmatch(r"\d{1,5}", variable.strip()):
        found = f"STREAMLIT_SERVER_PORT is {variable!r}, not a port number."
        return problem("port", found, "Unset STREAMLIT_SERVER_PORT, or set it to a number from 1024 to 65535.")
    port = int(variable) if variable else PORT
    if _answers(port):
        return _taken(port, bool(variable), dashboard_runs)
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as server:
            if os.name != "nt":  # as Streamlit does, so that a recently closed port counts as free
                server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.bind(("127.0.0.1", port))
    except (OSError, OverflowError) as error:
        if getattr(error, "errno", None) == errno.EADDRINUSE:
            return _taken(port, bool(variable), dashboard_runs)
        found = f"Port {port} cannot be opened ({getattr(error, 'strerror', None) or error})."
        return problem("port", found, "Set STREAMLIT_SERVER_PORT to another port, such as 8600.")
    return ok("port", f"Port {port} is free.")


def _taken(port: int, wanted: bool, dashboard_runs: bool) -> Finding:
    if _is_streamlit(port):
        if dashboard_runs:
            return ok("port", f"A dashboard is running at http://localhost:{port}.")
        found = f"Port {port} is in use by a Streamlit app other than the dashboard of this home."
    else:
        found = f"Port {port} is in use by another program."
    if wanted:
        return problem("port", found, "Set STREAMLIT_SERVER_PORT to another port, such as 8600, or stop that program.")
    return note("port", found, "No action needed. The dashboard uses the next free port and prints its address.")


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=2).close()
    except (OSError, OverflowError):
        return False
    return True


def _is_streamlit(port: int) -> bool:
    # No proxy: the system's proxy settings must not apply to local addresses.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://127.0.0.1:{port}/_stcore/health", timeout=3) as answer:
            return answer.status == 200 and answer.read(16).strip() == b"ok"
    except (OSError, HTTPException, ValueError):  # URLError is an OSError
        return False
