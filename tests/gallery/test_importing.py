"""Import of videos: imported and skipped files, and that their folder is not modified."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from gallery_entries import write_files

from img2vid.background import Count, TaskResult
from img2vid.errors import BadInput, Cancelled
from img2vid.gallery.entries import Entries, Filter
from img2vid.gallery.importing import folder_of, import_folder, videos_in
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
    assert (entry.job.picture_name, entry.job.choice.device) == ("dogs", "cpu")
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
    assert outcome.text == f"1 video imported from {theirs}; 4 skipped, not made by img2vid"
    assert [line.split(":")[0] for line in outcome.details] == ["broken.mp4", "empty.MP4", "odd.mp4", "strange.mp4"]
    assert Entries(store).count() == 1


def test_a_version_that_nobody_knows_here_is_imported_all_the_same(store: Store, theirs: Path) -> None:
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


def test_links_that_lead_in_circles_end(theirs: Path) -> None:
    write_files(theirs, "dogs")
    (theirs / "loop").symlink_to(theirs, target_is_directory=True)
    assert videos_in(theirs) == [theirs / "dogs.mp4"]


def test_an_empty_folder_is_told(store: Store, tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    assert imported(store, tmp_path / "nothing").text.startswith("there is no MP4 file in")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no folder was given"),
        ("  ' ' ", "no folder was given"),
        ("/no/such/folder", "there is no folder '/no/such/folder'"),
        ("/" + "x" * 5000, "cannot be read"),
        ("a\0b", "there is no folder|cannot be read"),
        ("~nobody-of-that-name/videos", "cannot be read"),
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
