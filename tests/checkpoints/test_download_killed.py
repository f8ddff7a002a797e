"""Resuming a download after its process was killed."""

import os
import subprocess
import sys
import time
from pathlib import Path

from file_server import FileServer, hold_after

from img2vid.checkpoints.download import download, part_of
from img2vid.checkpoints.sources import find_source
from img2vid.paths import PROJECT
from img2vid.versions import ModelVersion

PATIENCE = 60.0
PROGRAM = """
import sys
from img2vid.checkpoints.download import download
from img2vid.checkpoints.sources import find_source
from img2vid.versions import ModelVersion
version = ModelVersion.model_validate_json(sys.argv[1])
download(version, find_source(version))
"""


def test_a_killed_download_goes_on(version: ModelVersion, server: FileServer, project: Path) -> None:
    server.script = [hold_after(400_000)]
    # The subprocess uses another checkpoint folder; an absolute path in the row is the same for both.
    there = version.model_copy(update={"checkpoint": str(project / "model.safetensors")})
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "HF_HOME": str(project.parent)}
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, there.model_dump_json()], env=environment)
    part = part_of(project / "model.safetensors")
    deadline = time.monotonic() + PATIENCE
    while not part.is_file() or part.stat().st_size == 0:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    process.wait()
    arrived = part.stat().st_size
    assert 0 < arrived <= 400_000
    assert download(there, find_source(there)).read_bytes() == server.data
    assert server.ranges() == [None, f"bytes={arrived}-"]
    assert not part.exists()
