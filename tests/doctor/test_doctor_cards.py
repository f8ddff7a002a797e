"""Findings about torch, GPU and driver, from facts recorded on different machines."""

import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from img2vid import paths
from img2vid.doctor import cards
from img2vid.doctor.cards import SeenCard, TorchFacts
from img2vid.doctor.report import Finding, State
from img2vid.hardware import Card

GIB = 2**30
CU118 = ("sm_50", "sm_60", "sm_70", "sm_75", "sm_80", "sm_86", "sm_90")
CU128 = ("sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120", "compute_120")
NO_IMAGE = "CUDA error: no kernel image is available for execution on the device"


def facts(**changes: Any) -> TorchFacts:
    """Return facts of torch 2.7.1 for CUDA 11.8 without a GPU, with the given changes."""
    usual: dict[str, Any] = {
        "version": "2.7.1+cu118",
        "cuda": "11.8",
        "hip": None,
        "architectures": [],
        "unavailable": "",
        "cpu_fault": "",
        "mps": False,
        "cards": [],
    }
    return TorchFacts.of({**usual, **changes})


def seen(
    name: str, capability: tuple[int, int], fault: str = "", total: int = 24, free: int | None = 23
) -> dict[str, Any]:
    return {
        "name": name,
        "capability": list(capability),
        "memory": total * GIB,
        "free": None if free is None else free * GIB,
        "fault": fault,
    }


RTX_4090 = Card("NVIDIA GeForce RTX 4090", "551.86", capability=(8, 9))
RTX_5090 = Card("NVIDIA GeForce RTX 5090", "572.16", capability=(12, 0))
GTX_1080 = Card("NVIDIA GeForce GTX 1080", "566.36", capability=(6, 1))
K40 = Card("Tesla K40", "470.256.02", capability=(3, 5))


def only(findings: list[Finding]) -> Finding:
    (finding,) = findings
    return finding


# torch


def test_a_torch_that_computes_is_ok() -> None:
    finding = cards.judge_torch(facts(), "", [])
    assert finding == Finding("torch", State.OK, "torch 2.7.1+cu118 (CUDA 11.8) works on the CPU.")


def test_a_cpu_build_on_a_machine_with_a_gpu_is_a_problem_with_a_command_as_remedy() -> None:
    finding = cards.judge_torch(facts(version="2.15.0+cpu", cuda=None), "", [RTX_4090])
    assert finding.state is State.PROBLEM
    assert finding.found == ("torch 2.15.0+cpu (CPU only) cannot use the NVIDIA GeForce RTX 4090.")
    assert finding.remedy == (
        f'Run `"{sys.executable}" -m pip install torch==2.7.1+cu118 torchvision==0.22.1+cu118 '
        "--index-url https://download.pytorch.org/whl/cu118`."
    )


