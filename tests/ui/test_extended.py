"""Extended clips: continuing a video from the Sample page and the gallery, and the joined clip with its parts."""

import time

import pytest
from driving import PHOTO, Open, caption, drop, markdown, open_at, press, said
from fake_service import FakeService
from streamlit.testing.v1 import AppTest

from img2vid.errors import BadInput
from img2vid.gallery import chain
from img2vid.gallery.entries import Entries
from img2vid.jobs.job import Job, State
from img2vid.media.videos import read_metadata
from img2vid.ui.shared import measuring


@pytest.fixture
def page(open_page: Open, service: FakeService) -> AppTest:
    """Return the Sample page with a video of seed 23."""
    page = drop(open_page(), PHOTO)
    page.button(key="sample").click().run()
    service.finishes(service.store.jobs()[0])
    return page.run()


def page_of_gallery() -> None:
    from img2vid.ui.gallery.page import gallery

    gallery()


def finish_links(service: FakeService) -> list[Job]:
    return [service.finishes(job) for job in service.store.queue()]


def joined(page: AppTest) -> AppTest:
    """Run the page until the parts are joined."""
    page.run()
    deadline = time.monotonic() + 60
    while "Joining the parts" in caption(page):
        assert time.monotonic() < deadline
        time.sleep(0.05)
        page.run()
    assert not page.exception and not page.error
    return page


def test_one_click_continues_with_the_next_seed(page: AppTest, service: FakeService) -> None:
    (old,) = service.store.jobs()
    press(page, "sample_extend")
    (new,) = service.store.queue()
    assert (new.continues, new.settings.seed) == (old.id, old.settings.seed + 1)
    assert new.settings.model_dump() | {"seed": old.settings.seed} == old.settings.model_dump()
    assert new.folder == old.results[0].video.parent


def test_several_links_have_their_own_motion(page: AppTest, service: FakeService) -> None:
    (old,) = service.store.jobs()
    number = Entries(service.store).find()[0].number
    page.number_input(key=f"link_{number}_count").set_value(2).run()
    page.number_input(key=f"link_{number}_1").set_value(40).run()
    assert page.button(key="sample_extend_several").label == "Extend by 2"
    press(page, "sample_extend_several")
    usual = old.settings.motion_bucket_id
    assert [(job.settings.seed, job.settings.motion_bucket_id) for job in service.store.queue()] == [
        (old.settings.seed + 1, usual),
        (old.settings.seed + 2, 40),
    ]


def test_the_joined_clip_is_beside_its_parts(page: AppTest, service: FakeService) -> None:
    press(page, "sample_extend")
    finish_links(service)
    joined(page)
    assert "Extended clip of 2 parts" in markdown(page)
    (path,) = (service.store.home / "joined").glob("*.mp4")
    assert [row["settings"]["seed"] for row in read_metadata(path)["parts"]] == [23, 24]
    parts = [button for button in page.button if str(button.key).startswith("part_")]
    assert [button.label for button in parts] == ["Part 1, seed 23", "Part 2, seed 24"]
    assert caption(page).count("· sharpness") == 2
    page.checkbox(key="sample_match_colors").set_value(True).run()
    joined(page)
    assert len([*(service.store.home / "joined").glob("*.mp4")]) == 2
    parts[0].click().run()
    assert "seed 23 · dogs" in caption(page) and "Extended clip" not in markdown(page)


def test_parts_that_could_not_be_joined_are_joined_again(
    page: AppTest, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    def disk_full(*args: object, **kwargs: object) -> None:
        raise BadInput("the disk is full")

    with monkeypatch.context() as full:
        full.setattr(chain, "write_joined", disk_full)
        press(page, "sample_extend")
        finish_links(service)
        page.run()
        while not page.error:
            page.run()
        assert said(page.error) == "The disk is full."
    press(page, "join_again")
    joined(page)
    assert [*(service.store.home / "joined").glob("*.mp4")]


def test_a_failed_link_is_named_once_and_runs_again_with_those_after_it(page: AppTest, service: FakeService) -> None:
    number = Entries(service.store).find()[0].number
    page.number_input(key=f"link_{number}_count").set_value(3).run()
    press(page, "sample_extend_several")
    service.finishes(service.store.queue()[0])
    service.fails(service.store.queue()[0], "memory ran out")
    service.fails(service.store.queue()[0], "the video that it continues was not finished (failed)")
    page.run()
    assert said(page.error) == "dogs, svd_tiny, seed 25: Memory ran out."
    assert "Extended clip of 2 parts" in markdown(page)
    failed = service.store.jobs(states=[State.FAILED])[-1]
    page.button(key=f"again_{failed.id}").click().run()
    assert [job.settings.seed for job in service.store.queue()] == [25, 26]
    assert not page.error


def test_nine_parts_are_the_end(page: AppTest, service: FakeService) -> None:
    number = Entries(service.store).find()[0].number
    page.number_input(key=f"link_{number}_count").set_value(8).run()
    press(page, "sample_extend_several")
    finish_links(service)
    joined(page)
    assert page.button(key="sample_extend").disabled
    assert "Extended clip of 9 parts" in markdown(page)


def test_the_gallery_extends_too(page: AppTest, service: FakeService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "ask", lambda entries: False)
    gallery = open_at(page_of_gallery)
    number = Entries(service.store).find()[0].number
    press(gallery, f"open_{number}")
    press(gallery, "gallery_extend")
    assert "1 link queued" in caption(gallery)
    finish_links(service)
    newest = Entries(service.store).find()[0].number
    press(gallery, "close_entry")
    press(gallery, f"open_{newest}")
    joined(gallery)
    assert "Extended clip of 2 parts" in markdown(gallery)
    press(gallery, f"part_{number}")
    assert "Extended clip" not in markdown(gallery)
