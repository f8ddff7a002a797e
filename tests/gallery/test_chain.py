"""Extended clips: their parts, joining, drift and limits."""

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from gallery_entries import add_entry

from img2vid.errors import BadInput
from img2vid.gallery import chain
from img2vid.gallery.entries import Entries, Entry
from img2vid.gallery.trash import Trash
from img2vid.jobs.job import Job
from img2vid.jobs.store import Store
from img2vid.media.videos import read_frames, read_metadata, write_video
from img2vid.settings import SampleSettings


class FakeService:
    """Service that only records what it is asked for."""

    def __init__(self) -> None:
        self.wanted: list[SampleSettings] = []
        self.folder: Path | None = None

    def continue_video(self, before: Job, wanted: list[SampleSettings], folder: Path | None) -> list[Job]:
        self.wanted, self.folder = wanted, folder
        return [before for _ in wanted]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "home" / "img2vid.sqlite")


def chained(store: Store, folder: Path, count: int = 3) -> list[Entry]:
    """Return entries that continue one another: frames of one gray level each, 23 * 40 and so on."""
    found: list[Entry] = []
    for seed in range(23, 23 + count):
        entry = add_entry(store, folder, seed=seed)
        if found:
            with store.writing() as db:
                db.execute("UPDATE jobs SET continues = ? WHERE id = ?", (found[-1].job.id, entry.job.id))
        found.append(Entries(store).entry(entry.number))
    return found


def with_frames(entry: Entry, path: Path, levels: list[int]) -> Entry:
    """Return the entry with another video: a gradient around each level."""
    ramp = np.tile(np.linspace(-20, 20, 64), (64, 1))[..., np.newaxis].repeat(3, axis=2)
    frames = np.stack([np.rint(ramp + level).astype(np.uint8) for level in levels])
    video = write_video(path, frames, fps=6, metadata={})
    return replace(entry, result=replace(entry.result, video=video))


def test_the_parts_are_found_from_the_last_one(store: Store, tmp_path: Path) -> None:
    found = chained(store, tmp_path)
    assert [part.number for part in chain.parts_of(Entries(store), found[2])] == [one.number for one in found]
    assert [part.number for part in chain.parts_of(Entries(store), found[0])] == [found[0].number]


def test_parts_begin_after_a_deleted_one(store: Store, tmp_path: Path) -> None:
    found = chained(store, tmp_path)
    Trash(store).put([found[1].number])
    assert [part.number for part in chain.parts_of(Entries(store), found[2])] == [found[2].number]


def test_a_longer_chain_has_its_last_nine_parts(store: Store, tmp_path: Path) -> None:
    """A part that was deleted, and restored after others were added, makes a chain longer."""
    found = chained(store, tmp_path, 11)
    assert [part.number for part in chain.parts_of(Entries(store), found[-1])] == [one.number for one in found[2:]]


def test_the_joined_clip_leaves_out_the_doubled_frames_and_names_its_parts(store: Store, tmp_path: Path) -> None:
    first, second, third = chained(store, tmp_path)
    parts = [
        with_frames(first, tmp_path / "a.mp4", [50, 60, 70]),
        with_frames(second, tmp_path / "b.mp4", [70, 80, 90]),
        with_frames(third, tmp_path / "c.mp4", [90, 100, 110]),
    ]
    path = chain.join(tmp_path / "out" / "joined.mp4", parts, match=False)
    frames = read_frames(path)
    means = frames.mean(axis=(1, 2, 3))
    np.testing.assert_allclose(means, [50, 60, 70, 80, 90, 100, 110], atol=2)
    found = read_metadata(path)
    assert [row["video"] for row in found["parts"]] == ["a.mp4", "b.mp4", "c.mp4"]
    assert [row["last_frame"] for row in found["parts"]] == [3, 5, 7]
    assert [row["settings"]["seed"] for row in found["parts"]] == [23, 24, 25]
    assert found["settings"] == first.settings.model_dump()
    colors = [row["drift"]["color"] for row in found["parts"]]
    assert colors == sorted(colors) and colors[0] > 5
    assert all(abs(row["drift"]["sharpness"]) < 1 for row in found["parts"])


