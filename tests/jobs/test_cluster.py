"""Choice of the cluster, environments of its workers, and error messages."""

import os
import socket
import ssl
import sys
import threading
from contextlib import ExitStack, suppress
from pathlib import Path

import psutil
import pytest

from img2vid.errors import BadInput
from img2vid.hardware import Card, Found
from img2vid.jobs import cluster, local_cluster
from img2vid.jobs.cluster import ClusterError, open_cluster, scheduler_address


@pytest.mark.parametrize(
    "address", ["tcp://localhost:8786", "tls://render-1.home:8786", "tcp://10.0.0.7:1", "tls://[fe80::1]:8786"]
)
def test_the_users_scheduler_is_named_by_a_variable(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    assert scheduler_address() is None
    monkeypatch.setenv("IMG2VID_SCHEDULER", f" {address} ")
    assert scheduler_address() == address
    monkeypatch.setenv("IMG2VID_SCHEDULER", "")
    assert scheduler_address() is None


@pytest.mark.parametrize(
    "address", ["localhost:8786", "http://localhost:8786", "tcp://localhost", "tcp://:8786", "yes"]
)
def test_an_invalid_address_is_reported(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("IMG2VID_SCHEDULER", address)
    with pytest.raises(BadInput, match="IMG2VID_SCHEDULER must be like tcp://host:8786 or tls://host:8786, got"):
        scheduler_address()


def test_a_scheduler_that_does_not_answer_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    monkeypatch.setenv("IMG2VID_SCHEDULER", f"tcp://127.0.0.1:{port}")
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 0.2)
    with (
        pytest.raises(ClusterError, match=f"the scheduler tcp://127.0.0.1:{port} does not answer"),
        open_cluster(tmp_path),
    ):
        pytest.fail("there is no cluster")


def test_a_missing_certificate_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMG2VID_SCHEDULER", "tls://127.0.0.1:9")
    with pytest.raises(ClusterError, match="needs a certificate, and none is configured"), open_cluster(tmp_path):
        pytest.fail("there is no cluster")


def test_a_scheduler_that_is_asked_again_and_again_leaves_no_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: each failed connection of Dask's own client leaves a thread behind."""
    monkeypatch.setenv("IMG2VID_SCHEDULER", "tcp://127.0.0.1:9")
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 0.1)
    before = threading.active_count()
    for _ in range(3):
        with pytest.raises(ClusterError), open_cluster(tmp_path):
            pytest.fail("there is no cluster")
    assert threading.active_count() == before


def answer_without_certificate(address: tuple[str, int], encrypt: bool) -> bytes:
    """Return a port's answer to a client without the certificate, b"" if it closes the connection."""
    with suppress(OSError), socket.create_connection(address, timeout=60) as plain:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with context.wrap_socket(plain) if encrypt else plain as link:
            link.sendall(b"GET /health HTTP/1.0\r\n\r\n")
            return link.recv(100)
    return b""


def listening() -> set[tuple[str, int]]:
    """Return the addresses on which the cluster listens: the scheduler's, the nanny's and the worker's."""
    processes = psutil.Process().children(recursive=True)
    found = [link for process in processes for link in process.net_connections(kind="inet")]
    addresses = {(link.laddr.ip, link.laddr.port) for link in found if link.status == psutil.CONN_LISTEN}
    assert len(addresses) == 3
    return addresses


def test_silent_connections_to_the_ports_are_closed(tmp_path: Path) -> None:
    """Regression: connections without a handshake stayed open until the process had no more files."""
    with open_cluster(tmp_path) as opened, ExitStack() as stack:
        assert len(opened.workers()) == 1
        for address in listening():
            links = [
                stack.enter_context(socket.create_connection(address, timeout=60))
                for _ in range(local_cluster.MOST_HANDSHAKES + 20)
            ]
            links[0].sendall(b"\x16\x03\x01\x02\x00\x01")  # half a greeting
            # Those beyond the limit at once, the last one after a while.
            for link in (links[0], links[19], links[-1]):
                with suppress(ConnectionResetError):
                    assert link.recv(1) == b""
        assert len(opened.workers()) == 1


def test_every_port_of_the_local_cluster_needs_the_certificate(tmp_path: Path) -> None:
    with open_cluster(tmp_path) as opened:
        assert len(opened.workers()) == 1, "the worker registers before the address is printed"
        for address in listening():
            assert address[0] == "127.0.0.1"
            assert [answer_without_certificate(address, encrypt) for encrypt in (False, True)] == [b"", b""]


def test_a_cluster_that_does_not_start_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dask").mkdir()
    (tmp_path / "dask" / "__init__.py").write_text("raise SystemExit('a broken dask')", encoding="utf-8")
    monkeypatch.setattr(cluster.paths, "PROJECT", tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(cluster.__file__).parents[2]), *sys.path]))
    with (
        pytest.raises(ClusterError, match=r"the workers did not start; see .*cluster\.log"),
        open_cluster(tmp_path),
    ):
        pytest.fail("there is no cluster")
    assert "a broken dask" in (tmp_path / "cluster.log").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("visible", "installed", "usable", "workers"),
    [
        (None, [], 0, {"local": {}}),
        (None, ["0"], 1, {"local": {}}),
        (None, ["0", "1"], 0, {"local": {}}),
        (None, ["0", "1"], 2, {"cuda:0": {"CUDA_VISIBLE_DEVICES": "0"}, "cuda:1": {"CUDA_VISIBLE_DEVICES": "1"}}),
        ("3,GPU-f0", ["0"], 2, {"cuda:0": {"CUDA_VISIBLE_DEVICES": "3"}, "cuda:1": {"CUDA_VISIBLE_DEVICES": "GPU-f0"}}),
        ("", ["0", "1"], 0, {"local": {}}),
        ("1", ["0", "1"], 1, {"local": {}}),
    ],
)
def test_each_card_has_a_worker_that_sees_no_other(
    monkeypatch: pytest.MonkeyPatch,
    visible: str | None,
    installed: list[str],
    usable: int,
    workers: dict[str, dict[str, str]],
) -> None:
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    cards = tuple(Card("RTX 3060", "551.86", index=int(index)) for index in installed)
    monkeypatch.setattr(local_cluster, "find_cards", lambda: Found(cards))
    monkeypatch.setattr(local_cluster, "_usable_cards", lambda: usable)
    assert local_cluster.worker_environments() == workers
