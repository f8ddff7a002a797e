"""Zip export: contents, names and atomicity."""

import csv
import errno
import io
import json
import os
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from gallery_entries import add_entry
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from img2vid.background import Count
from img2vid.errors import BadInput, Cancelled, MediaError
from img2vid.gallery import exporting
from img2vid.gallery.exporting import export
from img2vid.jobs.store import Store
from img2vid.media.videos import read_metadata
from img2vid.paths import safe_name

PATIENT = settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
"""Ignore time, because a busy machine is not a failure."""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "home" / "img2vid.sqlite")


def quiet(count: Count) -> None:
    assert 0 <= count[0] <= count[1]


def test_a_zip_holds_videos_stills_settings_and_a_table(store: Store, tmp_path: Path) -> None:
    made = [add_entry(store, tmp_path / folder, seed=seed) for seed, folder in enumerate(("a", "b"))]
    made[1].result.sidecar.unlink()
    outcome = export(made, store.home, quiet)
    assert outcome.file is not None and outcome.text == f"2 videos in {outcome.file}"
    with zipfile.ZipFile(outcome.file) as archive:
        assert archive.testzip() is None
        stems = ("dogs", "dogs_2")
        names = [f"{stem}{suffix}" for stem in stems for suffix in (".mp4", ".png", ".json")]
        assert sorted(archive.namelist()) == sorted([*names, "measurements.csv"])
        for entry, stem in zip(made, stems, strict=True):
            assert archive.read(f"{stem}.mp4") == entry.result.video.read_bytes()
            assert json.loads(archive.read(f"{stem}.json")) == entry.result.metadata
        rows = list(csv.DictReader(io.StringIO(archive.read("measurements.csv").decode("utf-8-sig"))))
    assert [(row["file"], row["seed"]) for row in rows] == [("dogs.mp4", "0"), ("dogs_2.mp4", "1")]


@pytest.mark.skipif(os.name == "nt" or "windows_rules" in sys.modules, reason="such files cannot exist on Windows")
def test_every_file_of_a_zip_can_be_unpacked_and_read_on_windows(store: Store, tmp_path: Path) -> None:
    """Imported videos keep the names of the system that they come from."""
    stems = (
        "CON",
        "con",
        "a:b?",
        "nul.x",
        "line\nbreak",
        "dot.",
        " space ",
        "x" * 200,
        "\u202egpj",
        "caf\u00e9",
        "\udcff",
    )
    made = [add_entry(store, tmp_path, stem, seed) for seed, stem in enumerate(stems[:-1])]
    odd = tmp_path / f"{stems[-1]}.mp4"  # the database refuses the name
    os.link(made[0].result.video, odd)
    made.append(replace(made[0], result=replace(made[0].result, video=odd)))
    outcome = export(made, store.home, quiet)
    assert outcome.file is not None and not outcome.details
    folder = tmp_path / "unpacked"
    with zipfile.ZipFile(outcome.file) as archive:
        names = archive.namelist()
        assert archive.testzip() is None
        archive.extractall(folder)
    for name in names:
        assert safe_name(Path(name).stem) == Path(name).stem
    assert len({name.casefold() for name in names}) == len(names) == 3 * len(made) + 1
    videos = [folder / name for name in names if name.endswith(".mp4")]
    for entry, video in zip(made, videos, strict=True):
        assert video.read_bytes() == entry.result.video.read_bytes()
        assert video.with_suffix(".png").read_bytes() == entry.result.still.read_bytes()
        settings = json.loads(video.with_suffix(".json").read_text(encoding="utf-8"))
        assert settings == read_metadata(video) == entry.result.metadata


def test_a_file_that_cannot_be_read_does_not_affect_the_others(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: one such file, or one from before 1980, ended the export."""
    first, second = (add_entry(store, tmp_path, name) for name in ("a", "b"))
    os.utime(first.result.still, (0, 0))

    def read_all_but_one(path: Path) -> bytes:
        if path == first.result.video:
            raise PermissionError(errno.EPERM, "Operation not permitted")
        return path.read_bytes()

    monkeypatch.setattr(exporting, "read_bytes", read_all_but_one)
    outcome = export([first, second], store.home, quiet)
    assert outcome.text.endswith("; 1 file left out")
    assert outcome.details == ("a.mp4 cannot be read (Operation not permitted)",)
    assert outcome.file is not None
    with zipfile.ZipFile(outcome.file) as archive:
        assert {"a.png", "a.json", "b.mp4", "b.png", "b.json", "measurements.csv"} == {*archive.namelist()}


def test_missing_files_are_left_out_and_reported(store: Store, tmp_path: Path) -> None:
    made = [add_entry(store, tmp_path, name) for name in ("a", "b")]
    made[0].result.video.unlink()
    assert export(made, store.home, quiet).text.endswith("; 1 no longer on disk")
    made[1].result.video.unlink()
    with pytest.raises(BadInput, match="none of these videos is still on disk"):
        export(made, store.home, quiet)


def test_stopped_or_failed_half_way_nothing_is_left(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [add_entry(store, tmp_path, name) for name in ("a", "b")]

    def stop(count: Count) -> None:
        if count[0] == 1:
            raise Cancelled("stopped")

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(Cancelled):
        export(made, store.home, stop)
    monkeypatch.setattr(zipfile.ZipFile, "writestr", full)
    with pytest.raises(MediaError, match="the disk is full"):
        export(made, store.home, quiet)
    assert list((store.home / "exports").iterdir()) == []


def test_exports_do_not_replace_each_other_and_old_ones_go(store: Store, tmp_path: Path) -> None:
    made = [add_entry(store, tmp_path)]
    paths = [export(made, store.home, quiet).file for _ in range(exporting.KEPT + 2)]
    there = sorted((store.home / "exports").iterdir())
    assert len(there) == exporting.KEPT and paths[-1] in there


@PATIENT
@given(stems=st.lists(st.sampled_from(["a", "A", "a_2", "measurements", "b", "a_2_2", "..", "b "]), max_size=12))
def test_names_in_a_zip_are_each_once_whatever_the_system_thinks_of_capitals(stems: list[str]) -> None:
    names = list(exporting._unique(iter(stems)))  # pyright: ignore[reportPrivateUsage]
    folded = [name.casefold() for name in names]
    assert len({*folded, "measurements"}) == len(stems) + 1
    assert all(name.startswith(stem) for name, stem in zip(names, stems, strict=True))


def test_no_name_leads_out_of_the_folder_that_the_zip_is_unpacked_in(store: Store, tmp_path: Path) -> None:
    entry = add_entry(store, tmp_path / ".." / tmp_path.name / "x")
    odd = replace(entry, result=replace(entry.result, video=tmp_path / "x" / ".." / "x" / "dogs.mp4"))
    file = export([odd], store.home, quiet).file
    assert file is not None
    with zipfile.ZipFile(file) as archive:
        assert all("/" not in name and "\\" not in name for name in archive.namelist())
