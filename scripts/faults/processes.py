"""Processes that are killed, and many jobs in one."""

import os
import subprocess
import sys

from faults.server import PATIENCE, PICTURE, STAGES, Server
from img2vid.jobs.job import State
from img2vid.paths import PROJECT


def kills(server: Server, count: int) -> None:
    """Kill in each stage in turn, every fifth time only the worker."""
    server.start()
    for number in range(count):
        stage, worker = STAGES[number % len(STAGES)], number % 5 == 4
        server.makes_the_next()
        server.hold(stage)
        job = server.add()
        server.reaches(job, stage)
        server.kill(worker=worker)
        server.release()
        if not worker:
            assert server.store.job(job.id).state is State.RUNNING
            assert not list(server.home.rglob(f"*seed{job.settings.seed}.*"))
            server.start()
        ended = server.ends(job)
        assert ended.state is (State.DONE if worker else State.INTERRUPTED) and (worker or ended.error)
        print(
            f"{number + 1} {stage}, {'worker' if worker else 'dashboard'}: {ended.state.value}; {ended.error}",
            flush=True,
        )
    server.makes_the_next()


def together(server: Server) -> None:
    """Run two dashboards and commands on one home, then kill the active dashboard."""
    server.start()
    server.makes_the_next()
    first, second = server.process, Server(server.home)
    second.start()
    own = os.environ | {"IMG2VID_HOME": str(server.home), "OMP_NUM_THREADS": "1"}
    small = ["--height", "64", "--width", "64", "--num-frames", "3", "--num-steps", "2"]
    command = [sys.executable, "-m", "img2vid", "sample", str(PICTURE), *small, "--seed"]
    samples = [subprocess.Popen([*command, str(seed)], cwd=PROJECT, env=own) for seed in (901, 902)]
    for _ in range(4):
        server.makes_the_next()
    assert [one.wait(PATIENCE) for one in samples] == [0, 0]
    server.kill()
    assert first is not None and not first.is_running()
    server.makes_the_next()
    print("the second dashboard runs the jobs of the first", flush=True)
    second.kill()
    second.store.close()


def jobs(server: Server, count: int) -> None:
    """Run many jobs and compare the worker's memory after a sixth of them with that at the end."""
    server.start()
    sizes: list[int] = []
    for _ in range(count):
        server.makes_the_next()
        assert server.process is not None
        workers = server.process.children(recursive=True)
        (worker,) = (one for one in workers if "multiprocessing.spawn" in " ".join(one.cmdline()))
        sizes.append(worker.memory_info().rss)
    before, after = sizes[count // 6], sizes[-1]
    print(f"worker memory: {before / 1e6:.0f} MB after {count // 6 + 1} jobs, {after / 1e6:.0f} MB after {count}")
    assert after < 1.05 * before
