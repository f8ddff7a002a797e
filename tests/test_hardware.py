"""Parsing of nvidia-smi, the drivers that CUDA needs, and an import that needs no installed package."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from processes import write_program

from img2vid import hardware
from img2vid.hardware import Card, Found, capability_of, find_cards, nvidia_smi, old_driver, read_card
from img2vid.paths import PROJECT

GIB = 2**30
LINE = "0, 551.86, 24576, 1024, 3, 41, 8.9, NVIDIA GeForce RTX 4090"
RTX_4090 = Card("NVIDIA GeForce RTX 4090", "551.86", 24 * GIB, GIB, 3, 41, (8, 9), 0)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (LINE, RTX_4090),
        (
            "1, 580.95.05, [N/A], [N/A], 0, 38, [N/A], NVIDIA GB10",
            Card("NVIDIA GB10", "580.95.05", None, None, 0, 38, None, 1),
        ),
        (
            "0, 391.35, 4096, 0, [Not Supported], 50, 6.1, Quadro, special",
            Card("Quadro, special", "391.35", 4 * GIB, 0, None, 50, (6, 1), 0),
        ),
        (
            "0, 470.256.02, 1, 0, 0, 50, 3.5, Tesla K40",
            Card("Tesla K40", "470.256.02", 2**20, 0, 0, 50, (3, 5), 0),
        ),
        ("NVIDIA-SMI has failed because it couldn't communicate, with, the, driver, a, b, c, d, e", None),
        ("No devices were found", None),
        ("", None),
    ],
)
def test_a_line_of_nvidia_smi_is_read(line: str, expected: Card | None) -> None:
    assert read_card(line) == expected


def test_every_card_is_read() -> None:
    cards = find_cards(lambda _: (0, f"{LINE}\n{LINE.replace('0', '1', 1)}\n")).cards
    assert [card.index for card in cards] == [0, 1]


def test_an_old_driver_is_queried_again_and_the_card_matched_by_name() -> None:
    asked: list[str] = []

    def ask(arguments: list[str]) -> tuple[int, str]:
        asked.append(arguments[0])
        if "compute_cap" in arguments[0]:
            return 2, 'Field "compute_cap" is not a valid field to query.\n\n'
        return 0, "0, 441.66, 11264, 0, 0, 40, GeForce GTX 1080 Ti\n"

    (card,) = find_cards(ask).cards
    assert (card.driver, card.total, card.capability) == ("441.66", 11 * GIB, (6, 1))
    assert len(asked) == 2


def test_a_card_reads_as_one_line() -> None:
    card = Card("RTX 3060", "516.04", 12 * GIB, capability=(8, 6))
    assert str(card) == "RTX 3060, 12.0 GiB, compute capability 8.6, driver 516.04"
    assert "0.0 GiB, compute capability unknown" in str(Card("GRID X", "516.04"))


@pytest.mark.parametrize(
    ("code", "output", "reason"),
    [
        (0, "No devices were found\n", "nvidia-smi reported: No devices were found"),
        (
            9,
            "NVIDIA-SMI has failed because it\n couldn't",
            "nvidia-smi reported: NVIDIA-SMI has failed because it couldn't",
        ),
        (1, "", "nvidia-smi reported: no output, exit code 1"),
        (15, LINE, f"nvidia-smi reported: {LINE}"),
    ],
)
def test_without_cards_the_reason_is_what_nvidia_smi_says(code: int, output: str, reason: str) -> None:
    assert find_cards(lambda _: (code, output)) == Found((), reason)


@pytest.mark.parametrize(
    ("name", "capability"),
    [
        ("GeForce GTX 750 Ti", (5, 0)),
        ("GeForce GTX 970", (5, 2)),
        ("GeForce GTX 1050", (6, 1)),
        ("TITAN Xp", (6, 1)),
        ("GeForce GTX 1660 SUPER", (7, 5)),
        ("Quadro RTX 4000", (7, 5)),
        ("GeForce RTX 2070", (7, 5)),
        ("GeForce RTX 3090", (8, 6)),
        ("NVIDIA RTX A5000", (8, 6)),
        ("NVIDIA GeForce RTX 4090", (8, 9)),
        ("NVIDIA GeForce RTX 5090", (12, 0)),
        ("Something Else", None),
    ],
)
def test_cards_are_matched_by_name(name: str, capability: tuple[int, int] | None) -> None:
    assert capability_of(name) == capability


def test_a_computer_without_nvidia_smi_has_no_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert nvidia_smi() is None
    assert "nvidia-smi is missing" in find_cards().reason


def test_the_drivers_program_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    write_program(tmp_path, "nvidia-smi", shell=f"echo '{LINE}'", batch=f"echo {LINE}")
    assert find_cards() == Found((RTX_4090,))
    write_program(tmp_path, "nvidia-smi", shell="echo broken >&2; exit 9", batch="echo broken>&2\nexit /b 9")
    assert find_cards() == Found((), "nvidia-smi reported: broken")


def test_a_program_that_hangs_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = write_program(tmp_path, "nvidia-smi", shell="exec sleep 60", batch=":again\ngoto again")
    monkeypatch.setattr(hardware, "nvidia_smi", lambda: str(program))
    monkeypatch.setattr(hardware, "TIMEOUT", 0.1)
    assert "timed out" in find_cards().reason


def test_a_program_that_does_not_start_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "nvidia_smi", lambda: "/nowhere/nvidia-smi")
    assert re.search("No such file|cannot find|not found", find_cards().reason)


@given(st.lists(st.integers(0, 999), min_size=1, max_size=3), st.sampled_from(["11.8", "12.6", "13.0"]), st.booleans())
def test_a_driver_is_too_old_exactly_below_the_floor(driver: list[int], cuda: str, windows: bool) -> None:
    floor = hardware.DRIVERS[int(cuda[:2])][windows]
    given_driver = ".".join(map(str, driver))
    expected = floor if tuple(driver) < tuple(map(int, floor.split("."))) else None
    assert old_driver(cuda, given_driver, windows) == expected
    assert old_driver(f"cu{cuda.replace('.', '')}", given_driver, windows) == expected


@pytest.mark.parametrize("cuda", ["14.0", "9.2", "", "cpu"])
def test_a_cuda_that_is_not_in_the_table_is_not_judged_by_its_driver(cuda: str) -> None:
    assert old_driver(cuda, "1.0", windows=False) is None


@pytest.mark.parametrize(
    "arguments", [["-c", "import img2vid.hardware"], ["scripts/setup_windows.py", "install", "--help"]]
)
def test_neither_it_nor_the_windows_installer_needs_an_installed_package(arguments: list[str]) -> None:
    done = subprocess.run([sys.executable, "-S", *arguments], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
