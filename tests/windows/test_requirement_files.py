"""Removal of triton from requirement files keeps everything else, for any valid file."""

import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from machines import PROJECT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from windows.requirement_files import joined, left_out, package_of, requirement_lines, without
from windows.work import from_archive

REQUIREMENTS = PROJECT / "requirements"
NAMES = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,10}[A-Za-z0-9])?", fullmatch=True)
TAILS = st.sampled_from(
    ["", "==2.0.0", ">=2,<3", "~=1.1", " >= 2.0", "[extra]", "[a,b]==1", " @ https://example.org/a.zip"]
)
MARKERS = st.sampled_from(["", ' ; sys_platform == "linux"', " ; python_version<'3.12'"])
COMMENTS = st.sampled_from(["", "  # why", " #", "\t# triton==2.0.0"])
SPELLINGS = st.sampled_from(["triton", "Triton", "TRITON"])


@st.composite
def requirement(draw: st.DrawFn, names: st.SearchStrategy[str]) -> str:
    return draw(names) + draw(TAILS) + draw(MARKERS)


OTHERS = requirement(NAMES.filter(lambda name: canonicalize_name(name) != "triton"))
TRITON = requirement(SPELLINGS)


@given(st.lists(st.tuples(st.one_of(OTHERS, TRITON), COMMENTS)), st.sampled_from(["\n", "\r\n"]))
def test_triton_goes_and_every_other_requirement_stays_in_its_place(lines: list[tuple[str, str]], end: str) -> None:
    text = "".join(line + comment + end for line, comment in lines)
    expected = [line.strip() for line, _ in lines if canonicalize_name(Requirement(line).name) != "triton"]
    assert without(joined(text)) == expected


@given(st.one_of(OTHERS, TRITON))
def test_the_name_is_the_one_that_pip_reads(line: str) -> None:
    assert package_of(line) == canonicalize_name(Requirement(line).name)


@given(st.lists(st.one_of(OTHERS, TRITON)))
def test_what_is_left_out_and_what_stays_are_all(lines: list[str]) -> None:
    assert sorted([*without(lines), *left_out(lines)]) == sorted(lines)
    assert without(without(lines)) == without(lines)


def test_packages_whose_names_only_begin_alike_stay() -> None:
    lines = ["triton-windows==3.3", "tritonclient", "pytriton", "--extra-index-url https://example.org/triton"]
    assert without(lines) == lines


def test_continued_lines_and_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "pt2.txt"
    path.write_bytes(b"\xef\xbb\xbftriton \\\r\n  ==2.0.0\r\nlamp \\\n  >=1\n")
    assert [line.split() for line in without(requirement_lines(path))] == [["lamp", ">=1"]]


def test_the_line_of_the_reference_is_stripped_and_its_neighbours_stay(tmp_path: Path) -> None:
    path = tmp_path / "pt2.txt"
    path.write_text("transformers==4.19.1\ntriton==2.0.0\nurllib3<1.27,>=1.25.4\n", encoding="utf-8")
    assert without(requirement_lines(path)) == ["transformers==4.19.1", "urllib3<1.27,>=1.25.4"]


def test_included_files_are_followed_from_where_they_are(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "all.txt").write_text("-r more/a.txt\n--requirement=b.txt\nlast\n", encoding="utf-8")
    (tmp_path / "more" / "a.txt").write_text("-r c.txt\na\n", encoding="utf-8")
    (tmp_path / "more" / "c.txt").write_text("c # comment\n", encoding="utf-8")
    (tmp_path / "b.txt").write_text("triton\n", encoding="utf-8")
    assert requirement_lines(tmp_path / "all.txt") == ["c", "a", "triton", "last"]


def test_pt2_is_runtime_and_triton_for_linux_alone() -> None:
    runtime, pt2 = (requirement_lines(REQUIREMENTS / name) for name in ("runtime.txt", "pt2.txt"))
    (triton,) = left_out(pt2)
    assert without(pt2) == runtime
    marker = Requirement(triton).marker
    assert marker is not None
    assert marker.evaluate({"sys_platform": "linux"})
    assert not marker.evaluate({"sys_platform": "win32"})


def test_no_file_that_windows_installs_needs_git_or_triton() -> None:
    for name in ("pt2.txt", "sgm.txt"):
        lines = [from_archive(line) for line in without(requirement_lines(REQUIREMENTS / name))]
        assert not [line for line in lines if "git+" in line or re.match("triton", line, re.IGNORECASE)]


def test_the_archive_is_of_the_pinned_commit() -> None:
    pinned = next(line for line in requirement_lines(REQUIREMENTS / "sgm.txt") if line.startswith("sgm @ "))
    commit = pinned.rpartition("@")[2]
    address = f"https://github.com/Stability-AI/generative-models/archive/{commit}.zip"
    assert from_archive(pinned) == f"sgm @ {address}"
    assert from_archive("lamp>=1") == "lamp>=1"
