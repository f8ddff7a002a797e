"""Facts about a computer: nvidia-smi output, storage locations, background polling."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from img2vid.doctor import facts
from img2vid.doctor.facts import Card, Place
from img2vid.doctor.poller import Poller

GIB = 2**30


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize(
    ("line", "card"),
    [
        (
            "NVIDIA GeForce RTX 4090, 551.86, 24576, 1024, 3, 41",
            Card("NVIDIA GeForce RTX 4090", "551.86", 24 * GIB, GIB, 3, 41),
        ),
        (
            "NVIDIA GB10, 580.95.05, [N/A], [N/A], 0, 38",
            Card("NVIDIA GB10", "580.95.05", None, None, 0, 38),
        ),
        (
            "Quadro, special, 391.35, 4096, 0, [Not Supported], 50",
            Card("Quadro, special", "391.35", 4 * GIB, 0, None, 50),
        ),
        ("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver", None),
        ("", None),
    ],
)
def test_a_line_of_nvidia_smi_becomes_a_card(line: str, card: Card | None) -> None:
    assert facts.read_card(line) == card


def test_a_computer_without_the_program_has_no_cards(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert facts.cards() == []


def test_processor_and_memory_are_those_of_this_computer() -> None:
    memory = facts.memory()
    assert 0 < memory.used < memory.total
    assert "core" in facts.processor()
    found = facts.versions()
    assert {"img2vid", "torch", "streamlit", "distributed", "av", "numpy"} <= found.keys()


def test_what_lies_where_is_counted_and_what_is_not_there_is_nothing(tmp_path: Path) -> None:
    home = tmp_path / "home"
    for name, size in {"img2vid.sqlite": 10, "svd/a.mp4": 100, "svd/a.png": 20, "inputs/x.png": 3}.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_bytes(bytes(size))
    (home / "svd" / "loop").symlink_to(home, target_is_directory=True)
    elsewhere = tmp_path / "films"
    found = facts.places(home, "cluster.log", [elsewhere, home / "svd"])
    assert [place for place in found if place.size is not None] == []
    sizes = {place.path: (place.what, place.files) for place in facts.counted(found)}
    assert sizes[home / "svd"] == ("videos", 2)
    assert sizes[elsewhere] == ("videos", 0)
    assert sizes[home / "inputs"] == ("inputs", 1)
    assert sizes[home / "latents"] == ("latents", 0)
    counted = {place.path: place.size for place in facts.counted([Place("home", home), Place("x", home / "svd")])}
    assert counted == {home: 133, home / "svd": 120}


def test_the_disk_of_a_folder_that_is_not_there_yet_is_known(tmp_path: Path) -> None:
    disk = facts.disk(tmp_path / "not" / "there")
    assert disk.total is not None and disk.free is not None and 0 <= disk.free <= disk.total


def test_readers_do_not_wait_and_one_poll_runs_at_a_time() -> None:
    go, looks = threading.Event(), list[int]()

    def look() -> int:
        looks.append(1)
        assert go.wait(30)
        return len(looks)

    watch = Poller(look, every=3600)
    assert watch.latest() is None and watch.latest() is None and watch.is_polling
    go.set()
    until(lambda: not watch.is_polling)
    assert (watch.latest(), watch.last(), len(looks)) == (1, 1, 1)
    watch.poll()
    until(lambda: watch.last() == 2)


def test_a_failing_poll_keeps_the_previous_result() -> None:
    answers: list[int] = [7]
    watch = Poller(lambda: answers.pop(), every=0)
    watch.poll()
    until(lambda: watch.last() == 7)
    watch.poll()
    until(lambda: not watch.is_polling)
    assert watch.last() == 7
