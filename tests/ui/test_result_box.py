"""Result: the video and its actions, unfinished jobs and earlier results."""

import io
import json
import zipfile
from dataclasses import replace

import pytest
from driving import PHOTO, Open, bars, caption, drop, said, tab_of
from fake_service import FakeService, frames_of
from PIL import Image
from streamlit.testing.v1 import AppTest

from img2vid.comfyui.read import read_workflow
from img2vid.jobs.job import Job, State, one_video
from img2vid.media.videos import read_frames
from img2vid.text_to_image.settings import ImageSettings
from img2vid.text_to_image.workflow import prompt_of_image
from img2vid.ui.sample import result


@pytest.fixture
def page(open_page: Open) -> AppTest:
    return drop(open_page(), PHOTO)


def sample(page: AppTest, service: FakeService, seed: int = 23) -> Job:
    page.number_input(key="seed").set_value(seed).run()
    page.button(key="sample").click().run()
    return service.store.jobs()[0]


def made(page: AppTest, service: FakeService, seed: int = 23) -> Job:
    job = service.finishes(sample(page, service, seed))
    page.run()
    return job


def test_before_the_first_video_its_place_is_shown(page: AppTest) -> None:
    assert "The video appears here" in caption(page)
    assert not page.get("video")


def test_the_video_loops_muted_and_its_seed_and_path_are_shown(page: AppTest, service: FakeService) -> None:
    job = made(page, service, 41)
    (video,) = page.get("video")
    assert (video.proto.loop, video.proto.autoplay, video.proto.muted) == (True, True, True)
    text = caption(page)
    assert "seed 41 · dogs · svd_tiny · 14 frames of 160 \u00d7 96 at 6 fps · made in 12 s" in text
    assert str(job.results[0].video) in text
    assert "The video appears here" not in text


def test_every_kind_of_file_can_be_downloaded(page: AppTest, service: FakeService) -> None:
    job = made(page, service)
    assert [button.label for button in page.download_button] == ["MP4", "GIF", "WebP", "PNG", "JSON", "ComfyUI"]
    video, frames = job.results[0].video, read_frames(job.results[0].video)
    offers = result.offers(job, job.results[0])
    assert offers["MP4"].make() == video.read_bytes()
    assert offers["JSON"].make() == job.results[0].sidecar.read_bytes()
    workflow = read_workflow(json.loads(offers["ComfyUI"].make()), "a.json")
    assert workflow.settings == one_video(job.settings, job.results[0].seed).model_dump()
    image = ImageSettings(prompt="a dog", seed=3, steps=20)
    from_words = replace(job.results[0], metadata=job.results[0].metadata | {"image": image.model_dump()})
    prompt = read_workflow(json.loads(result.offers(job, from_words)["ComfyUI"].make()), "a.json").prompt
    assert (workflow.prompt, prompt) == (None, prompt_of_image(image))
    for kind in ("GIF", "WebP"):
        with Image.open(io.BytesIO(offers[kind].make())) as image:
            assert (image.format, getattr(image, "n_frames")) == (kind.upper(), len(frames))  # noqa: B009
    with zipfile.ZipFile(io.BytesIO(offers["PNG"].make())) as archive:
        assert len(archive.namelist()) == len(frames)


def test_same_settings_new_seed(page: AppTest, service: FakeService) -> None:
    old = made(page, service)
    page.number_input(key="fps").set_value(9).run()
    page.button(key="new_seed").click().run()
    new = service.store.jobs()[0]
    assert new.id != old.id
    assert new.settings.seed != old.settings.seed
    assert new.settings == old.settings.model_copy(update={"seed": new.settings.seed})
    assert new.picture == old.picture
    assert page.number_input(key="fps").value == 9


def test_the_last_frame_becomes_the_next_input(page: AppTest, service: FakeService) -> None:
    job = made(page, service)
    page.button(key="last_frame").click().run()
    assert "dogs_last, as the model sees it" in caption(page)
    page.button(key="sample").click().run()
    page.number_input(key="seed").set_value(1).run()
    page.button(key="sample").click().run()
    follower = service.store.jobs()[0]
    assert follower.picture_name == "dogs_last"
    with Image.open(follower.picture) as image:
        assert image.size == (frames_of(0).shape[2], frames_of(0).shape[1])
        assert list(image.get_flattened_data()) == list(
            Image.fromarray(read_frames(job.results[0].video)[-1]).get_flattened_data()
        )


def test_a_results_settings_and_input_can_be_restored(page: AppTest, service: FakeService) -> None:
    page.number_input(key="motion_bucket_id").set_value(80).run()
    made(page, service, 5)
    page.button(key="defaults").click().run()
    page.button(key="remove_input").click().run()
    page.button(key="these_settings").click().run()
    assert page.number_input(key="motion_bucket_id").value == 80
    assert page.number_input(key="seed").value == 5
    assert "dogs, as the model sees it" in caption(page)


