"""Home lock: one service across processes, released when its process dies."""

import subprocess
import sys
from pathlib import Path

from img2vid.file_lock import HomeLock, is_held

HOLD = """
import sys
from pathlib import Path
from img2vid.file_lock import HomeLock
lock = HomeLock(Path(sys.argv[1]))
print(lock.acquire(), flush=True)
sys.stdin.read()
"""


def test_one_at_a_time_holds_it(tmp_path: Path) -> None:
    home = tmp_path / "home"
    first, second = HomeLock(home), HomeLock(home)
    assert not is_held(home)
    assert not home.exists()
    assert first.acquire()
    assert first.acquire()
    assert not second.acquire()
    assert is_held(home)
    first.release()
    first.release()
    assert not is_held(home)
    assert second.acquire()
    assert not first.acquire()
    second.release()


def test_a_killed_process_releases_the_lock(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"
        assert is_held(tmp_path)
        assert not HomeLock(tmp_path).acquire()
        process.kill()
    lock = HomeLock(tmp_path)
    assert lock.acquire()
    lock.release()
