"""Zip export: contents, names and atomicity."""

import csv
import io
import json
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


def test_what_is_not_on_disk_any_more_is_left_out_and_told(store: Store, tmp_path: Path) -> None:
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
    with pytest.raises(MediaError, match="is the disk full"):
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
