"""Activity: progress, the queue and Cancel."""

from base64 import b64decode

import pytest
from driving import PHOTO, Open, bars, caption, drop, markdown
from fake_service import FakeService, moving_picture
from streamlit.testing.v1 import AppTest

from img2vid.jobs.job import Job, State
from img2vid.progress import Event
from img2vid.ui.sample import activity


def sample(page: AppTest, *seeds: int) -> AppTest:
    """Queue a video for each seed."""
    for seed in seeds:
        page.number_input(key="seed").set_value(seed).run()
        page.button(key="sample").click().run()
    return page


@pytest.fixture
def page(open_page: Open) -> AppTest:
    return drop(open_page(), PHOTO)


def first(service: FakeService) -> Job:
    return service.store.jobs()[-1]


def test_a_running_job_shows_stage_step_time_and_a_preview(page: AppTest, service: FakeService) -> None:
    sample(page, 1)
    service.begins(first(service))
    page.run()
    assert bars(page) == [(0, "Starting")]
    service.is_at(first(service), "sample", 5, 20, 45.2)
    page.run()
    assert bars(page) == [(25, "Sampling, step 5 of 20 · about 45 s left")]
    assert "12 s elapsed · noise level 3.5 · 0.4 GB in use" in caption(page)
    assert "dogs, svd_tiny, seed 1" in markdown(page)
    (preview,) = [image for image in page.image if "in progress" in image.proto.imgs[0].alt]
    assert b64decode(preview.value[0].removeprefix("data:image/gif;base64,")) == moving_picture()


def test_one_bar_grows_over_all_stages_and_is_full_only_at_the_end() -> None:
    stages = [("load", 1), ("condition", 1), ("sample", 4), ("decode", 2), ("write", 1)]
    events = [
        Event(stage, step, total, video=video, videos=2)
        for video in (1, 2)
        for stage, total in stages[video - 1 :]  # the model is loaded once
        for step in range(total + 1)
    ]
    shares = [round(activity.share(event), 9) for event in events]
    assert shares == sorted(shares)
    assert shares[0] == 0 and 0.9 < shares[-1] < 1
    assert activity.share(Event("sample", 2, 4)) > 0.4


def test_a_job_that_waits_alone_is_in_the_result_area_only(page: AppTest, service: FakeService) -> None:
    sample(page, 1)
    assert bars(page) == [(0, "Queued")]
    assert not [box for box in page.expander if box.label.startswith("Queue")]
    sample(page, 2)
    assert "Queue: 2 waiting" in [box.label for box in page.expander]


def test_cancel_stops_the_running_job_and_then_queued_ones(page: AppTest, service: FakeService) -> None:
    assert page.button(key="cancel").disabled
    sample(page, 1, 2)
    service.begins(first(service))
    page.run()
    page.button(key="cancel").click().run()
    assert service.store.to_cancel() == {first(service).id}
    assert "dogs, seed 1: cancelled" in caption(page)
    assert "Cancelling after this step..." in caption(page)
    service.store.finish(first(service).id, State.CANCELLED)
    page.run()
    page.button(key="cancel").click().run()
    assert [job.state for job in service.store.jobs()] == [State.CANCELLED, State.CANCELLED]
    assert page.button(key="cancel").disabled


def test_the_queue_can_be_reordered_shortened_and_cleared(page: AppTest, service: FakeService) -> None:
    sample(page, 1, 2, 3, 4)

    def seeds() -> list[int]:
        return [job.settings.seed for job in service.store.queue()]

    def key(what: str, seed: int) -> str:
        return f"{what}_{next(job.id for job in service.store.queue() if job.settings.seed == seed)}"

    assert "Queue: 4 waiting" in [box.label for box in page.expander]
    assert page.button(key=key("up", 1)).disabled
    assert page.button(key=key("down", 4)).disabled
    page.button(key=key("up", 3)).click().run()
    assert seeds() == [1, 3, 2, 4]
    page.button(key=key("down", 1)).click().run()
    assert seeds() == [3, 1, 2, 4]
    assert "2. dogs, svd_tiny, seed 1" in markdown(page)
    page.button(key=key("remove", 2)).click().run()
    assert seeds() == [3, 1, 4]
    page.button(key="empty_queue").click().run()
    assert seeds() == []
    assert not [box for box in page.expander if box.label.startswith("Queue")]


def test_a_long_queue_is_listed_in_part(page: AppTest, service: FakeService) -> None:
    sample(page, 1)
    for _ in range(activity.LISTED + 4):
        service.store.resubmit(first(service).id)
    page.run()
    assert "and 5 more" in caption(page)
    assert len([button for button in page.button if str(button.key).startswith("up_")]) == activity.LISTED


def test_several_running_jobs_are_stopped_one_by_one(page: AppTest, service: FakeService) -> None:
    sample(page, 1, 2)
    newer, older = service.store.jobs()
    service.begins(older)
    service.begins(newer)
    page.run()
    page.button(key=f"stop_{newer.id}").click().run()
    assert service.store.to_cancel() == {newer.id}


def test_the_worker_status_is_shown_while_jobs_wait(page: AppTest, service: FakeService) -> None:
    service.status_text = "the worker is starting"
    assert "The worker is starting" not in caption(page.run())
    sample(page, 1)
    assert "The worker is starting." in caption(page)


def test_a_page_that_changes_while_it_is_drawn_is_finished_first() -> None:
    """Streamlit deletes the files that an interrupted run has not reached."""

    def script() -> None:
        import streamlit as st

        from img2vid.ui.state import poll

        runs = st.session_state.setdefault("runs", [])
        runs.append(0)
        poll("The part", lambda: runs.append(1), len(runs), lambda: len(runs), None)
        st.markdown("end")

    page = AppTest.from_function(script).run()
    assert [page.session_state["runs"], page.markdown[0].value] == [[0, 1], "end"]


def test_the_page_is_drawn_again_when_a_job_ends(page: AppTest, service: FakeService) -> None:
    """The fragment polls every second and reruns the page when its snapshot differs."""
    sample(page, 1)
    state = page.session_state["page"]
    before = activity.snapshot(state)
    service.begins(first(service))
    service.is_at(first(service), "sample", 1, 20)
    running = activity.snapshot(state)
    service.is_at(first(service), "sample", 2, 20)
    assert activity.snapshot(state) == running != before
    service.finishes(service.store.job(first(service).id))
    assert activity.snapshot(state) != running


def test_polling_is_slow_while_idle(page: AppTest, service: FakeService) -> None:
    assert activity.pace(page.session_state["page"]) == activity.IDLE
    sample(page, 1)
    assert activity.pace(page.session_state["page"]) == activity.BUSY
