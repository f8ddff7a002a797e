"""Import of videos: imported and skipped files, and that their folder is not modified."""

import json
import os
import shutil
import time
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from foreign_metadata import METADATA
from gallery_entries import write_files
from hypothesis import HealthCheck, given, settings

from img2vid import paths
from img2vid.background import Count, TaskResult
from img2vid.errors import BadInput, Cancelled
from img2vid.gallery import importing
from img2vid.gallery.entries import Entries, Filter
from img2vid.gallery.importing import folder_of, import_folder, import_videos, videos_in
from img2vid.jobs.store import Store
from img2vid.media.videos import write_video


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "home" / "img2vid.sqlite")


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """Return a folder with videos of another computer."""
    return tmp_path / "usb" / "films"


def quiet(count: Count) -> None:
    assert 0 <= count[0] <= count[1]


def imported(store: Store, folder: Path) -> TaskResult:
    return import_folder(store, folder, quiet)


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in sorted(folder.rglob("*"))}


def test_a_video_becomes_an_entry_with_its_own_settings_and_files(store: Store, theirs: Path) -> None:
    made = write_files(theirs / "deep", "dogs", seed=7, motion_bucket_id=61)
    before = tree(theirs)
    assert imported(store, theirs).text == f"1 video imported from {theirs}"
    (entry,) = Entries(store).find()
    assert (entry.imported, entry.settings.seed, entry.settings.motion_bucket_id) == (True, 7, 61)
    assert (entry.result.video, entry.result.still, entry.result.sidecar) == (made.video, made.still, made.sidecar)
    assert (entry.job.picture_name, entry.job.options.device) == ("dogs", "cpu")
    assert entry.job.picture.read_bytes() == made.still.read_bytes()
    assert entry.created == pytest.approx(made.video.stat().st_mtime)
    assert tree(theirs) == before


def test_what_lies_not_beside_a_video_is_made_in_the_home(store: Store, theirs: Path) -> None:
    for folder in ("a", "b"):
        made = write_files(theirs / folder, "dogs")
        made.still.unlink()
        made.sidecar.unlink()
    before = tree(theirs)
    assert imported(store, theirs).text.startswith("2 videos imported")
    assert tree(theirs) == before
    entries = Entries(store).find()
    made_here = [path for entry in entries for path in (entry.result.still, entry.result.sidecar)]
    assert len({*made_here}) == 4 and all(store.home in path.parents and path.stat().st_size for path in made_here)


def test_known_videos_are_skipped_also_deleted_ones_and_whatever_the_folder_is_called(
    store: Store, theirs: Path
) -> None:
    write_files(theirs, "dogs")
    imported(store, theirs)
    assert imported(store, theirs).text == f"no videos imported from {theirs}; 1 already in the gallery"
    Entries(store).mark_deleted([entry.number for entry in Entries(store).find()])
    assert "; 1 already in the gallery" in imported(store, theirs / ".." / "films").text
    assert Entries(store).count(Filter(deleted=True)) == 1