def test_matched_colors_undo_the_drift(store: Store, tmp_path: Path) -> None:
    first, second = chained(store, tmp_path, 2)
    parts = [
        with_frames(first, tmp_path / "a.mp4", [80, 80, 80]),
        with_frames(second, tmp_path / "b.mp4", [80, 120, 160]),
    ]
    plain, matched = (
        read_metadata(chain.join(tmp_path / f"{match}.mp4", parts, match=match)) for match in (False, True)
    )
    assert (plain["colors_matched"], matched["colors_matched"]) == (False, True)
    assert plain["parts"][1]["drift"]["color"] > 20
    assert matched["parts"][1]["drift"]["color"] < 1


def test_parts_of_different_sizes_are_refused(store: Store, tmp_path: Path) -> None:
    first, second = chained(store, tmp_path, 2)
    video = write_video(tmp_path / "small.mp4", np.zeros((2, 32, 32, 3), np.uint8), fps=6, metadata={})
    other = replace(second, result=replace(second.result, video=video))
    with pytest.raises(BadInput, match=r"small\.mp4 has another size"):
        chain.join(tmp_path / "joined.mp4", [first, other], match=False)
    assert not (tmp_path / "joined.mp4").exists()


def test_the_file_in_the_home_is_named_after_the_parts_and_the_match(store: Store, tmp_path: Path) -> None:
    parts = chained(store, tmp_path, 2)
    path = chain.joined_path(store.home, parts, match=False)
    chain.write_joined(path, parts, match=False)
    assert len(read_frames(path)) == 5 and [other.name for other in path.parent.iterdir()] == [path.name]
    assert chain.joined_path(store.home, parts, match=False) == path
    assert chain.joined_path(store.home, parts, match=True) != path
    assert chain.joined_path(store.home, parts[:1], match=False) != path


def test_links_have_the_next_seeds_and_the_same_settings(store: Store, tmp_path: Path) -> None:
    parts, service = chained(store, tmp_path, 1), FakeService()
    chain.extend(cast(Any, service), parts, 3, [127, 60, 30])
    usual = parts[0].settings.model_dump()
    assert [one.seed for one in service.wanted] == [24, 25, 26]
    assert [one.motion_bucket_id for one in service.wanted] == [127, 60, 30]
    same = {"seed": usual["seed"], "motion_bucket_id": usual["motion_bucket_id"]}
    assert all(one.model_dump() | same == usual for one in service.wanted)
    assert service.folder == parts[0].result.video.parent


@pytest.mark.parametrize(
    ("links", "motion", "message"),
    [
        (0, (), "up to 8 links, got 0 more; at most 6 can be added here"),
        (7, (), "up to 8 links, got 7 more; at most 6 can be added here"),
        (2, (127,), "one motion bucket for each of the 2 links"),
        (1, (999,), "motion_bucket_id"),
    ],
    ids=["none", "too-many", "motion-missing", "motion-too-large"],
)
def test_what_cannot_be_extended_is_refused(
    store: Store, tmp_path: Path, links: int, motion: tuple[int, ...], message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        chain.extend(cast(Any, FakeService()), chained(store, tmp_path), links, motion)


def test_a_joined_clip_names_the_part_to_extend(store: Store, tmp_path: Path) -> None:
    (entry,) = chained(store, tmp_path, 1)
    metadata = {**entry.result.metadata, "parts": [{"video": "a.mp4"}, {"video": "b.mp4"}]}
    joined = replace(entry, result=replace(entry.result, metadata=metadata))
    with pytest.raises(BadInput, match=r"extend the last of them, b\.mp4"):
        chain.extend(cast(Any, FakeService()), [joined], 1)


def test_a_missing_video_is_named(store: Store, tmp_path: Path) -> None:
    (entry,) = chained(store, tmp_path, 1)
    entry.result.video.unlink()
    with pytest.raises(BadInput, match="no longer exists"):
        chain.extend(cast(Any, FakeService()), [entry], 1)
