"""A prompt becomes a playing video in one press, also with a reload and with killed workers."""

import re
from pathlib import Path

import pytest
from dashboard import Dashboard, until
from playwright.sync_api import Locator, expect
from visitor import LIST_TIMEOUT, SMALL, Visit, Visitor

from img2vid.jobs.job import Job, State
from img2vid.text_to_image.settings import image_settings_of

PROMPT = "a lighthouse in a storm"


@pytest.fixture(scope="module")
def checkpoints(sdxl: Path) -> Path:
    """Checkpoints with a tiny SDXL."""
    return sdxl


def textbox(visitor: Visitor, label: str) -> Locator:
    return visitor.page.get_by_role("textbox", name=label, exact=True)


def opened(visitor: Visitor) -> bool:
    """Open the box unless it is open, and return whether it is; a click closes a box that is just opening."""
    prompt = textbox(visitor, "Prompt")
    if not prompt.is_visible():
        visitor.page.get_by_text("Describe it", exact=True).click()
    try:
        expect(prompt).to_be_visible(timeout=LIST_TIMEOUT)
    except AssertionError:
        return False
    return True


def describe(visitor: Visitor, prompt: str, seed: int) -> None:
    """Fill in the box and set small sizes; the video gets the seed of the picture."""
    until(lambda: opened(visitor), "the field of the prompt")
    textbox(visitor, "Prompt").fill(prompt)
    textbox(visitor, "Negative prompt").fill("text")
    textbox(visitor, "Negative prompt").press("Enter")
    visitor.choose("Image model", "tiny_sdxl")
    for label, value in (("Image steps", 3), ("Image seed", seed)):
        visitor.number(label).fill(str(value))
        visitor.number(label).press("Enter")
    visitor.set({**SMALL, "seed": seed})  # after the prompt, which stores the tab
    expect(visitor.button("Create")).to_be_enabled()


def at(dashboard: Dashboard, kind: str, stage: str, attempts: int = 1) -> Job:
    """Wait until a job of a kind is in a stage, and return it."""

    def look() -> Job | None:
        store = dashboard.store()
        for job in store.jobs(states=[State.RUNNING]):
            event = store.progress(job.id)
            if job.kind == kind and event is not None and event.stage == stage and job.attempts >= attempts:
                return job
        return None

    return until(look, f"{kind} in the stage {stage}")


def test_a_prompt_becomes_a_playing_video_in_one_press(visit: Visit, dashboard: Dashboard) -> None:
    dashboard.hold("sample", 1)
    visitor = visit()
    expect(textbox(visitor, "Prompt")).not_to_be_visible()
    visitor.picture("describe_closed")
    describe(visitor, PROMPT, 31)
    visitor.press("Create and animate")
    visitor.wait_for_step(1, 3)
    expect(visitor.page.get_by_role("img", name="Preview of the picture in progress")).to_be_visible()
    visitor.picture("describe_in_progress")
    visitor.reload()
    visitor.wait_for_step(1, 3)
    expect(textbox(visitor, "Prompt")).to_have_value(PROMPT)
    dashboard.release()
    visitor.wait_for_result(31)
    visitor.played()

    candidate = visitor.page.get_by_role("img", name="Candidate 1")
    expect(candidate).to_be_visible()
    visitor.press("Use")
    visitor.wait_for("a lighthouse in a storm, as the model sees it")
    visitor.picture("describe_done")
    video, image = dashboard.store().jobs(limit=2)
    assert (image.kind, video.continues, video.state) == ("image", image.id, State.DONE)
    assert (video.settings.width, video.settings.height, video.settings.num_steps) == (64, 64, 2)
    found = image_settings_of(video.results[0].metadata)
    assert found is not None
    assert (found.prompt, found.negative_prompt, found.model, found.seed) == (PROMPT, "text", "tiny_sdxl", 31)
    assert video.picture.read_bytes() == image.pictures[0].read_bytes()

    # The video brings prompt and picture back.
    textbox(visitor, "Prompt").fill("something else")
    textbox(visitor, "Prompt").blur()
    visitor.press("Remove")
    expect(visitor.input).to_have_count(0)
    visitor.drop(path=video.results[0].video)
    visitor.wait_for(re.compile("Restored settings and image from"))
    expect(textbox(visitor, "Prompt")).to_have_value(PROMPT)
    expect(visitor.input).to_be_visible()


def test_both_halves_survive_a_killed_worker(visit: Visit, dashboard: Dashboard) -> None:
    dashboard.hold("sample", 1)
    visitor = visit()
    describe(visitor, "a harbor at night", 41)
    visitor.press("Create and animate")
    at(dashboard, "image", "sample")
    dashboard.worker().kill()
    image = at(dashboard, "image", "sample", attempts=2)
    dashboard.hold("condition", 0)  # of the video
    at(dashboard, "video", "condition")
    dashboard.worker().kill()
    video = at(dashboard, "video", "condition", attempts=2)
    dashboard.release()
    visitor.wait_for_result(41)
    visitor.played()
    store = dashboard.store()
    for job in (image, video):
        ended = store.job(job.id)
        assert (ended.state, ended.error) == (State.DONE, "")
        assert "the job was restarted" in ended.notice