@pytest.mark.parametrize(
    ("system", "installed", "driver", "fits"),
    [
        ("linux", False, "580.65", True),
        ("linux", False, "570.1", False),
        ("linux", True, "580.65", False),
        ("win32", False, "580.65", False),
    ],
)
def test_set_up_replaces_its_cpu_build_if_the_default_one_fits(
    system: str, installed: bool, driver: str, fits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(paths, "IS_INSTALLED", installed)
    card = Card("NVIDIA GeForce RTX 4090", driver, capability=(8, 9))
    remedy = cards.judge_torch(facts(version="2.15.0+cpu", cuda=None), "", [card]).remedy
    assert (remedy == "Run `python3 scripts/run.py --setup-only --torch cuda`.") == fits
    assert fits or "pip install torch" in remedy


def test_a_build_for_the_processor_without_a_card_is_ok() -> None:
    assert cards.judge_torch(facts(version="2.15.0+cpu", cuda=None), "", []).state is State.OK


def test_a_build_for_amd_is_named() -> None:
    assert "(ROCm 6.4)" in cards.judge_torch(facts(cuda=None, hip="6.4"), "", []).found


def test_a_torch_that_computes_wrongly_is_a_problem() -> None:
    finding = cards.judge_torch(facts(cpu_fault="expected 16 and 36, computed 0 and 36"), "", [])
    assert finding.state is State.PROBLEM
    assert "delete the folder .venv" in finding.remedy


@pytest.mark.parametrize(
    ("reason", "remedy"),
    [
        ("OSError: [WinError 126] Error loading c10.dll", "Install Microsoft's Visual C++ runtime"),
        ("ImportError: DLL load failed while importing _C", "Install Microsoft's Visual C++ runtime"),
        ("ModuleNotFoundError: No module named 'open_clip'", "Install the missing package: "),
        ("RuntimeError: operator torchvision::nms does not exist", "torch and torchvision come from different builds"),
        ("Python was killed by signal 11 during this check", "Reinstall: "),
    ],
)
def test_a_failing_import_of_torch_is_explained(reason: str, remedy: str) -> None:
    finding = cards.judge_torch(None, reason, [])
    assert finding.state is State.PROBLEM
    assert finding.found == f"torch or one of its dependencies cannot be imported: {reason}."
    assert finding.remedy.startswith(remedy)


@pytest.mark.parametrize(
    ("platform", "remedy"),
    [("win32", "run install_windows.cmd"), ("linux", "run `python3 scripts/run.py --setup-only`")],
)
def test_the_reinstall_command_depends_on_the_operating_system(
    platform: str, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    assert cards.judge_torch(None, "it is torn", []).remedy == f"Reinstall: delete the folder .venv and {remedy}."


# The card


def test_a_card_that_computes_is_ok_whatever_the_list_of_architectures_says() -> None:
    """A build can run on a GPU that its list omits, such as an RTX 40xx with code for RTX 30xx."""
    machine = facts(architectures=("sm_37",), cards=[seen("NVIDIA GeForce RTX 4090", (8, 9))])
    finding = only(cards.judge_cards(machine, [RTX_4090], None))
    assert finding == Finding(
        "graphics card",
        State.OK,
        "NVIDIA GeForce RTX 4090 (compute capability 8.9, driver 551.86) computes correctly in float16.",
    )


def test_a_card_newer_than_the_build_needs_cu128_though_torch_says_that_it_is_available() -> None:
    machine = facts(architectures=CU118, cards=[seen("NVIDIA GeForce RTX 5090", (12, 0), NO_IMAGE, free=None)])
    finding = only(cards.judge_cards(machine, [RTX_5090], None))
    assert finding.state is State.PROBLEM
    assert finding.found == (
        "torch 2.7.1+cu118 (CUDA 11.8) does not support NVIDIA GeForce RTX 5090 (compute capability 12.0, "
        f"driver 572.16). It supports {', '.join(CU118)}."
    )
    assert "torch==2.11.0+cu128 torchvision==0.26.0+cu128" in finding.remedy
    assert finding.remedy.endswith("--index-url https://download.pytorch.org/whl/cu128`.")


def test_a_card_older_than_the_build_needs_cu118() -> None:
    machine = facts(
        version="2.15.0",
        cuda="13.2",
        architectures=CU128,
        cards=[seen("NVIDIA GeForce GTX 1080", (6, 1), NO_IMAGE, 8)],
    )
    finding = only(cards.judge_cards(machine, [GTX_1080], None))
    assert finding.state is State.PROBLEM
    assert "torch==2.7.1+cu118" in finding.remedy


def test_for_a_card_that_no_build_serves_there_is_the_processor() -> None:
    machine = facts(architectures=CU118, cards=[seen("Tesla K40", (3, 5), NO_IMAGE, 12)])
    assert "`--device cpu`" in only(cards.judge_cards(machine, [K40], None)).remedy


@pytest.mark.parametrize(
    ("fault", "remedy"),
    [
        ("CUDA error: unspecified launch failure", cards.RESTART),
        ("CUDA out of memory. Tried to allocate 2.00 MiB", "Close other programs that use the GPU."),
    ],
)
def test_a_card_that_fails_for_another_reason_is_a_problem_with_that_reason(fault: str, remedy: str) -> None:
    machine = facts(architectures=CU118, cards=[seen("NVIDIA GeForce RTX 4090", (8, 9), fault)])
    finding = only(cards.judge_cards(machine, [RTX_4090], None))
    assert finding.state is State.PROBLEM
    assert finding.found.endswith(f"failed a test computation: {fault}.")
    assert finding.remedy == remedy


def test_every_card_is_judged() -> None:
    machine = facts(architectures=CU118, cards=[seen("one", (8, 6)), seen("two", (12, 0), NO_IMAGE)])
    assert [card.state for card in cards.judge_cards(machine, [], None)] == [State.OK, State.PROBLEM]


@pytest.mark.parametrize(
    ("cuda", "driver", "platform", "floor"),
    [
        ("13.2", "551.86", "win32", "580"),
        ("12.8", "516.94", "win32", "527.41"),
        ("12.8", "515.105.01", "linux", "525.60.13"),
        ("11.8", "452.06", "win32", "452.39"),
        ("11.8", "450.51.06", "linux", "450.80.2"),
    ],
)
def test_a_driver_that_is_too_old_is_named_with_the_one_that_would_do(
    cuda: str, driver: str, platform: str, floor: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    card = Card("NVIDIA GeForce RTX 3060", driver, capability=(8, 6))
    finding = only(cards.judge_cards(facts(cuda=cuda), [card], None))
    assert finding.state is State.PROBLEM
    assert finding.found.endswith(f"is too old for CUDA {cuda}, which needs {floor} or newer.")
    assert finding.remedy.startswith("Install the newest driver from https://www.nvidia.com/drivers")
    assert ("+cu118" in finding.remedy) is not cuda.startswith("11"), "an older build is offered where it would do"


@pytest.mark.parametrize(
    ("cuda", "driver", "platform"),
    [
        ("13.2", "580.88", "win32"),
        ("12.8", "527.41", "win32"),
        ("12.8", "525.60.13", "linux"),
        ("11.8", "551.86", "linux"),
    ],
)
def test_a_driver_that_is_new_enough_is_not_blamed(
    cuda: str, driver: str, platform: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    card = Card("NVIDIA GeForce RTX 3060", driver, capability=(8, 6))
    machine = facts(cuda=cuda, unavailable="CUDA initialization: unknown error")
    finding = only(cards.judge_cards(machine, [card], None))
    assert finding.state is State.PROBLEM
    assert finding.found == (
        f"torch does not detect the NVIDIA GeForce RTX 3060 (driver {driver}): CUDA initialization: unknown error."
    )
    assert finding.remedy == cards.RESTART


@pytest.mark.parametrize("hidden", ["", "-1"])
def test_a_card_that_the_user_hides_is_a_note(hidden: str) -> None:
    finding = only(cards.judge_cards(facts(), [RTX_4090], hidden))
    assert finding.state is State.NOTE
    assert "CUDA_VISIBLE_DEVICES" in finding.found


def test_a_machine_without_a_card_is_a_note() -> None:
    finding = only(cards.judge_cards(facts(), [], None))
    assert (finding.state, finding.found.startswith("No NVIDIA GPU found")) == (State.NOTE, True)


def test_an_apple_chip_is_a_note() -> None:
    finding = only(cards.judge_cards(facts(cuda=None, mps=True), [], None))
    assert (finding.state, finding.remedy) == (State.NOTE, "Pass `--device mps` to use it.")


@pytest.mark.parametrize("machine", [None, facts(cuda=None)])
def test_a_card_that_torch_cannot_try_is_left_to_the_finding_about_torch(machine: TorchFacts | None) -> None:
    finding = only(cards.judge_cards(machine, [RTX_4090], None))
    assert finding == Finding(
        "graphics card", State.NOTE, "Not tested: NVIDIA GeForce RTX 4090.", "Fix the torch problem above first."
    )


# Its memory


@pytest.mark.parametrize(
    ("total", "free", "state", "words"),
    [
        (24, 23, State.OK, ""),
        (24, 9, State.NOTE, "Close other programs"),
        (12, 11, State.OK, ""),
        (8, 7, State.OK, ""),
        (6, 5, State.NOTE, "set decode_t to 7"),
        (4, 3, State.NOTE, "Use a small version"),
        (24, None, State.NOTE, "Fix the GPU problem above first"),
    ],
)
def test_the_memory_of_a_card(total: int, free: int | None, state: State, words: str) -> None:
    finding = cards.judge_card_memory(SeenCard.of(seen("a card", (8, 6), "", total, free)))
    assert finding.state is state
    assert words in finding.remedy
    assert bool(finding.remedy) is (state is not State.OK)


# Builds and the GPUs that they support


@pytest.mark.parametrize(
    ("architectures", "capability", "expected"),
    [
        (CU118, (8, 9), True),  # binary code of the same generation
        (CU118, (6, 1), True),
        (CU118, (12, 0), False),
        (CU128, (12, 0), True),
        (CU128, (12, 1), True),
        (CU128, (6, 1), False),
        (("sm_80", "compute_80"), (12, 0), True),  # intermediate code runs on all newer GPUs
        (("sm_90a",), (9, 0), True),
        (("sm_100a",), (10, 3), False),  # only for that GPU
        (("sm_100f",), (10, 3), True),  # for the whole family
        (("gfx90a", "nonsense"), (9, 0), False),
        ((), (9, 0), False),
    ],
)
def test_which_build_serves_which_card(
    architectures: tuple[str, ...], capability: tuple[int, int], expected: bool
) -> None:
    assert cards.serves(architectures, capability) is expected


@given(major=st.integers(5, 13), built=st.integers(0, 9), minor=st.integers(0, 9))
def test_binary_code_serves_its_own_generation_upwards_and_nothing_else(major: int, built: int, minor: int) -> None:
    names = [f"sm_{major}{built}"]
    assert cards.serves(names, (major, minor)) is (minor >= built)
    assert not cards.serves(names, (major + 1, minor))
    assert not cards.serves(names, (major - 1, minor))
