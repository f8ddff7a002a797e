"""Checks besides the GPU, in each state."""

import http.server
import os
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from img2vid import paths, windows
from img2vid.doctor import machine
from img2vid.doctor.report import State
from img2vid.media import videos

GIB, GB = 2**30, 10**9


# Python and its packages


@pytest.mark.parametrize(
    ("version", "bits", "state", "words"),
    [
        ((3, 10, 0), 64, State.OK, ""),
        ((3, 13, 9), 64, State.OK, ""),
        ((3, 9, 18), 64, State.PROBLEM, "Python 3.10 to 3.14"),
        ((3, 14, 1), 64, State.OK, ""),
        ((3, 15, 0), 64, State.NOTE, "tested with Python 3.10 to 3.14"),
        ((3, 11, 7), 32, State.PROBLEM, "64-bit"),
    ],
)
def test_python(version: tuple[int, int, int], bits: int, state: State, words: str) -> None:
    finding = machine.judge_python(version, bits, "/somewhere/python")
    assert finding.state is state
    assert words in finding.remedy
    assert finding.found.startswith(f"Python {version[0]}.{version[1]}.{version[2]}, {bits}-bit, /somewhere/python")


def test_the_python_of_the_tests_is_ok() -> None:
    assert machine.check_python().state is State.OK


def test_a_package_that_is_not_installed_is_named(tmp_path: Path) -> None:
    file = tmp_path / "runtime.txt"
    file.write_text(
        "# what is needed\nnumpy>=1.26\n\nno_such-package.at_all>=2 ; python_version > '3'\n", encoding="utf-8"
    )
    finding = machine.check_packages(file)
    assert finding.state is State.PROBLEM
    assert finding.found == "Not installed for this Python: no_such-package.at_all."
    assert "--setup-only" in finding.remedy


def test_an_environment_that_was_moved_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "setup_fault", lambda: "the environment was moved here from /old")
    (tmp_path / "runtime.txt").touch()
    finding = machine.check_packages(tmp_path / "runtime.txt")
    assert (finding.state, finding.found) == (State.PROBLEM, "The environment was moved here from /old.")
    assert "--setup-only" in finding.remedy


def test_packages_that_are_there_are_counted(tmp_path: Path) -> None:
    file = tmp_path / "runtime.txt"
    file.write_text("numpy>=1.26\nPyYAML>=6\n", encoding="utf-8")
    assert machine.check_packages(file).found == "All 2 packages of runtime.txt are installed."


# Memory and disk


@pytest.mark.parametrize(
    ("total", "available", "state", "words"),
    [
        (32, 20, State.OK, ""),
        (32, 1, State.NOTE, "Close other programs"),
        (8, 5, State.NOTE, "float16"),
        (2, 1, State.PROBLEM, "at least 4 GB"),
    ],
)
def test_memory(total: int, available: int, state: State, words: str) -> None:
    finding = machine.judge_memory(total * GIB, available * GIB)
    assert finding.state is state
    assert words in finding.remedy
    assert finding.found == f"{available}.0 of {total}.0 GiB free."


@pytest.mark.parametrize(
    ("limit", "grows", "size", "words"),
    [
        (24, False, 10 * GB, ""),
        (16, False, 10 * GB, "svd_xt may need 18 GiB."),
        (16, True, 10 * GB, "Windows enlarges the paging file when needed."),
        (16, False, 5 * GB, ""),
    ],
)
def test_the_commit_limit_is_compared_with_the_largest_version(limit: int, grows: bool, size: int, words: str) -> None:
    finding = machine.judge_commit_limit(limit * GIB, grows, {"svd_tiny": 1000, "svd_xt": size})
    assert finding.state is (State.NOTE if "may need" in words else State.OK)
    assert finding.found == f"Memory and paging file together hold {limit}.0 GiB. {words}".strip()
    assert finding.remedy.startswith("Set the size of the paging file to automatic") is (finding.state is State.NOTE)


def test_the_commit_limit_is_checked_on_windows_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "commit_limit", lambda: None)
    assert machine.check_commit_limit({"svd": 10 * GB}) == []
    monkeypatch.setattr(windows, "commit_limit", lambda: 8 * GIB)
    assert [finding.state for finding in machine.check_commit_limit({"svd": 10 * GB})] == [State.NOTE]


@pytest.mark.parametrize(
    ("files", "automatic"),
    [
        (["?:\\pagefile.sys"], True),
        (["C:\\pagefile.sys 0 0"], True),
        (["C:\\pagefile.sys 1024 4096", "D:\\pagefile.sys 0 0"], True),
        (["C:\\pagefile.sys 1024 4096"], False),
        (["C:\\pagefile.sys 1000 1000"], False),
        ([], False),
    ],
)
def test_a_paging_file_is_automatic_or_has_fixed_sizes(files: list[str], automatic: bool) -> None:
    assert windows.is_automatic(files) is automatic


@pytest.mark.parametrize(
    ("check", "free", "state"),
    [
        ("disk: home", 5 * GB, State.OK),
        ("disk: home", GB, State.NOTE),
        ("disk: home", GB // 10, State.PROBLEM),
        ("disk: models", 11 * GB, State.OK),
        ("disk: models", 9 * GB, State.NOTE),
        ("disk: models", 0, State.NOTE),
    ],
)
def test_disk(check: str, free: int, state: State) -> None:
    finding = machine.judge_disk(check, Path("folder"), free)
    assert finding.state is state
    assert bool(finding.remedy) is (state is not State.OK)


def test_every_folder_is_checked_and_a_missing_one_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Path] = []

    def usage(folder: Path) -> Any:
        asked.append(Path(folder))
        return shutil._ntuple_diskusage(100 * GB, 50 * GB, 50 * GB)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    (tmp_path / "models").mkdir()
    findings = machine.check_disk(tmp_path / "home" / "of" / "mine", [tmp_path / "models", tmp_path / "gone"])
    assert [(finding.check, finding.state) for finding in findings] == [
        ("disk: home", State.OK),
        ("disk: models", State.OK),
        ("disk: models", State.NOTE),
    ]
    assert findings[2].found == f"The folder {tmp_path / 'gone'} does not exist."
    assert asked == [tmp_path, tmp_path / "models"]
    assert [path.name for path in tmp_path.iterdir()] == ["models"], "nothing is made"


