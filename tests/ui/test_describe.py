"""Describe it: pictures from prompts on the page."""

import subprocess
import time
from pathlib import Path

import pytest
from driving import Open, caption, drop, markdown, press, said, tab_of
from fake_service import FakeService
from streamlit.testing.v1 import AppTest

from img2vid import remedies
from img2vid.checkpoints.tasks import CheckpointTasks
from img2vid.jobs.job import State
from img2vid.text_to_image.pipeline import origin_of
from img2vid.ui import resources

SENTENCE = "Press Download for sd_xl_base_1.0 (6.9 GB, license: CreativeML Open RAIL++-M)."


@pytest.fixture(autouse=True)
def tasks(monkeypatch: pytest.MonkeyPatch) -> CheckpointTasks:
    """Use tasks of this test alone."""
    tasks = CheckpointTasks()
    monkeypatch.setattr(resources, "open_checkpoint_tasks", lambda: tasks)
    return tasks


@pytest.fixture
def with_model(service: FakeService, sdxl: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMG2VID_CHECKPOINTS", str(sdxl))


def describe(page: AppTest, prompt: str = "a lighthouse", candidates: int = 1) -> AppTest:
    page.text_area(key="describe_prompt").input(prompt)
    page.text_input(key="describe_negative_prompt").input("text")
    page.selectbox(key="describe_model").select("tiny_sdxl")
    page.run()
    page.number_input(key="describe_candidates").set_value(candidates)
    return page.run()


def box(page: AppTest) -> bool:
    """Return whether the box is open."""
    (found,) = [one for one in page.expander if one.label == "Describe it"]
    return bool(found.proto.expanded)


@pytest.mark.usefixtures("sdxl")
def test_it_is_closed_and_says_what_to_download(open_page: Open) -> None:
    page = open_page()
    assert not box(page)
    assert SENTENCE in caption(page)
    assert page.button(key="create").disabled and page.button(key="create_and_animate").disabled
    assert "960 \u00d7 576 picture" in caption(page)


@pytest.mark.usefixtures("sdxl")
def test_the_download_starts_with_one_press(
    open_page: Open, tasks: CheckpointTasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []
    monkeypatch.setattr(tasks, "download", lambda version: started.append(version.name))
    press(open_page(), "download_image_model")
    assert started == ["sd_xl_base_1.0"]


def test_the_packages_are_installed_with_one_press(open_page: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    there: list[bool] = []
    monkeypatch.setattr(remedies, "has_text", lambda: bool(there))
    monkeypatch.setattr(remedies, "install_text", lambda: there.append(True))
    page = open_page()
    assert "Press Install for diffusers (about 20 MB, Apache License 2.0)." in caption(page)
    press(page, "install_text")
    deadline = time.monotonic() + 60
    while not there:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert SENTENCE in caption(page.run())


def test_a_failed_installation_is_an_error_with_the_button(open_page: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remedies, "has_text", lambda: False)
    done = subprocess.CompletedProcess([], 1, "", "\nno disk\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)
    page = open_page()
    page.button(key="install_text").click().run()
    deadline = time.monotonic() + 60
    while not page.error:
        assert time.monotonic() < deadline
        time.sleep(0.02)
        page.run()
    assert f"The packages could not be installed (no disk); run `{remedies.extra_command('text')}`" in said(page.error)
    assert page.button(key="install_text")


@pytest.mark.usefixtures("with_model")
def test_the_job_has_the_settings_of_the_box_and_the_size_of_the_video(open_page: Open, service: FakeService) -> None:
    page = describe(open_page(), candidates=3)
    page.number_input(key="describe_seed").set_value(7)
    page.number_input(key="describe_guidance").set_value(2.5)
    page.number_input(key="width").set_value(1024)
    page.number_input(key="height").set_value(576)
    page.checkbox(key="watermark").uncheck()
    press(page.run(), "create")
    (job,) = service.store.queue()
    assert job.image is not None
    assert job.image.model_dump() == {
        **{"model": "tiny_sdxl", "prompt": "a lighthouse", "negative_prompt": "text", "seed": 7, "steps": 30},
        **{"guidance": 2.5, "height": 576, "width": 1024, "candidates": 3, "watermark": False},
    }
    press(page, "create")
    assert len(service.store.queue()) == 1
    assert "Already in the queue. Change the image seed for another picture." in caption(page)


@pytest.mark.usefixtures("with_model")
def test_a_rejected_number_is_explained_and_makes_no_picture(open_page: Open, service: FakeService) -> None:
    page = describe(open_page(), candidates=9)
    page.number_input(key="describe_steps").set_value(0).run()
    assert "Candidates must be a whole number from 1 to 8, got 9." in caption(page)
    press(page, "use_describe_candidates")
    assert page.number_input(key="describe_candidates").value == 8
    press(page, "create", refused=True)
    assert said(page.error) == "Image steps must be a whole number from 1 to 150, got 0."
    assert service.store.queue() == []
    press(page, "use_describe_steps")
    press(page, "create")
    (job,) = service.store.queue()
    assert job.image is not None
    assert (job.image.steps, job.image.candidates) == (1, 8)


@pytest.mark.usefixtures("with_model")
def test_one_click_makes_a_candidate_the_input(open_page: Open, service: FakeService) -> None:
    page = press(describe(open_page(), candidates=2), "create")
    (job,) = service.store.queue()
    service.makes_pictures(job, 1)
    page.run()
    assert page.button(key="candidate_0") and "candidate_1" not in [button.key for button in page.button]
    pictures = service.makes_pictures(service.store.job(job.id), 1)
    page = open_page(tab_of(page))
    assert box(page)
    press(page, "candidate_1")
    assert page.button(key="candidate_1").disabled and not page.button(key="candidate_0").disabled
    assert "a lighthouse, as the model sees it" in caption(page)
    press(page, "sample")
    (video,) = service.store.queue()
    assert video.picture == pictures[1]
    origin = origin_of(video.picture.read_bytes())
    assert origin is not None and (origin["prompt"], origin["seed"]) == ("a lighthouse", 43)


@pytest.mark.usefixtures("with_model")
def test_one_press_makes_the_picture_and_the_video(open_page: Open, service: FakeService) -> None:
    page = press(describe(open_page()), "create_and_animate")
    job, video = service.store.queue()
    assert (job.kind, video.kind, video.continues) == ("image", "video", job.id)
    assert "Queue: 2 waiting" in [one.label for one in page.expander]
    assert "2. a lighthouse, svd_tiny, seed 23 · of its picture" in markdown(page)
    service.begins(job)
    service.is_at(job, "sample", 1, 2)
    page.run()
    assert "a lighthouse, tiny_sdxl, seed 42" in markdown(page)


@pytest.mark.usefixtures("with_model")
def test_a_failed_picture_gives_one_message_and_runs_again_with_its_video(
    open_page: Open, service: FakeService
) -> None:
    page = press(describe(open_page()), "create_and_animate")
    job, video = service.store.queue()
    service.begins(job)
    service.store.finish(job.id, State.FAILED, "no memory", "OutOfMemory")
    service.begins(video)
    service.store.finish(video.id, State.FAILED, "its picture was not made (failed)", "NotMade")
    page.run()
    assert said(page.error).endswith("seed 42: No memory.")
    press(page, f"again_{job.id}", refused=False)
    again, following = service.store.queue()
    assert (again.image, following.continues) == (job.image, again.id)
    service.makes_pictures(again, 1)
    page.run()
    assert page.button(key="candidate_0")
    assert not page.error


@pytest.mark.usefixtures("with_model")
def test_a_video_brings_its_prompt_and_picture_back(open_page: Open, service: FakeService) -> None:
    page = press(describe(open_page(), "a harbor at night"), "create")
    (job,) = service.store.queue()
    service.makes_pictures(job, 1)
    page = press(page.run(), "candidate_0")
    press(page, "sample")
    (queued,) = service.store.queue()
    made = service.finishes(queued)
    page.text_area(key="describe_prompt").input("something else")
    page.run()
    press(page, "these_settings")
    assert page.text_area(key="describe_prompt").value == "a harbor at night"

    page.text_area(key="describe_prompt").input("something else")
    page.run()
    press(page, "remove_input")
    drop(page, made.results[0].video)
    assert "Restored settings and image from" in caption(page)
    assert page.text_area(key="describe_prompt").value == "a harbor at night"
    assert page.text_input(key="describe_negative_prompt").value == "text"
    assert page.selectbox(key="describe_model").value == "tiny_sdxl"
    assert "a harbor at night, as the model sees it" in caption(page)


@pytest.mark.usefixtures("with_model")
def test_an_empty_prompt_is_refused(open_page: Open, service: FakeService) -> None:
    page = press(describe(open_page(), " "), "create", refused=True)
    assert "There is no prompt; describe the picture in a few words." in said(page.error)
    assert service.store.queue() == []


@pytest.mark.usefixtures("with_model")
def test_a_model_that_is_gone_is_named(open_page: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    page = describe(open_page())
    monkeypatch.delenv("IMG2VID_CHECKPOINTS")
    page.run()
    assert "tiny_sdxl is not known here; choose another model." in caption(page)
    assert page.button(key="create").disabled
