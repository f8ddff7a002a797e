"""Disks that are full or read-only, and files that are deleted or damaged."""

import os
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress

from faults.server import PICTURE, STAGES, Server
from img2vid.errors import StoreError
from img2vid.jobs.job import State
from img2vid.paths import PROJECT


def disk_full(server: Server) -> None:
    """Fill the disk of the home at each stage; the job may fail with a reason, and space makes the next one run."""
    server.start()
    server.makes_the_next()
    for stage in STAGES:
        server.hold(stage)
        job = server.add()
        server.reaches(job, stage)
        with full(server):
            server.release()
            refused = refusal(server)
            time.sleep(5)
        print(f"    a new job: {refused}", flush=True)
        ended = server.ends(job)
        print(f"full while at {stage}: {ended.state.value}; {ended.error or ended.notice}", flush=True)
        assert ended.state is State.DONE or ended.error
        server.makes_the_next()


@contextmanager
def full(server: Server) -> Generator[None, None, None]:
    """Fill the disk of the home for the block."""
    filler = server.home / "filler"
    with filler.open("wb", buffering=0) as file:
        for _ in range(100):  # each processor of a tmpfs keeps a few free pages
            with suppress(OSError):
                while file.write(bytes(4096)):
                    pass
    try:
        yield
    finally:
        filler.unlink()


def refusal(server: Server) -> str:
    """Return the error of adding a job."""
    try:
        server.add()
    except StoreError as error:
        return str(error)
    return "accepted"


def read_only(server: Server) -> None:
    """Use the command line as an ordinary user, who can read the home but not write it."""
    server.start()
    server.makes_the_next()
    server.kill()
    server.store.close()
    for path in [server.home.parent, *server.home.parent.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    own = os.environ | {"IMG2VID_HOME": str(server.home), "HOME": "/tmp"}
    for command in (["gallery", "list"], ["sample", str(PICTURE)], ["recover"]):
        user = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
        program = [*user, sys.executable, "-m", "img2vid", *command]
        done = subprocess.run(program, cwd=PROJECT, env=own, capture_output=True, text=True, check=False)
        print(f"{command[0]}: exit code {done.returncode}; {done.stderr.strip()[-300:]}", flush=True)
        assert "Traceback" not in done.stderr and "unexpected" not in done.stderr
    server.start()
    server.makes_the_next()


def deleted(server: Server) -> None:
    """Delete or damage files of the home while a job is sampled or decoded."""
    server.start()
    for what in ("latents deleted", "latents damaged", "output folder deleted", "input deleted", "database deleted"):
        server.makes_the_next()
        server.hold("decode")
        job = server.add()
        server.reaches(job, "decode")
        for path in server.home.glob("latents/*"):
            path.unlink() if what == "latents deleted" else path.write_bytes(b"damaged")
        if what == "output folder deleted":
            for path in (server.home / "svd_tiny").iterdir():
                path.unlink()
            (server.home / "svd_tiny").rmdir()
            server.done.clear()
        if what == "input deleted":
            job.picture.unlink()
        if what == "database deleted":
            server.store.close()
            for path in server.home.glob("img2vid.sqlite*"):
                path.unlink()
            server.done.clear()
        server.release()
        if what != "database deleted":
            ended = server.ends(job)
            print(f"{what}: {ended.state.value}; {ended.error or ended.notice}", flush=True)
            assert ended.state is State.DONE or ended.error
            job.picture.parent.mkdir(exist_ok=True)
    server.makes_the_next()
    print("database deleted: the next job runs; `img2vid recover` lists the earlier videos", flush=True)
