"""`img2vid gallery`: what it prints, exit codes, and that one unusable video or number does not affect the others."""

import json
import shutil
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from gallery_entries import add_entry, write_files

from img2vid import paths
from img2vid.cli import main
from img2vid.file_lock import HomeLock
from img2vid.gallery.entries import Entries, Filter
from img2vid.jobs.store import Store

FILES = paths.PROJECT / "tests" / "data" / "inputs" / "metadata"


@dataclass(frozen=True)
class Said:
    code: int
    out: list[str]
    err: list[str]

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out]


Command = Callable[..., Said]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """Return the store of a home whose dashboard is running."""
    monkeypatch.setenv("IMG2VID_HOME", str(tmp_path / "home"))
    store = Store()
    lock = HomeLock(store.home)
    assert lock.acquire()
    yield store
    lock.release()


@pytest.fixture
def command(store: Store, capsys: pytest.CaptureFixture[str]) -> Command:
    def run(*arguments: object) -> Said:
        code = main.run(["gallery", *map(str, arguments)])
        out, err = capsys.readouterr()
        return Said(code, out.splitlines(), err.splitlines())

    return run


def test_videos_are_listed_newest_first_and_filtered(command: Command, store: Store, tmp_path: Path) -> None:
    first = add_entry(store, tmp_path / "v", "a", created=1_700_000_000.0)
    second = add_entry(store, tmp_path / "v", "b", seed=7)
    entries = Entries(store)
    entries.rate(first.number, 4)
    entries.tag(first.number, ["sea", "calm"])
    entries.annotate(first.number, "the good one")
    said = command("list")
    assert (said.code, said.err) == (0, [])
    assert [line.split()[0] for line in said.out] == [str(second.number), str(first.number)]
    assert "svd_tiny  dogs  4 stars  sea  calm  " in said.out[1] and said.out[1].endswith(str(first.result.video))
    matching = (["--rating", 4], ["--tag", "sea", "--tag", "calm"], ["--text", "GOOD"], ["--until", "2023-11-16"])
    for options in (*matching, ["--since", "2023-11-13", "--until", "2023-11-15", "--version", "svd_tiny"]):
        (row,) = command("list", "--json", *options).rows
        assert (row["number"], row["rating"], row["note"]) == (first.number, 4, "the good one")
        assert row["tags"] == ["sea", "calm"]
        assert (row["video"], row["picture"], row["settings"]["seed"]) == (str(first.result.video), "dogs", 23)
    assert command("list", "--text", "cats").out == []
    assert len(command("list", "--limit", 1).out) == 1