def test_a_home_that_can_be_written_is_ok_and_stays_empty(tmp_path: Path) -> None:
    assert machine.check_home(tmp_path).found == f"{tmp_path} is writable."
    assert (
        machine.check_home(tmp_path / "new" / "er").found == f"{tmp_path / 'new' / 'er'} can be created in {tmp_path}."
    )
    assert list(tmp_path.iterdir()) == []


def test_a_home_that_is_a_file_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "home").touch()
    finding = machine.check_home(tmp_path / "home" / "below")
    assert finding.state is State.PROBLEM
    assert "IMG2VID_HOME" in finding.remedy


def test_a_home_that_refuses_is_a_problem_with_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "write_bytes", refuse)
    finding = machine.check_home(tmp_path)
    assert (finding.state, finding.found) == (
        State.PROBLEM,
        f"Cannot write to {tmp_path} (Permission denied).",
    )


def test_a_missing_home_may_be_in_a_folder_that_takes_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Regression: as in C:\\, where users may create folders alone."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    for name in ("open", "write_bytes"):
        monkeypatch.setattr(Path, name, refuse)
    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    assert machine.check_home(tmp_path / "new").state is State.OK


# The encoder


def test_a_clip_is_really_encoded_and_read_back(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    finding = machine.check_encoder()
    assert finding.state is State.OK
    assert finding.found.startswith("Wrote an H.264 clip (")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("back", "words"),
    [
        (np.zeros((3, 48, 64, 3), np.uint8), "was read back as (3, 48, 64, 3)"),
        (np.zeros((4, 48, 64, 3), np.uint8), "was read back with wrong colors"),
    ],
)
def test_a_clip_that_differs_when_read_back_is_a_problem(
    back: videos.Frame, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(videos, "read_frames", lambda path: back)
    finding = machine.check_encoder()
    assert finding.state is State.PROBLEM
    assert words in finding.found


# The port


@pytest.fixture
def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


class Health(http.server.BaseHTTPRequestHandler):
    """HTTP handler that answers like Streamlit."""

    answer = b"ok"

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/_stcore/health" else 404)
        self.end_headers()
        self.wfile.write(self.answer)

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@pytest.fixture
def streamlit_port() -> Iterator[int]:
    server = http.server.HTTPServer(("127.0.0.1", 0), Health)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def silent_port() -> Iterator[int]:
    """Port of a server that does not speak HTTP."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.sendall(b"220 hello\r\n")

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR) if os.name != "nt" else None


def test_a_free_port_is_ok(free_port: int) -> None:
    assert machine.check_port(str(free_port), False).found == f"Port {free_port} is free."


@pytest.mark.parametrize("variable", [None, ""])
def test_the_default_is_streamlits_port(variable: str | None, free_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "PORT", free_port)
    assert machine.check_port(variable, False).found == f"Port {free_port} is free."


def test_a_running_dashboard_is_ok(streamlit_port: int) -> None:
    finding = machine.check_port(str(streamlit_port), True)
    assert (finding.state, finding.found) == (
        State.OK,
        f"A dashboard is running at http://localhost:{streamlit_port}.",
    )


def test_a_proxy_is_not_asked_about_this_computer(streamlit_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert machine.check_port(str(streamlit_port), True).state is State.OK


def test_another_streamlit_page_on_a_port_that_was_asked_for_is_a_problem(streamlit_port: int) -> None:
    finding = machine.check_port(str(streamlit_port), False)
    assert finding.state is State.PROBLEM
    assert "Streamlit app other than the dashboard" in finding.found


def test_another_program_on_the_default_port_is_a_note(silent_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "PORT", silent_port)
    finding = machine.check_port(None, True)
    assert (finding.state, finding.found) == (State.NOTE, f"Port {silent_port} is in use by another program.")
    assert machine.check_port(str(silent_port), True).state is State.PROBLEM


def test_a_port_that_windows_keeps_for_itself_is_a_problem(free_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    class Refusing(socket.socket):
        def bind(self, address: Any, /) -> None:
            raise PermissionError(13, "access forbidden")

    monkeypatch.setattr(machine.socket, "socket", Refusing)
    finding = machine.check_port(str(free_port), False)
    assert (finding.state, finding.found) == (
        State.PROBLEM,
        f"Port {free_port} cannot be opened (access forbidden).",
    )


def test_a_port_that_is_bound_and_does_not_answer_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        assert machine.check_port(str(port), False).found == f"Port {port} is in use by another program."


@pytest.mark.parametrize("variable", ["eight", "-1", "123456", "8501.5"])
def test_a_variable_that_names_no_port_is_a_problem(variable: str) -> None:
    finding = machine.check_port(variable, False)
    assert finding.state is State.PROBLEM
    assert finding.remedy.startswith("Unset STREAMLIT_SERVER_PORT")


@pytest.mark.parametrize("variable", ["70000", "99999"])
def test_a_number_that_no_port_has_is_a_problem(variable: str) -> None:
    finding = machine.check_port(variable, False)
    assert finding.state is State.PROBLEM
    assert "cannot be opened" in finding.found
