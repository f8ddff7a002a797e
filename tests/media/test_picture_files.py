"""Picture arguments: folders, wildcards, and names that are not pictures."""

import os
from pathlib import Path

import pytest

from img2vid.errors import BadInput
from img2vid.media.picture_files import find_pictures, list_pictures
from img2vid.media.picture_kinds import SUFFIXES


def names(paths: list[Path]) -> list[str]:
    return [path.name for path in paths]


def test_folders_are_replaced_by_their_pictures_in_order(tmp_path: Path) -> None:
    for name in (
        "b.JPG",
        "a.png",
        "C.webp",
        "d.jfif",
        "e.jpe",
        "f.HEIC",
        "notes.txt",
        "scan",
        "._a.png",
        ".hidden.jpg",
    ):
        (tmp_path / name).touch()
    (tmp_path / "deeper.png").mkdir()
    other = tmp_path / "notes.txt"
    found = find_pictures([other, tmp_path, other])
    inside = ["a.png", "b.JPG", "C.webp", "d.jfif", "e.jpe", "f.HEIC"]
    assert names(found.pictures) == ["notes.txt", *inside, "notes.txt"]
    assert names(found.skipped) == ["notes.txt", "scan"]
    assert "skipped 2 files without a picture suffix: notes.txt, scan;" in found.describe_skipped()


def test_many_skipped_files_are_counted_and_their_names_are_safe(tmp_path: Path) -> None:
    (tmp_path / "photo.png").touch()
    assert find_pictures([tmp_path]).describe_skipped() == ""
    for index in range(7):
        (tmp_path / f"{index}\u202e.txt").touch()
    sentence = find_pictures([tmp_path]).describe_skipped()
    assert "7 files" in sentence and sentence.count(r"\u202e") == 5 and "and 2 more" in sentence


def test_wildcards_are_expanded_if_the_shell_did_not(tmp_path: Path) -> None:
    """cmd and PowerShell on Windows pass wildcards on."""
    (tmp_path / "deep" / "er").mkdir(parents=True)
    for name in ("b.jpg", "a.jpg", "a.txt", ".c.jpg", "deep/er/z.jpg", "[1].jpg", "1.jpg"):
        (tmp_path / name).touch()
    assert names(list_pictures([tmp_path / "?.jpg"])) == ["1.jpg", "a.jpg", "b.jpg"]
    found = find_pictures([tmp_path / "a.*"])
    assert (names(found.pictures), names(found.skipped)) == (["a.jpg"], ["a.txt"])
    assert names(list_pictures([tmp_path / "**" / "z.jpg"])) == ["z.jpg"]
    assert names(list_pictures([tmp_path / "[1].jpg"])) == ["[1].jpg"], "an existing name is no pattern"
    with pytest.raises(BadInput, match=r"no picture matches '.*\*\.gif'; check"):
        list_pictures([tmp_path / "*.gif"])


@pytest.mark.parametrize(
    "address",
    [
        "https://example.org/lake.jpg",
        "HTTP://example.org/a",
        "s3://b/a.png",
        "file:///a.png",
        "data:image/png;base64,AA",
    ],
)
def test_a_web_address_is_named(address: str) -> None:
    with pytest.raises(BadInput, match="is a web address; download the picture"):
        list_pictures([Path(address)])


def test_a_windows_path_is_no_web_address() -> None:
    with pytest.raises(BadInput, match="no such file or folder: 'C:"):
        list_pictures([Path("C:/photos/lake.jpg")])


def test_one_unusable_argument_leaves_the_others(tmp_path: Path) -> None:
    (tmp_path / "photo.png").touch()
    (tmp_path / "empty").mkdir()
    arguments = [tmp_path / "nowhere", tmp_path / "photo.png", tmp_path / "empty", tmp_path / ("x" * 300)]
    found = find_pictures(arguments)
    assert names(found.pictures) == ["photo.png"]
    too_long = "no" if os.name == "nt" else "cannot"  # Windows finds no such file
    assert [str(error).split()[0] for _, error in found.refused] == ["no", "the", too_long]
    with pytest.raises(BadInput, match=r"no such file or folder: .*nowhere"):
        list_pictures(arguments)


def test_arguments_without_any_picture_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"has no images; supported are .*\.jpg"):
        list_pictures([tmp_path])
    assert {".jfif", ".jpe", ".heic", ".heif", ".avif"} <= SUFFIXES
