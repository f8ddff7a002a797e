"""Downloads from a faulty server: they resume or end with an error, and no invalid file is ever installed."""

import errno
import hashlib
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from file_server import (
    FileServer,
    Part,
    checkpoint_bytes,
    drip,
    drop_after,
    give,
    hold_after,
    redirect,
    serve,
    status,
    without_ranges,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from img2vid.checkpoints.download import Timeouts, broken_of, download, part_of
from img2vid.checkpoints.progress import Progress
from img2vid.checkpoints.sources import find_source
from img2vid.errors import BadInput, Cancelled, CheckpointError, Img2VidError
from img2vid.file_lock import HomeLock
from img2vid.versions import ModelVersion

Fetch = Callable[..., Path]
Make = Callable[..., Timeouts]


@pytest.fixture
def fetch(version: ModelVersion, patience: Make) -> Fetch:
    """Return a function that downloads the version's checkpoint."""

    def run(on_progress: Any = lambda progress: None, of: ModelVersion = version, **how: Any) -> Path:
        source = find_source(of, how.pop("given", None), how.pop("mirror", None), how.pop("token", None))
        return download(of, source, on_progress, patience(**how))

    return run


def names(folder: Path) -> set[str]:
    """Return the names in the folder, except lock files."""
    return {path.name for path in folder.iterdir() if not path.name.endswith(".lock")}


def right(path: Path, server: FileServer, folder: Path) -> bool:
    """Return True if the file is complete and alone in the folder."""
    return path == folder / "model.safetensors" and path.read_bytes() == server.data and names(folder) == {path.name}


def test_a_download_is_asked_of_the_repository_and_counted(fetch: Fetch, server: FileServer, project: Path) -> None:
    seen: list[Progress] = []
    assert right(fetch(seen.append), server, project)
    assert server.requests[0][0] == "/owner/model/resolve/main/model.safetensors"
    assert {progress.stage for progress in seen} == {"download"}
    assert (seen[0].done, seen[-1].done, seen[-1].total) == (0, len(server.data), len(server.data))


def test_what_is_there_is_not_fetched_again(fetch: Fetch, server: FileServer) -> None:
    fetch()
    fetch()
    assert len(server.requests) == 1


# Connections that break


def test_a_broken_connection_goes_on_where_it_broke(fetch: Fetch, server: FileServer, project: Path) -> None:
    server.script = [drop_after(100_000), drop_after(200_000), serve]
    assert right(fetch(), server, project)
    assert server.ranges() == [None, "bytes=100000-", "bytes=300000-"]


def test_a_server_without_ranges_restarts_the_download(fetch: Fetch, server: FileServer, project: Path) -> None:
    server.script = [drop_after(100_000), without_ranges]
    assert right(fetch(), server, project)


def test_retries_end_if_a_server_without_ranges_keeps_disconnecting(
    fetch: Fetch, server: FileServer, project: Path
) -> None:
    """Every attempt receives bytes, but never more than the one before; this must end."""
    server.script = [drop_after(100_000 - 10 * n, ranges=False) for n in range(30)]
    with pytest.raises(Img2VidError, match=r"\(4 attempts\).*are kept"):
        fetch()
    assert "model.safetensors" not in names(project)
    server.script = []
    assert right(fetch(), server, project)


def test_a_connection_on_which_nothing_comes_counts_as_broken(fetch: Fetch, server: FileServer, project: Path) -> None:
    server.script = [hold_after(50_000)]
    assert right(fetch(timeout=0.3), server, project)
    assert server.ranges() == [None, "bytes=50000-"]


def test_slow_bytes_are_waited_for(fetch: Fetch, server: FileServer, project: Path) -> None:
    server.script = [drip(4000)]
    assert right(fetch(), server, project)
    assert len(server.requests) == 1


def test_pauses_grow_and_end_with_a_sentence(fetch: Fetch, server: FileServer, pauses: list[float]) -> None:
    server.script = [status(503)] * 9
    with pytest.raises(Img2VidError, match=r"answers HTTP 503 \(4 attempts\); check the network and the proxy"):
        fetch()
    assert len(server.requests) == 4
    assert sum(pauses) == pytest.approx(1 + 2 + 4)


def test_no_server_at_all_is_a_sentence(fetch: Fetch, server: FileServer) -> None:
    with pytest.raises(Img2VidError, match=r"no connection to 127\.0\.0\.1:1/owner/model \(.+\) \(4 attempts\)"):
        fetch(mirror="http://127.0.0.1:1")


def test_a_download_that_ended_is_taken_up_by_the_next(
    fetch: Fetch, server: FileServer, project: Path, version: ModelVersion
) -> None:
    part_of(project / "model.safetensors").write_bytes(server.data[:123_456])
    seen: list[Progress] = []
    assert right(fetch(seen.append), server, project)
    assert server.ranges() == ["bytes=123456-"]
    assert seen[0].stage == "check"


def test_cancelling_keeps_what_has_arrived(fetch: Fetch, server: FileServer, project: Path) -> None:
    server.script = [hold_after(300_000)]

    def stop(progress: Progress) -> None:
        if progress.done:
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        fetch(stop, timeout=0.3)
    assert names(project) <= {"model.safetensors.part"}
    assert right(fetch(), server, project)


# Wrong files


def test_a_wrong_file_is_kept_aside_and_never_in_place(
    fetch: Fetch, server: FileServer, project: Path, version: ModelVersion
) -> None:
    wrong = bytes(len(server.data))
    server.script = [give(wrong)]
    with pytest.raises(CheckpointError, match=r"its SHA-256 is [0-9a-f]{64}, expected .*moved to .*\.broken"):
        fetch()
    aside = broken_of(project / "model.safetensors")
    assert names(project) == {aside.name}
    assert aside.read_bytes() == wrong
    assert version.checkpoint_path is None
    fetch()
    assert version.checkpoint_path is not None


def test_a_part_that_is_wrong_is_found_out(fetch: Fetch, server: FileServer, project: Path) -> None:
    part_of(project / "model.safetensors").write_bytes(bytes(1000))
    with pytest.raises(CheckpointError, match="SHA-256"):
        fetch()
    assert names(project) == {"model.safetensors.broken"}


def test_a_partial_file_that_is_too_long_is_discarded(fetch: Fetch, server: FileServer, project: Path) -> None:
    part_of(project / "model.safetensors").write_bytes(server.data + b"more")
    assert right(fetch(), server, project)
    assert server.ranges() == [f"bytes={len(server.data) + 4}-", None]


def test_a_part_that_is_whole_only_lacks_its_name(fetch: Fetch, server: FileServer, project: Path) -> None:
    part_of(project / "model.safetensors").write_bytes(server.data)
    assert right(fetch(), server, project)


@pytest.mark.parametrize("claimed", [10, 5_000_000_000])
def test_a_file_of_quite_another_length_is_refused_before_it_comes(
    fetch: Fetch, server: FileServer, project: Path, claimed: int
) -> None:
    server.script = [give(b"<html>sign in</html>", claimed=claimed)]
    with pytest.raises(CheckpointError, match=rf"has {claimed:,} bytes, but model.safetensors has"):
        fetch()
    assert not names(project)


def test_a_length_that_is_a_little_short_is_found_out(fetch: Fetch, server: FileServer, project: Path) -> None:
    server.script = [give(server.data, claimed=len(server.data) - 100)]
    with pytest.raises(CheckpointError, match="SHA-256"):
        fetch()
    assert "model.safetensors" not in names(project)


def test_a_length_that_is_never_reached_ends_with_what_is_there(
    fetch: Fetch, server: FileServer, project: Path
) -> None:
    """The server claims more bytes than it has, and answers a request for the rest with 416."""
    server.script = [give(server.data, claimed=len(server.data) + 100)]
    assert right(fetch(), server, project)


def test_without_a_checksum_the_header_must_be_right(
    fetch: Fetch, server: FileServer, project: Path, version: ModelVersion
) -> None:
    unknown = version.model_copy(update={"sha256": None, "bytes": None})
    server.script = [give(b"<html>sign in first</html>" * 99)]
    with pytest.raises(CheckpointError, match=r"is not a \.safetensors file.*moved to"):
        fetch(of=unknown)
    assert names(project) == {"model.safetensors.broken"}
    fetch(of=unknown)
    assert (project / "model.safetensors").read_bytes() == server.data


def test_without_a_checksum_two_files_are_never_mixed(
    fetch: Fetch, server: FileServer, project: Path, version: ModelVersion
) -> None:
    """The server's file changes during the download; a mix of both would look complete."""
    unknown = version.model_copy(update={"sha256": None, "bytes": None})
    part_of(project / "model.safetensors").write_bytes(server.data[:1000])

    def exchange(handler: Any) -> None:
        old = handler.begin()
        server.data, server.mark = checkpoint_bytes(500), '"two"'
        handler.wfile.write(old[:200_000])
        handler.connection.shutdown(socket.SHUT_RDWR)

    server.script = [exchange]
    assert right(fetch(of=unknown), server, project)
    assert server.ranges() == [None, "bytes=200000-", None]


# Refusals


@pytest.mark.parametrize(
    ("code", "token", "words"),
    [
        (
            401,
            None,
            r"access to .* requires accepting its license: sign in, open .*/owner/model and agree",
        ),
        (403, None, r"requires accepting its license.*HF_TOKEN, enter it after adding --token"),
        (
            401,
            "hf_x",
            r"rejected the token; create one of type Read at https://huggingface\.co/settings/tokens",
        ),
        (403, "hf_x", r"has no access to .* yet: open .*/owner/model with that account"),
        (404, None, r"http.*/resolve/main/model\.safetensors was not found \(HTTP 404\)"),
        (418, None, r"cannot download .*\(HTTP 418\)"),
    ],
)
def test_a_refusal_says_what_to_do(
    fetch: Fetch, server: FileServer, project: Path, code: int, token: str | None, words: str
) -> None:
    server.script = [status(code)]
    with pytest.raises(Img2VidError, match=words):
        fetch(token=token)
    assert len(server.requests) == 1
    assert not names(project)


def test_a_server_that_asks_to_wait_is_waited_for(
    fetch: Fetch, server: FileServer, project: Path, pauses: list[float]
) -> None:
    server.script = [drop_after(100_000), status(429, Retry_After="7")]
    seen: list[Progress] = []
    assert right(fetch(seen.append), server, project)
    assert sum(pauses) == pytest.approx(1 + 7)
    assert any("asks to wait; retrying in 7 s" in progress.note for progress in seen)
    assert server.ranges() == [None, "bytes=100000-", "bytes=100000-"]


def test_a_date_to_wait_for_that_is_past_is_no_wait(fetch: Fetch, server: FileServer, pauses: list[float]) -> None:
    server.script = [status(429, Retry_After="Wed, 21 Oct 2015 07:28:00 GMT")]
    fetch()
    assert not pauses


def test_a_long_wait_requested_by_the_server_is_reported(fetch: Fetch, server: FileServer) -> None:
    server.script = [status(429, Retry_After="3600")]
    with pytest.raises(Img2VidError, match="asks to wait, 60 minutes"):
        fetch()


# Tokens and other sources


def test_a_token_goes_to_the_server_it_is_for_and_to_no_other(fetch: Fetch, server: FileServer, project: Path) -> None:
    other = FileServer(server.data)
    other.start()
    try:
        server.script = [redirect("/moved", code=307), redirect(f"{other.url}/store/blob")]
        assert right(fetch(token="hf_secret"), server, project)
    finally:
        other.stop()
    assert [headers.get("authorization") for _, headers in server.requests] == ["Bearer hf_secret"] * 2
    assert [headers.get("authorization") for _, headers in other.requests] == [None]


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_moved_file_is_followed_with_the_range(fetch: Fetch, server: FileServer, project: Path, code: int) -> None:
    part_of(project / "model.safetensors").write_bytes(server.data[:1000])
    server.script = [redirect("/moved", code=code)]
    assert right(fetch(), server, project)
    assert server.ranges() == ["bytes=1000-"] * 2


def test_a_file_on_the_disk_is_copied_and_checked(
    fetch: Fetch, server: FileServer, project: Path, tmp_path: Path
) -> None:
    own = tmp_path / "mine.safetensors"
    own.write_bytes(server.data)
    assert right(fetch(given=str(own)), server, project)
    assert own.is_file() and not server.requests


def test_a_wrong_file_on_the_disk_is_refused(fetch: Fetch, server: FileServer, project: Path, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(server.data[::-1])
    with pytest.raises(CheckpointError, match="SHA-256"):
        fetch(given=str(tmp_path))
    assert names(project) == {"model.safetensors.broken"}


# Disk and other processes


def test_room_is_looked_for_before_anything_is_asked(
    fetch: Fetch, server: FileServer, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 9, 1))  # type: ignore[attr-defined]
    with pytest.raises(BadInput, match=r"not enough disk space in .* for svd_xt: 0\.00 GB needed.*free some space"):
        fetch()
    assert not server.requests


def test_another_folder_is_taken_where_the_first_is_full(
    fetch: Fetch, server: FileServer, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "large").mkdir()
    monkeypatch.setenv("IMG2VID_CHECKPOINTS", str(tmp_path / "large"))
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage if path.name == "large" else usage._replace(free=1))
    assert fetch() == tmp_path / "large" / "model.safetensors"


