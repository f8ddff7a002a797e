"""Checks of checkpoints and sgm, in each state."""

from pathlib import Path
from typing import Any

import pytest

from img2vid.doctor import checkpoints
from img2vid.doctor.report import Finding, State
from img2vid.versions import ModelVersion, find_version

SVD = find_version("svd_xt")
TINY = find_version("svd_tiny")
PATH = Path("checkpoints") / "svd_xt.safetensors"


def lacking(version: ModelVersion) -> ModelVersion:
    return version.model_copy(update={"checkpoint": f"nowhere/{version.checkpoint}"})


def judge(version: ModelVersion = SVD, path: Path = PATH, **changes: Any) -> Finding:
    usual: dict[str, Any] = {"size": SVD.bytes, "fault": "", "reason": ""}
    return checkpoints.judge_checkpoint(version, path, **{**usual, **changes})


def test_all_there() -> None:
    assert checkpoints.judge_checkpoints([TINY]) == Finding("checkpoints", State.OK, "Installed: svd_tiny.")


def test_some_are_missing() -> None:
    finding = checkpoints.judge_checkpoints([TINY, lacking(SVD)])
    assert finding.state is State.NOTE
    assert finding.found == "Installed: svd_tiny. Not installed: svd_xt."
    assert "`img2vid models download svd_xt`" in finding.remedy


@pytest.mark.parametrize("versions", [[], [lacking(SVD)]])
def test_none_is_there(versions: list[ModelVersion]) -> None:
    finding = checkpoints.judge_checkpoints(versions)
    assert finding.state is State.PROBLEM
    assert "`img2vid models download svd_xt`" in finding.remedy


def test_a_whole_file_is_ok() -> None:
    finding = judge()
    assert finding.state is State.OK
    assert finding.found == f"svd_xt: {PATH}, 9.56 GB, is complete and matches its configuration."


def test_a_float16_copy_is_ok_and_both_sizes_are_named() -> None:
    finding = judge(size=4_779_986_098)
    assert finding.state is State.OK
    assert "4.78 GB (published size: 9.56 GB), is complete" in finding.found


def test_a_size_that_is_known_roughly_is_compared_roughly() -> None:
    rough = SVD.model_copy(update={"bytes": 9_560_000_000})
    assert "published" not in judge(rough, size=9_559_625_980).found
    assert "published" in judge(rough, size=9_500_000_000).found


def test_a_file_without_a_known_size_is_not_measured() -> None:
    assert "14.7 MB, is complete" in judge(TINY, size=14_700_000).found


def test_a_damaged_file_is_a_problem() -> None:
    finding = judge(fault="it is cut off: it has 3 bytes and needs 9; start the download again")
    assert finding.state is State.PROBLEM
    assert finding.found == "svd_xt: it is cut off: it has 3 bytes and needs 9; start the download again."
    assert finding.remedy == "Move the file away and run `img2vid models download svd_xt`."


def test_a_damaged_file_that_cannot_be_downloaded_names_its_source() -> None:
    assert judge(TINY, fault="torn").remedy.endswith("replace it (source: comes with img2vid).")


def test_a_pickled_file_is_a_note() -> None:
    finding = judge(path=Path("svd_xt.ckpt"), fault=None)
    assert finding.state is State.NOTE
    assert "--allow-pickle" in finding.remedy


def test_a_file_that_could_not_be_checked_is_a_note_with_the_reason() -> None:
    finding = judge(fault=None, reason="torch does not work, see above")
    assert finding.state is State.NOTE
    assert finding.found.endswith("could not be checked against its configuration: torch does not work, see above.")


@pytest.mark.parametrize(
    ("fault", "reason", "wanted", "state", "words"),
    [
        ("", "", False, State.OK, "can be imported"),
        ("", "", True, State.OK, "can be imported"),
        (None, "", False, State.OK, "is not installed"),
        (None, "", True, State.PROBLEM, "is not installed"),
        ("ImportError: torn", "", False, State.NOTE, "cannot be imported: ImportError: torn"),
        ("ImportError: torn", "", True, State.PROBLEM, "cannot be imported: ImportError: torn"),
        (None, "torch does not work", False, State.NOTE, "could not be checked: torch does not work"),
        (None, "torch does not work", True, State.PROBLEM, "could not be checked: torch does not work"),
    ],
)
def test_sgm(fault: str | None, reason: str, wanted: bool, state: State, words: str) -> None:
    finding = checkpoints.judge_sgm(fault, reason, wanted)
    assert finding.state is state
    assert words in finding.found
    assert bool(finding.remedy) is (state is not State.OK)