def test_what_img2vid_did_not_make_is_left_out_and_named(store: Store, theirs: Path) -> None:
    write_files(theirs, "dogs")
    (theirs / "broken.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + bytes(64))
    (theirs / "empty.MP4").touch()
    write_video(theirs / "strange.mp4", [np.zeros((16, 16, 3), np.uint8)], fps=6, metadata={"made": "by hand"})
    write_video(
        theirs / "odd.mp4",
        [np.zeros((16, 16, 3), np.uint8)],
        fps=6,
        metadata={"settings": {"version": "x", "seed": "many"}},
    )
    (theirs / "notes.txt").write_text("no video")
    (theirs / ".hidden.mp4").touch()
    outcome = imported(store, theirs)
    assert outcome.text == f"1 video imported from {theirs}; 4 left out"
    assert [line.split(":")[0] for line in outcome.details] == ["broken.mp4", "empty.MP4", "odd.mp4", "strange.mp4"]
    assert Entries(store).count() == 1


def test_an_unknown_version_is_imported(store: Store, theirs: Path) -> None:
    write_files(theirs, "dogs", version="my_own_model")
    assert imported(store, theirs).text.startswith("1 video imported")
    assert Entries(store).find(Filter(versions=("my_own_model",)))[0].settings.version == "my_own_model"


def test_the_input_is_found_again_where_this_computer_has_it(store: Store, theirs: Path) -> None:
    made = write_files(theirs, "dogs")
    kept = store.keep_picture(b"the very picture", ".jpg")
    metadata = {**made.metadata, "picture_sha256": kept.stem}
    write_video(theirs / "cats.mp4", [np.zeros((64, 64, 3), np.uint8)], fps=6, metadata=metadata)
    imported(store, theirs)
    (entry,) = (entry for entry in Entries(store).find() if entry.result.video.name == "cats.mp4")
    assert entry.job.picture == kept


def test_stopping_keeps_what_is_in(store: Store, theirs: Path) -> None:
    for name in "abc":
        write_files(theirs, name)

    def stop(count: Count) -> None:
        if count[0] == 2:
            raise Cancelled("stopped")

    with pytest.raises(Cancelled, match="stopped after importing 2 videos"):
        import_folder(store, theirs, stop)
    assert Entries(store).count() == 2
    assert imported(store, theirs).text.startswith("1 video imported")


@pytest.mark.parametrize("junction", [False, True])
def test_links_that_lead_in_circles_end(theirs: Path, monkeypatch: pytest.MonkeyPatch, junction: bool) -> None:
    """Junctions of Windows are links, but no symlinks."""
    if junction:
        monkeypatch.setattr(Path, "is_symlink", lambda _: False)
    write_files(theirs, "dogs")
    (theirs / "loop").symlink_to(theirs, target_is_directory=True)
    assert videos_in(theirs) == [theirs / "dogs.mp4"]


def test_an_empty_folder_is_reported(store: Store, tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    assert imported(store, tmp_path / "nothing").text.startswith("there is no MP4 file in")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no folder was given"),
        ("  ' ' ", "no folder was given"),
        ("/no/such/folder", "there is no folder '/no/such/folder'"),
        # The message depends on the system: Windows takes such paths for missing ones.
        ("/" + "x" * 5000, "cannot be read|there is no folder"),
        ("a\0b", "not a usable folder"),
        ("~nobody-of-that-name/videos", "not a usable folder|there is no folder"),
        (__file__, "is a file"),
    ],
)
def test_a_path_that_is_no_folder_is_refused_in_a_sentence(text: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        folder_of(text)


def test_a_path_is_taken_as_file_managers_give_it(tmp_path: Path) -> None:
    folder = tmp_path / "my films"
    folder.mkdir()
    for text in (str(folder), f"  '{folder}' ", f'"{folder}"\n'):
        assert folder_of(text) == folder
    shutil.rmtree(folder)


# Files that other programs, newer versions or damage left

FILES = paths.PROJECT / "tests" / "data" / "inputs" / "metadata"


def with_comment(folder: Path, name: str, comment: str) -> None:
    """Write a video whose metadata is this text."""
    marker = "x" * len(comment.encode())
    path = write_video(folder / name, [np.zeros((16, 16, 3), np.uint8)], fps=6, metadata={"": marker})
    data = path.read_bytes()
    old = json.dumps({"": marker}).encode()
    assert data.count(old) == 1
    path.write_bytes(data.replace(old, comment.encode().ljust(len(old))))


def test_each_unusable_video_is_left_out_with_a_line_and_the_others_are_imported(store: Store, theirs: Path) -> None:
    """Regression: an unknown sampler, as a newer version writes it, and deep nesting ended the import."""
    theirs.mkdir(parents=True)
    for name in ("good.mp4", "sampler_1.mp4"):
        shutil.copy(FILES / name, theirs)
    settings = json.loads((FILES.parents[1] / "settings.json").read_text(encoding="utf-8"))
    with_comment(theirs, "deep.mp4", "[" * 100_000 + "]" * 100_000)
    with_comment(theirs, "endless.mp4", '{"settings": ' * 5000)
    for name, value in (("nan", "NaN"), ("list", "[1]"), ("huge", "9" * 5000), ("text", '"many"'), ("none", "null")):
        with_comment(theirs, f"{name}.mp4", json.dumps({"settings": {**settings, "seed": "?"}}).replace('"?"', value))
    with_comment(theirs, "surrogate.mp4", json.dumps({"settings": settings, "device": "\ud800"}))
    with_comment(theirs, "version.mp4", json.dumps({"settings": {**settings, "version": "../../x"}}))
    outcome = imported(store, theirs)
    assert outcome.text == f"1 video imported from {theirs}; 10 left out"
    lines = dict(line.split(": ", 1) for line in outcome.details)
    assert lines["sampler_1.mp4"].startswith("sampler must be one of EulerEDMSampler, ")
    assert lines["sampler_1.mp4"].endswith("got 'x'")
    assert lines["text.mp4"].endswith("got 'many'")
    for name in ("deep", "endless", "huge", "nan", "surrogate"):
        assert lines[f"{name}.mp4"] == "it has no settings; choose a video made by img2vid"
    assert [entry.result.video.name for entry in Entries(store).find()] == ["good.mp4"]


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(metadata=METADATA)
def test_no_metadata_ends_an_import(store: Store, theirs: Path, monkeypatch: pytest.MonkeyPatch, metadata: Any) -> None:
    """100 examples, because each is written to the database; read_settings is tested with 2,000."""
    theirs.mkdir(parents=True, exist_ok=True)
    video = next(path for number in count() if not (path := theirs / f"{number}.mp4").exists())
    shutil.copy(FILES / "good.mp4", video)
    monkeypatch.setattr(importing, "read_metadata", lambda path: metadata)
    (outcome,) = import_videos(store, [video])
    assert (outcome.new is None) == bool(outcome.error)
    assert len(str(outcome.error)) < 2000
    if outcome.new is not None:
        assert Entries(store).entry(outcome.new.number) == outcome.new


def test_a_time_in_the_future_or_before_1970_is_not_the_time_of_a_video(store: Store, theirs: Path) -> None:
    for name, moment in (("a", 2.0**40), ("b", -1e9)):
        with suppress(OSError):  # wine refuses such times
            os.utime(write_files(theirs, name).video, (moment, moment))
    imported(store, theirs)
    assert all(0 <= entry.created <= time.time() for entry in Entries(store).find())


@pytest.mark.skipif(os.name == "nt" or os.uname().sysname == "Darwin", reason="needs file names that are bytes")
def test_a_name_that_no_database_or_page_can_hold_is_left_out(store: Store, theirs: Path) -> None:
    shutil.copy(write_files(theirs, "good").video, theirs / "bad\udcff.mp4")
    outcome = imported(store, theirs)
    assert outcome.text.endswith("; 1 left out")
    assert outcome.details == ("bad\\udcff.mp4: its path is not valid Unicode; rename it",)