def test_a_disk_that_fills_up_keeps_what_has_arrived(
    fetch: Fetch, server: FileServer, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.script = [drop_after(100_000)]
    opened = Path.open

    class Full:
        def __init__(self, file: Any) -> None:
            self.file = file

        def __enter__(self) -> "Full":
            return self

        def __exit__(self, *exception: object) -> None:
            self.file.close()

        def write(self, data: bytes) -> None:
            if self.file.tell() + len(data) > 200_000:
                raise OSError(errno.ENOSPC, "No space left on device")
            self.file.write(data)

    with monkeypatch.context() as patched:
        patched.setattr(
            Path, "open", lambda path, mode="r": Full(opened(path, mode)) if mode == "ab" else opened(path, mode)
        )
        with pytest.raises(Img2VidError, match=r"cannot write .* \(the disk is full\); .* are kept"):
            fetch()
    assert names(project) == {"model.safetensors.part"}
    assert right(fetch(), server, project)


def test_two_programs_do_not_fetch_one_file(fetch: Fetch, server: FileServer, project: Path) -> None:
    lock = HomeLock(project, ".model.safetensors.lock")
    assert lock.acquire()
    with pytest.raises(BadInput, match=r"another process is already downloading model\.safetensors"):
        fetch()
    lock.release()
    assert right(fetch(), server, project)


SCRIPTED = st.one_of(
    st.integers(0, 400_000).map(drop_after),
    st.integers(0, 400_000).map(lambda count: drop_after(count, ranges=False)),
    st.sampled_from([429, 500, 503]).map(status),
    st.just(without_ranges),
    st.just(redirect("/moved")),
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(script=st.lists(SCRIPTED, max_size=6))
def test_whatever_happens_the_file_is_right_or_not_there(
    fetch: Fetch, server: FileServer, project: Path, script: list[Part]
) -> None:
    for path in project.iterdir():
        path.unlink()
    server.script = list(script)
    place = project / "model.safetensors"
    try:
        assert right(fetch(), server, project)
    except Img2VidError:
        assert not place.exists()
    server.script = []
    fetch()
    assert hashlib.sha256(place.read_bytes()).digest() == hashlib.sha256(server.data).digest()
