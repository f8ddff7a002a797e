"""`img2vid extend` with the real small model: the joined clip, its parts, and links that fail."""

import json
from pathlib import Path

import numpy as np
import pytest
from job_client import Client

from img2vid.cli import main
from img2vid.gallery.entries import Entries
from img2vid.jobs.job import Job, State
from img2vid.jobs.service import JobService
from img2vid.media.pictures import load_picture
from img2vid.media.videos import read_frames, read_metadata


@pytest.fixture(autouse=True)
def home(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMG2VID_HOME", str(client.store.home))


def run(*arguments: object) -> int:
    return main.run(["extend", *map(str, arguments)])


def first(client: Client, seed: int) -> Job:
    return client.end(client.photo(seed=seed))


def test_three_links(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    video = first(client, seed=501).results[0].video
    assert run(video, "--links", 3, "--motion", "127,60,20", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert Path(said["video"]) == video.with_name(f"{video.stem}_extended.mp4")
    assert [part["seed"] for part in said["parts"]] == [501, 502, 503, 504]
    assert all(part["drift"].keys() == {"color", "sharpness"} for part in said["parts"])
    assert len(read_frames(Path(said["video"]))) == 3 + 3 * 2
    rows = read_metadata(Path(said["video"]))["parts"]
    assert [row["settings"]["motion_bucket_id"] for row in rows][1:] == [127, 60, 20]
    for before, after in zip(said["parts"], said["parts"][1:], strict=False):
        (entry,) = Entries(client.store).naming(Path(after["video"]))
        frame = np.asarray(load_picture(entry.job.picture))
        np.testing.assert_array_equal(frame, read_frames(Path(before["video"]))[-1])


def test_a_file_from_elsewhere_is_added_to_the_gallery(
    client: Client, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video = first(client, seed=521).results[0].video
    copy = tmp_path / "elsewhere" / "mine.mp4"
    copy.parent.mkdir()
    copy.write_bytes(video.read_bytes())
    out = tmp_path / "out"
    assert run(copy, "--out", out, "--match-colors") == 0
    joined = Path(capsys.readouterr().out.strip())
    assert joined == out / "mine_extended.mp4" and read_metadata(joined)["colors_matched"]
    assert [path.name for path in copy.parent.iterdir()] == ["mine.mp4"]


def test_a_bad_link_is_named_and_the_others_are_joined(
    client: Client, service: JobService, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    video = first(client, seed=541).results[0].video
    add = service.store.__class__.add_link

    def broken(self: object, before: Job, settings: object, folder: Path) -> Job:
        added = add(self, before, settings, folder)  # type: ignore[arg-type]
        if added.settings.seed == 543:
            with client.store.writing() as db:
                db.execute("UPDATE jobs SET picture_name = 'broken-1' WHERE id = ?", (added.id,))
        return added

    monkeypatch.setattr(service.store.__class__, "add_link", broken)
    assert run(video, "--links", 3) == 1
    said = capsys.readouterr()
    assert "link 2, seed 543: failed with ZeroDivisionError: one by nothing" in said.err
    assert len(read_metadata(Path(said.out.strip()))["parts"]) == 2
    states = {job.settings.seed: job.state for job in client.store.jobs(limit=3)}
    assert states == {542: State.DONE, 543: State.FAILED, 544: State.FAILED}


def test_bad_input_is_one_sentence(client: Client, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    video = first(client, seed=561).results[0].video
    notes = tmp_path / "notes.mp4"
    notes.write_text("no video", encoding="utf-8")
    for arguments, text in (
        ((notes,), "cannot read"),
        ((video, "--links", 9), "a clip has up to 8 links"),
        ((video, "--motion", "fast"), "--motion needs whole numbers"),
    ):
        assert run(*arguments) == 2
        assert text in capsys.readouterr().err
