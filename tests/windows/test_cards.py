"""Parsing of nvidia-smi: recorded output, old drivers and failures."""

import pytest
from machines import found
from windows.cards import Card, capability_of, find_cards, nvidia_smi


def test_a_card_is_read_with_driver_memory_and_capability() -> None:
    assert found("rtx-4090").cards == (Card("NVIDIA GeForce RTX 4090", (551, 86), 24564, (8, 9)),)


def test_every_card_is_read() -> None:
    names = [card.name for card in found("laptop-two-cards").cards]
    assert names == ["NVIDIA GeForce RTX 4060 Laptop GPU", "NVIDIA GeForce RTX 5070 Ti"]


def test_an_old_driver_is_asked_again_and_the_card_is_told_by_its_name() -> None:
    assert found("old-driver").cards == (Card("GeForce GTX 1080 Ti", (441, 66), 11264, (6, 1)),)


def test_a_card_reads_as_one_line() -> None:
    assert str(Card("RTX 3060", (516, 4), 12288, (8, 6))) == "RTX 3060, 12.0 GiB, compute capability 8.6, driver 516.04"
    assert "compute capability unknown" in str(Card("GRID X", (516, 4), 0, None))


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
        (15, "0, Half A Card, 551.86, 24564, 8.9\n", "nvidia-smi reported: 0, Half A Card, 551.86, 24564, 8.9"),
    ],
)
def test_without_cards_the_reason_is_what_nvidia_smi_says(code: int, output: str, reason: str) -> None:
    result = find_cards(lambda _: (code, output))
    assert (result.cards, result.reason) == ((), reason)


def test_what_a_driver_does_not_tell_is_no_error() -> None:
    (card,) = find_cards(lambda _: (0, "0, GRID Some Card, 551.86, [N/A], [N/A]\n")).cards
    assert (card.memory, card.capability) == (0, None)


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
def test_cards_are_told_by_name(name: str, capability: tuple[int, int] | None) -> None:
    assert capability_of(name) == capability


def test_a_computer_without_nvidia_smi_has_no_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert nvidia_smi() is None
    assert "nvidia-smi is missing" in find_cards().reason


def test_a_program_that_does_not_start_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("windows.cards.nvidia_smi", lambda: "/nowhere/nvidia-smi")
    assert "/nowhere/nvidia-smi" in find_cards().reason
