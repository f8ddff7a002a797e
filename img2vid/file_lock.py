"""One service for each home: a lock that ends with the process that holds it, however that ends."""

import os
import sys
from pathlib import Path

if sys.platform == "win32":
    import msvcrt

    def _try_lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _try_lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


FILE_NAME = "desk.lock"


class HomeLock:
    """Held by at most one object on this machine at a time; not for threads to share."""

    def __init__(self, home: Path, name: str = FILE_NAME) -> None:
        self._path = home / name
        self._descriptor: int | None = None

    def acquire(self) -> bool:
        """Takes the lock if nobody holds it; returns whether this object holds it now."""
        if self._descriptor is not None:
            return True
        self._path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            _try_lock(descriptor)
        except OSError:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        """Lets go of it; the file stays, as deleting it could cut somebody else's lock off."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def is_held(home: Path) -> bool:
    """Whether a service is active for this home; makes nothing."""
    if not (home / FILE_NAME).is_file():
        return False
    lock = HomeLock(home)
    held = not lock.acquire()
    lock.release()
    return held