def test_several_videos_of_one_run_are_chosen_by_seed(page: AppTest, service: FakeService) -> None:
    page.number_input(key="num_samples").set_value(3).run()
    job = made(page, service, 10)
    assert "seed 10 · dogs" in caption(page)
    choice = page.button_group(key=f"seed_of_{job.id}")
    assert choice.options == ["10", "11", "12"]
    choice.set_value(12).run()
    assert "seed 12 · dogs" in caption(page)
    assert str(job.results[2].video) in caption(page)


def test_earlier_results_can_be_shown_and_a_new_one_takes_over(page: AppTest, service: FakeService) -> None:
    first, second = made(page, service, 1), made(page, service, 2)
    assert "seed 2 · dogs" in caption(page)
    assert page.button(key=f"show_{second.id}").disabled
    page.button(key=f"show_{first.id}").click().run()
    assert "seed 1 · dogs" in caption(page)
    made(page, service, 3)
    assert "seed 3 · dogs" in caption(page)


def test_the_selected_result_survives_a_reload(page: AppTest, service: FakeService, open_page: Open) -> None:
    first, _ = made(page, service, 1), made(page, service, 2)
    page.button(key=f"show_{first.id}").click().run()
    assert "seed 1 · dogs" in caption(open_page(tab_of(page)))
    assert "seed 2 · dogs" in caption(open_page())


def test_progress_replaces_the_video_until_a_result_is_chosen(page: AppTest, service: FakeService) -> None:
    first = made(page, service, 1)
    job = sample(page, service, 2)
    service.begins(job)
    service.is_at(job, "sample", 1, 20)
    page.run()
    assert not page.get("video")
    assert "Last result: seed 1 · dogs" in caption(page)
    assert len(bars(page)) == 1
    page.button(key=f"show_{first.id}").click().run()
    assert page.get("video") and len(bars(page)) == 1  # progress is listed below the video
    assert "Last result" not in caption(page)
    page.button(key=f"follow_{job.id}").click().run()
    assert not page.get("video") and len(bars(page)) == 1
    service.finishes(job)
    page.run()
    assert page.get("video") and not bars(page)
    assert "seed 2 · dogs" in caption(page)


def test_the_result_area_has_the_proportions_of_the_chosen_size(page: AppTest) -> None:
    page.number_input(key="height").set_value(192).run()
    assert "--ratio: 160 / 192" in "".join(html.proto.body for html in page.get("html"))


def test_a_missing_video_is_reported_and_the_page_stays_usable(page: AppTest, service: FakeService) -> None:
    job = made(page, service)
    job.results[0].video.unlink()
    page.run()
    assert "no longer exists" in said(page.warning)
    assert not page.button(key="sample").disabled


def test_a_notice_of_the_run_is_shown_with_its_result(page: AppTest, service: FakeService) -> None:
    job = sample(page, service)
    service.store.record_notice(job.id, "decode_t was halved to 7, because memory ran out")
    service.finishes(job)
    page.run()
    assert "Decode_t was halved to 7, because memory ran out." in said(page.info)


def test_a_failed_job_says_why_in_a_sentence_with_the_details_folded_away(page: AppTest, service: FakeService) -> None:
    job = sample(page, service)
    service.fails(job, "memory ran out while sampling; use fewer frames", "Traceback: somewhere deep")
    page.run()
    assert said(page.error) == "dogs, svd_tiny, seed 23: Memory ran out while sampling; use fewer frames."
    details = next(box for box in page.expander if box.label == "Details")
    assert "somewhere deep" in details.code[0].value


def test_an_interrupted_job_runs_again_with_one_click(page: AppTest, service: FakeService) -> None:
    job = sample(page, service)
    service.begins(job)
    assert service.store.recover() == 1
    page.run()
    assert "the program ended while the job was running" in said(page.warning).lower()
    page.button(key=f"again_{job.id}").click().run()
    again = service.store.jobs()[0]
    assert (again.state, again.settings, again.picture) == (State.WAITING, job.settings, job.picture)
    assert not page.warning


def test_dismissed_jobs_stay_dismissed_in_later_tabs(page: AppTest, service: FakeService, open_page: Open) -> None:
    job = sample(page, service)
    service.fails(job, "no reason")
    page.run()
    page.button(key=f"dismiss_{job.id}").click().run()
    assert not page.error
    assert not open_page().error


def test_a_restart_of_the_program_shows_what_was_interrupted(
    page: AppTest, service: FakeService, open_page: Open
) -> None:
    running, waiting = sample(page, service, 1), sample(page, service, 2)
    service.begins(running)
    service.store.recover()
    again = open_page(tab_of(page))
    assert f"again_{running.id}" in {button.key for button in again.button}
    assert [job.id for job in service.store.queue()] == [waiting.id]
    assert "dogs, as the model sees it" in caption(again)
