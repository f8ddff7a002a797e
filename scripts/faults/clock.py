"""Jumps of the clock of a running dashboard, by the library of clock.c."""

import subprocess
import time
from pathlib import Path

from faults.server import Server
from img2vid.errors import Img2VidError
from img2vid.file_lock import is_held
from img2vid.gallery.entries import Entries, Filter
from img2vid.gallery.trash import Trash
from img2vid.jobs.job import State

JUMPS = (86_400, -3600, 0)
"""Seconds from the right time."""


def clock(server: Server) -> None:
    """Let the clock jump by a day forward, to an hour back, and to the right time while a job is sampled.

    Other jobs wait meanwhile, a video is in the trash, and the dashboard is killed once under the wrong time.
    """
    folder = server.home.parent
    library, jump = folder / "clock.so", folder / "jump"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, Path(__file__).with_name("clock.c")], check=True)
    jump.write_text("0")
    faked = {"LD_PRELOAD": str(library), "IMG2VID_CLOCK": str(jump)}
    server.start(**faked)
    server.makes_the_next()
    trash = Trash(server.store)
    trash.put([Entries(server.store).find()[0].number])
    server.done.clear()
    for seconds in JUMPS:
        jumped(server, jump, seconds)
        server.makes_the_next()
    jump.write_text("-3600")
    server.kill()
    server.start(**faked)
    server.makes_the_next()
    (deleted,) = Entries(server.store).find(Filter(deleted=True))
    try:
        trash.restore([deleted.number])
    except Img2VidError as error:
        raise SystemExit(f"the video in the trash was lost: {error}") from error
    print("the trash keeps its video, the dashboard starts an hour back", flush=True)


def jumped(server: Server, jump: Path, seconds: int) -> None:
    """Let the clock jump while a job is sampled and two others wait."""
    server.hold("sample")
    running, *waiting = (server.add() for _ in range(3))
    server.reaches(running, "sample")
    jump.write_text(str(seconds))
    server.hold("decode")
    server.reaches(running, "decode")
    event = server.store.progress(running.id)
    assert event is not None
    shown = event.by(time.time() + seconds)
    print(f"{seconds} s: elapsed {shown.elapsed:.0f} s, left {shown.seconds_left}", flush=True)
    assert shown.elapsed < 600 and (shown.seconds_left or 0) < 600
    assert is_held(server.home), "the dashboard keeps its lock"
    server.release()
    ended = [server.ends(job) for job in (running, *waiting)]
    assert [job.state for job in ended] == [State.DONE] * 3
    assert (ended[1].started or 0) <= (ended[2].started or 0), "in the order of the queue"
    with server.open() as session:
        session.go("Gallery")
        assert not session.errors(), session.errors()
    server.done += ended
