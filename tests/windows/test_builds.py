"""Choice of the torch build by GPU and driver."""

import pytest
from windows.builds import CHOICES, PREFERRED, TRITON, choose, triton_for

from img2vid.hardware import BUILDS, Card

NEW = "576.52"


def card(capability: tuple[int, int] | None, driver: str = NEW, memory: int = 8192) -> Card:
    return Card(f"Card {capability}", driver, memory, capability=capability)


@pytest.mark.parametrize(
    ("capability", "driver", "tag"),
    [
        ((6, 1), NEW, "cu126"),
        ((6, 1), "526.98", "cu118"),
        ((7, 0), NEW, "cu126"),
        ((7, 5), NEW, "cu128"),
        ((7, 5), "580.88", "cu130"),
        ((7, 0), "580.88", "cu126"),
        ((12, 0), "591.10", "cu130"),
        ((7, 5), "516.94", "cu118"),
        ((8, 6), "527.41", "cu128"),
        ((8, 6), "527.40", "cu118"),
        ((8, 9), "452.39", "cu118"),
        ((9, 0), NEW, "cu128"),
        ((12, 0), NEW, "cu128"),
        (None, NEW, "cu128"),
        ((3, 5), NEW, "cpu"),
        ((12, 9), NEW, "cpu"),
    ],
)
def test_auto_takes_the_newest_build_for_card_and_driver(
    capability: tuple[int, int] | None, driver: str, tag: str
) -> None:
    build = choose("auto", [card(capability, driver)]).build
    assert build is not None
    assert build.tag == tag


def test_auto_without_a_card_is_the_cpu_build_and_says_why() -> None:
    choice = choose("auto", [], "the fan is broken")
    assert choice.build is BUILDS["cpu"]
    assert "the fan is broken" in choice.remarks[0]


@pytest.mark.parametrize(("capability", "driver"), [((8, 6), "452.38"), ((12, 0), "527.40")])
def test_auto_with_a_driver_that_is_too_old_asks_for_a_new_one(capability: tuple[int, int], driver: str) -> None:
    choice = choose("auto", [card(capability, driver)])
    assert choice.build is None
    assert "too old" in choice.problem
    assert "install the newest driver" in choice.remedy


@pytest.mark.parametrize("tag", [tag for tag in CHOICES if tag not in ("auto", "cpu")])
def test_a_named_build_without_a_card_is_refused(tag: str) -> None:
    choice = choose(tag, [], "none")
    assert (choice.build, choice.instead) == (None, "cpu")


@pytest.mark.parametrize("tag", ["cu118", "cu126"])
def test_a_50_series_card_is_refused_early_with_the_tag_that_works(tag: str) -> None:
    """On such a GPU is_available() is True, but every kernel fails."""
    choice = choose(tag, [card((12, 0))])
    assert choice.build is None
    assert "does not support" in choice.problem
    assert choice.remedy == "run again with -Cuda cu128"


def test_a_named_build_for_a_newer_driver_names_the_one_that_works_now() -> None:
    choice = choose("cu130", [card((8, 6), "551.86")])
    assert (choice.build, choice.instead) == (None, "cu128")
    assert "needs 580 or newer" in choice.problem
    assert "-Cuda cu128" in choice.remedy


def test_the_cpu_build_is_always_to_be_had_and_says_what_idles() -> None:
    assert "is not used" in choose("cpu", [card((8, 6))]).remarks[0]
    assert choose("cpu", []).remarks == ()


def test_a_weaker_card_that_the_build_cannot_use_is_a_remark_with_the_command_that_leaves_it_out() -> None:
    choice = choose("cu118", [card((12, 0), memory=4096), card((8, 6), memory=24576)])
    assert choice.build is BUILDS["cu118"]
    assert choice.problem == ""
    assert "setx CUDA_VISIBLE_DEVICES 1`" in choice.remarks[0]


def test_a_build_that_only_the_weaker_card_can_use_is_a_problem_too() -> None:
    choice = choose("cu118", [card((8, 9), memory=8188), card((12, 0), memory=16303)])
    assert choice.build is BUILDS["cu118"]
    assert choice.instead == "cu128"


def test_auto_takes_the_build_that_runs_both_cards() -> None:
    pair = [card((6, 1), memory=11264), card((8, 6), memory=24576)]
    assert choose("auto", pair).build is BUILDS["cu126"]


def test_packages_carry_the_label_and_the_index_the_tag() -> None:
    assert BUILDS["cu118"].packages == ("torch==2.7.1+cu118", "torchvision==0.22.1+cu118")
    assert BUILDS["cu118"].index == "https://download.pytorch.org/whl/cu118"
    assert {*CHOICES} == {"auto", *BUILDS}
    assert {*PREFERRED} == {*BUILDS} - {"cpu"}


@pytest.mark.parametrize(
    ("capability", "driver", "tag"),
    [((8, 6), NEW, "cu128"), ((8, 6), "580.88", "cu130"), ((6, 1), NEW, "cu126")],
)
def test_a_python_without_the_default_build_gets_the_newest_that_it_has(
    capability: tuple[int, int], driver: str, tag: str
) -> None:
    choice = choose("cu118", [card(capability, driver)], python=(3, 14, 2))
    assert (choice.build, choice.meant, choice.instead) == (None, BUILDS["cu118"], tag)
    assert choice.problem == "cu118 has torch 2.7.1, which has no version for Python 3.14"
    assert choice.remedy == f"install Python 3.12 and run again; or run again with -Cuda {tag}"


@pytest.mark.parametrize("tag", ["cu118", "cu126", "cu128", "cu130"])
def test_triton_fits_the_torch_version_and_needs_an_rtx_30(tag: str) -> None:
    build, new = BUILDS[tag], "580.88"
    assert triton_for(build, [card((7, 5), new), card((8, 6), new)]) == TRITON[build.torch.rpartition(".")[0]]
    assert triton_for(build, [card((7, 5), new)]) == ""
    assert triton_for(build, [card(None, new)]) == ""
    assert triton_for(BUILDS["cpu"], [card((8, 6), new)]) == ""
