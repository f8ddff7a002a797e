"""Atomic file writes under unique names."""

import ast
import errno
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier, Event

import pytest

from img2vid import files
from img2vid.files import all_or_none, publish, reason, temporary_file, whole_file

SOURCES = Path(files.__file__).parent
IN_OS_OR_SHUTIL = {"unlink", "remove", "rename", "replace", "rmtree", "move", "rmdir", "removedirs", "link"}
IN_USE = PermissionError(errno.EACCES, "Permission denied")


def _publish_text(path: Path, text: str) -> Path:
    with temporary_file(path.parent) as part:
        part.write_text(text, encoding="utf-8")
        return publish(part, path)


def test_whole_file_takes_the_place_of_an_older_one(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "settings.json"
    for text in ("old", "new"):
        with whole_file(path) as part:
            part.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == "new"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt, SystemExit])
def test_interrupted_file_leaves_the_older_one_and_nothing_else(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "settings.json"
    path.write_text("old", encoding="utf-8")
    with pytest.raises(error), whole_file(path) as part:
        part.write_text("half of the n", encoding="utf-8")
        raise error
    assert path.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_all_files_of_a_group_are_deleted_if_the_block_fails(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), all_or_none() as written:
        for suffix in (".mp4", ".png", ".json"):
            written[suffix] = tmp_path / f"a{suffix}"
            if suffix == ".json":
                raise error
            written[suffix].write_bytes(b"new")
    assert not list(tmp_path.iterdir())


def test_new_files_have_the_usual_permissions(tmp_path: Path) -> None:
    """Regression: temporary files are readable only by their owner, but videos must follow the umask."""
    usual = tmp_path / "usual"
    usual.touch()
    path = _publish_text(tmp_path / "video.mp4", "x")
    assert path.stat().st_mode == usual.stat().st_mode


def test_published_files_are_numbered_where_the_name_is_taken(tmp_path: Path) -> None:
    names = [_publish_text(tmp_path / "a.b.mp4", str(index)).name for index in range(3)]
    assert names == ["a.b.mp4", "a.b_2.mp4", "a.b_3.mp4"]
    assert [(tmp_path / name).read_text(encoding="utf-8") for name in names] == ["0", "1", "2"]


def test_a_name_whose_companion_exists_is_skipped(tmp_path: Path) -> None:
    (tmp_path / "video.json").touch()
    with temporary_file(tmp_path) as part:
        assert publish(part, tmp_path / "video.mp4", companions=(".json",)).name == "video_2.mp4"


def test_a_name_that_differs_only_by_case_is_taken(tmp_path: Path) -> None:
    """Both files could not be copied to a Windows disk."""
    assert _publish_text(tmp_path / "Dogs.mp4", "x").name == "Dogs.mp4"
    assert _publish_text(tmp_path / "dogs.mp4", "x").name == "dogs_2.mp4"
    (tmp_path / "CATS.JSON").touch()
    with temporary_file(tmp_path) as part:
        assert publish(part, tmp_path / "cats.mp4", companions=(".json",)).name == "cats_2.mp4"


def test_eight_writers_at_once_get_eight_names(tmp_path: Path) -> None:
    together = Barrier(8)

    def write(number: int) -> list[Path]:
        together.wait()
        return [_publish_text(tmp_path / "video.mp4", f"{number}.{index}") for index in range(5)]

    with ThreadPoolExecutor(8) as pool:
        paths = [path for written in pool.map(write, range(8)) for path in written]
    assert len(set(paths)) == 40
    assert sorted(path.read_text(encoding="utf-8") for path in paths) == sorted(
        f"{number}.{index}" for number in range(8) for index in range(5)
    )
    assert set(tmp_path.iterdir()) == set(paths)


def test_publishing_needs_no_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """exFAT drives and some network shares have no hard links."""

    def refuse(self: Path, target: Path) -> None:
        raise PermissionError("no hard links here")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    assert [_publish_text(tmp_path / "video.mp4", text).name for text in "ab"] == ["video.mp4", "video_2.mp4"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["video.mp4", "video_2.mp4"]


@pytest.fixture
def in_use(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Make pathlib's methods fail as on Windows while another program has a file open, as often as this says."""
    left: dict[str, int] = {}

    def failing(name: str) -> None:
        original = getattr(Path, name)

        def method(self: Path, *arguments: object, **options: object) -> object:
            if left.get(name, 0):
                left[name] -= 1
                raise IN_USE
            return original(self, *arguments, **options)

        monkeypatch.setattr(Path, name, method)

    for name in ("replace", "unlink", "read_bytes", "read_text", "open"):
        failing(name)
    return left


def test_a_file_in_use_for_a_moment_is_not_an_error(tmp_path: Path, in_use: dict[str, int]) -> None:
    path = tmp_path / "tab.json"
    path.write_text("old", encoding="utf-8")
    in_use.update(replace=3, unlink=2, read_bytes=2, read_text=2)
    with whole_file(path) as part:
        part.write_bytes(b"new")
        in_use["open"] = 2
    assert files.read_text(path) == "new"
    assert files.read_bytes(path) == b"new"
    files.remove(path)
    assert list(tmp_path.iterdir()) == []
    assert not any(in_use.values())


def test_a_reader_and_a_writer_of_one_file_never_fail(tmp_path: Path) -> None:
    """Windows refuses to replace a file that is being read; so does the plugin windows_rules."""
    path = tmp_path / "tab.json"
    path.write_bytes(b"0" * 100_000)
    end = Event()

    def read() -> set[int]:
        sizes: set[int] = set()
        while not end.wait(0.002):
            sizes.add(len(files.read_bytes(path)))
        return sizes

    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read)
        try:
            for number in range(50):
                with whole_file(path) as part:
                    part.write_bytes(str(number % 10).encode() * 100_000)
        finally:
            end.set()
    assert reading.result() == {100_000}


def test_a_file_that_stays_in_use_raises_and_leaves_the_older_one(
    tmp_path: Path, in_use: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "PATIENCE", 0.02)
    path = tmp_path / "tab.json"
    path.write_text("old", encoding="utf-8")
    in_use["replace"] = 1000
    with pytest.raises(PermissionError), whole_file(path) as part:
        part.write_text("new", encoding="utf-8")
    assert path.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]


DENIED = """
import os, sys
from pathlib import Path
from img2vid import files

files.time.sleep = lambda seconds: sys.exit(f"retried after {seconds} s")
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
home = Path(sys.argv[1])
for operation in (
    lambda: files.read_bytes(home / "unreadable"),
    lambda: files.read_text(home / "closed" / "file"),
    lambda: files.remove(home / "read_only" / "file"),
    lambda: files.replace(home / "read_only" / "file", home / "read_only" / "other"),
    lambda: files.replace(home / "mine", home / "read_only" / "other"),
):
    try:
        operation()
    except PermissionError as error:
        assert files.reason(error) in ("Permission denied", "it is read-only"), error
    else:
        sys.exit("not denied")
"""


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_a_missing_permission_is_not_retried() -> None:
    """Each unreadable file of an imported folder cost two seconds."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:  # pytest's own folder is closed to other users
        home = Path(folder)
        home.chmod(0o777)
        for name, mode in (("closed", 0o000), ("read_only", 0o555)):
            (home / name).mkdir()
            (home / name / "file").touch()
            (home / name).chmod(mode)
        (home / "unreadable").touch(0o000)
        (home / "mine").touch(0o666)
        subprocess.run([sys.executable, "-c", DENIED, folder], cwd=SOURCES.parent, check=True)
        for name in ("closed", "read_only"):
            (home / name).chmod(0o777)


def test_reasons_differ_for_a_full_disk_a_read_only_file_and_a_file_in_use(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.touch()
    assert reason(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))) == "the disk is full"
    assert reason(PermissionError(errno.EACCES, "Permission denied", str(path))) == "Permission denied"
    path.chmod(0o444)
    assert reason(PermissionError(errno.EACCES, "Permission denied", str(path))) == "it is read-only"
    files.clear_read_only(path)
    shared = PermissionError(errno.EACCES, "Permission denied", str(path))
    shared.winerror = 32  # type: ignore[attr-defined]
    assert reason(shared) == "another program has it open"
    assert reason(ValueError("odd")) == "odd"


def test_a_folder_is_deleted_with_read_only_files(tmp_path: Path) -> None:
    folder = tmp_path / "7-abc"
    (folder / "below").mkdir(parents=True)
    (folder / "below" / "0.mp4").touch(0o444)
    files.remove_folder(folder)
    assert not folder.exists()
    files.remove_folder(folder)


def test_only_this_module_removes_and_renames_files() -> None:
    """A bare call fails on Windows whenever a virus scanner has the file open."""
    bare = [
        f"{path.relative_to(SOURCES)}:{call.lineno}"
        for path in SOURCES.rglob("*.py")
        if path != Path(files.__file__)
        for call in _calls(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert bare == []


def _calls(tree: ast.AST) -> Iterator[ast.Call]:
    """Yield calls that remove or rename a file: such methods of paths, and functions of os and shutil."""
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        owner, name = ast.unparse(node.func.value), node.func.attr
        of_path = name in {"unlink", "rename", "hardlink_to", "rmdir"}
        one_argument = name == "replace" and len(node.args) == 1 and not node.keywords  # of text it takes two
        if of_path or one_argument or (owner in {"os", "shutil"} and name in IN_OS_OR_SHUTIL):
            yield node