def test_a_folder_and_a_file_are_imported_and_the_rest_is_named(command: Command, store: Store, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    write_files(theirs / "deep", "dogs")
    for name in ("good.mp4", "sampler_1.mp4"):
        shutil.copy(FILES / name, theirs)
    single = write_files(tmp_path, "single").video
    said = command("import", theirs, single, tmp_path / "none", single, "--json")
    assert said.code == 2
    assert [(Path(row["video"]).name, row["state"]) for row in said.rows] == [
        ("dogs.mp4", "imported"),
        ("good.mp4", "imported"),
        ("sampler_1.mp4", "left out"),
        ("single.mp4", "imported"),
        ("single.mp4", "known"),
    ]
    assert said.err[-1].startswith(f"img2vid: 2 of 6 files failed: {tmp_path / 'none'} (there is no folder ")
    assert "sampler_1.mp4 (sampler must be one of EulerEDMSampler, " in said.err[-1]
    assert Entries(store).count() == 3
    assert all(entry.imported for entry in Entries(store).find())


def test_videos_go_to_the_trash_and_come_back(command: Command, store: Store, tmp_path: Path) -> None:
    numbers = [add_entry(store, tmp_path / "v", name, seed=seed).number for seed, name in enumerate("abc")]
    said = command("trash", numbers[0], 99, numbers[1], "--json")
    assert (said.code, [(row["number"], row["state"], row["deleted"]) for row in said.rows]) == (
        2,
        [(number, "trashed", True) for number in numbers[:2]],
    )
    assert said.err[-1].startswith("img2vid: 1 of 3 videos failed: 99 (there is no video 99 in ")
    assert [path.name for path in (tmp_path / "v").glob("*.mp4")] == ["c.mp4"]
    assert len(command("list", "--deleted").out) == Entries(store).count(Filter(deleted=True)) == 2
    assert command("export", numbers[0]).err == [f"img2vid: video {numbers[0]} is in the trash; restore it first"]
    assert command("trash", numbers[0]).err == [f"img2vid: video {numbers[0]} is already in the trash"]
    said = command("restore", *numbers)
    assert (said.code, len(said.out)) == (2, 2)
    assert said.err[-1].endswith(f"{numbers[2]} (video {numbers[2]} is not in the trash)")
    assert sorted(path.name for path in (tmp_path / "v").glob("*.mp4")) == ["a.mp4", "b.mp4", "c.mp4"]


def test_chosen_or_matching_videos_become_a_zip(command: Command, store: Store, tmp_path: Path) -> None:
    numbers = [add_entry(store, tmp_path / "v", name, seed=seed).number for seed, name in enumerate("abc")]
    Entries(store).rate(numbers[2], 5)
    said = command("export", numbers[0], 99, numbers[1])
    assert said.code == 2 and said.err[-1].startswith("img2vid: 1 of 3 videos failed: 99 (")
    assert {"a.mp4", "b.mp4"} == {name for name in _names(said.out[0]) if name.endswith(".mp4")}
    (row,) = command("export", "--rating", 5, "--json").rows
    assert row["videos"] == 1 and "c.mp4" in _names(row["zip"])
    assert command("export", "--text", "cats").err == ["img2vid: no video matches; see `img2vid gallery list`"]


def _names(path: str) -> list[str]:
    with zipfile.ZipFile(path) as archive:
        return archive.namelist()


def test_a_row_that_cannot_be_read_is_named_and_the_others_are_listed(
    command: Command, store: Store, tmp_path: Path
) -> None:
    good, bad = (add_entry(store, tmp_path / "v", name) for name in "ab")
    with store.writing() as db:
        db.execute("UPDATE results SET result = '[' WHERE number = ?", (bad.number,))
    said = command("list", "--json")
    assert (said.code, [row["number"] for row in said.rows]) == (1, [good.number])
    assert said.err[0].startswith(f"img2vid: video {bad.number} cannot be read")
    assert said.err[1:] == ["img2vid: rebuild the job database with `img2vid recover`"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["trash", "x"], "a whole number is needed, got 'x'"),
        (["restore", "9" * 40], "a whole number is needed, got '999"),
        (["trash", "7"], "there is no video 7"),
        (["list", "--since", "yesterday"], "a date such as 2026-01-31 is needed, got 'yesterday'"),
        (["list", "--since", "0001-01-01", "--until", "9999-12-31"], ""),
        (["import", "."], ""),
        (["import"], "PATH"),
        (["import", ""], "a path is needed, got ''"),
        (["import", "x" * 5000], "'xxx"),  # Windows reports a path that is too long as missing
        (["list", "--text", "x\udcff"], "is not valid Unicode"),
        (["export", "--tag", "x\udcff"], "is not valid Unicode"),
        (["list", "--text", "a " * 2000], "at most 100 words, tags and versions, got 2000"),
        (["list", *["--tag=a"] * 200], "at most 100 words, tags and versions, got 200"),
        ([], "COMMAND"),
    ],
)
def test_bad_input_is_one_sentence(
    command: Command, arguments: list[str], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = command(*arguments)
    assert (said.code, len(said.err)) == ((2, 1) if sentence else (0, 0))
    assert not sentence or (sentence in said.err[0] and len(said.err[0]) < 500)
