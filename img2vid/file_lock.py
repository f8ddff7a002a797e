"""File lock that allows one active service per home. The operating system releases it when the process exits."""

from pathlib import Path

from filelock import FileLock, Timeout

FILE_NAME = "desk.lock"


class HomeLock:
    """Lock held by at most one object per machine. Not thread-safe."""

    def __init__(self, home: Path, name: str = FILE_NAME) -> None:
        self._lock = FileLock(home / name, timeout=0, mode=0o600, thread_local=False)

    def acquire(self) -> bool:
        """Acquire the lock if it is free; return True if this object holds it now."""
        if self._lock.is_locked:
            return True
        Path(self._lock.lock_file).parent.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire()  # pyright: ignore[reportUnknownMemberType]
        except Timeout:
            return False
        return True

    def release(self) -> None:
        """Release the lock; does nothing if this object does not hold it."""
        self._lock.release()


def is_held(home: Path) -> bool:
    """Return True if a service is active for this home. Creates no file."""
    if not (home / FILE_NAME).is_file():
        return False
    lock = HomeLock(home)
    held = not lock.acquire()
    lock.release()
    return held
